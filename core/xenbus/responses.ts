import { isObservable, type Observable, Subscription } from 'rxjs';
import type { BackRing, Exchange } from '../abi/back-ring.js';
import { errno } from '../abi/errno.js';
import type { Draft, Struct, View } from '../abi/struct.js';
import { PeerFault, XenError } from '../errors.js';
import { Idle } from './idle.js';
import { isPromise } from './is-promise.js';
import { MOST, neverLinger, type PumpOptions } from './pump-options.js';
import { type Drain, RingSlots, type Slots } from './slots.js';

/**
 * Answers one request. The request is a private copy and, like the response's draft, stays valid until the answer is given: when the
 * call returns, or when the promise or Observable that it returns has completed. What it throws is answered by the protocol's `refuse`.
 */
export type Serve<Q extends Struct, R extends Struct, Id> =
  | ((request: View<Q, Id>, response: Draft<R, Id>) => void)
  | ((request: View<Q, Id>, response: Draft<R, Id>) => PromiseLike<unknown> | Observable<unknown>);

/** What a backend's answers are given with; `onError` hears of errors that are no refusals, and of a PeerFault of a late answer. */
export interface ResponsesOptions<Q extends Struct, R extends Struct, Id extends string = never> extends PumpOptions {
  /** Makes the answer that says "no" with an errno; the draft is all zero. */
  readonly refuse: (response: Draft<R, Id>, errno: number, request: View<Q, Id>) => void;
}

/** A request whose answer waits for those before it, and how it is put in once it is there. */
interface Turn<Q extends Struct, R extends Struct, Id extends string> {
  readonly exchange: Exchange<Q, R, Id>;
  put: (() => void) | undefined;
}

const unserved = (): never => {
  throw new XenError('EOPNOTSUPP', 'nobody serves this ring');
};

/**
 * A backend's answers on one ring: requests are handed out as private copies, and answered now or later, in any order. The answers of
 * a batch are published together. Nothing is allocated for a request that is answered at once, nor for one that is kept.
 */
export class Responses<Q extends Struct, R extends Struct, Id extends string = never> {
  readonly #ring: BackRing<Q, R, Id>;
  readonly #notify: () => void;
  readonly #again: (() => void) | undefined;
  readonly #linger: (isThere: () => boolean) => boolean;
  readonly #isThere = (): boolean => this.#ring.hasUnconsumed;
  readonly #refuse: ResponsesOptions<Q, R, Id>['refuse'];
  readonly #onError: (error: unknown) => void;
  #handler: (request: View<Q, Id>, response: Draft<R, Id>) => unknown = unserved;
  #slots: { readonly slots: RingSlots<Q, R, Id>; readonly drain: Drain<Q, R, Id> } | undefined;
  /** Answers that Observables are still to give. */
  readonly #answers = new Subscription();
  /** On a ring without ids: what is kept, in the order of the requests, which is that of their answers. */
  readonly #turns: Turn<Q, R, Id>[] = [];
  #flushing = false;
  #left = 0;
  readonly #idle = new Idle(() => this.pending > 0);
  #closed = false;

  constructor(ring: BackRing<Q, R, Id>, options: ResponsesOptions<Q, R, Id>) {
    this.#ring = ring;
    this.#notify = options.notify;
    this.#again = options.again;
    this.#linger = options.linger ?? neverLinger;
    this.#refuse = options.refuse;
    this.#onError = options.onError;
  }

  /** Requests kept for a later answer. */
  get pending(): number {
    return this.#ring.kept;
  }

  /** Requests that the handler left on the ring when it last had them. */
  get left(): number {
    return this.#left;
  }

  /** Resolves when nothing is pending. */
  idle(): Promise<void> {
    return this.#idle.wait();
  }

  /** From now on each request is answered by `handler`. @throws TypeError when the ring has a handler already */
  serve(handler: Serve<Q, R, Id>): void {
    this.#claim();
    this.#handler = handler;
  }

  /**
   * From now on `handler` takes the requests, as many as it wants; what it leaves is offered again at the next upcall. What it kept is
   * answered through the slots that this returns, the same that the handler gets. @throws TypeError when the ring has a handler already
   */
  drain(handler: Drain<Q, R, Id>): Slots<Q, R, Id> {
    this.#claim();
    const pump = this;
    const slots = new RingSlots(this.#ring, {
      get closed() {
        return pump.#closed;
      },
      push: () => this.push(),
      refuse: (exchange, error) => this.#refused(exchange, error),
      report: this.#onError,
    });
    this.#slots = { slots, drain: handler };
    return slots;
  }

  /**
   * Handles the requests there are. To be called at every upcall; says how many it took: none, and the event was spurious, or only
   * said that what a handler left is still there.
   * @throws PeerFault for an index that cannot be, or from a handler
   */
  upcall(): number {
    const ring = this.#ring;
    let total = 0;
    let vain = 0;
    let left = 0;
    while (!this.#closed) {
      if (total + vain >= MOST && this.#again !== undefined) {
        this.#again();
        break;
      }
      const count = ring.unconsumed();
      if (count === left) {
        // A peer that takes back what it announced is not waited for longer than one that keeps its word.
        vain++;
        if (left === 0 && total > 0 && this.#linger(this.#isThere)) continue;
        if (!ring.finalCheck(left)) break;
      }
      left = 0;
      if (this.#slots === undefined) this.#serveAll(count);
      else left = this.#slots.slots.offer(count, this.#slots.drain);
      total += count - left;
      this.push();
    }
    this.#left = left;
    return total;
  }

  /** Publishes the answers put in, and notifies the frontend if it asked for that. */
  push(): void {
    if (!this.#closed && this.#ring.push()) this.#notify();
    this.#idle.tell();
  }

  /**
   * Takes no more requests; a handler that ends its own link is still given those of the batch that it serves. Answers that come later
   * are dropped, but still counted as {@link pending} until then.
   */
  close(): void {
    this.#closed = true;
    this.#slots?.slots.end();
    this.#idle.tell();
  }

  /** Closes, and unsubscribes from the Observables that have not answered. */
  abandon(): void {
    this.close();
    this.#answers.unsubscribe();
  }

  #claim(): void {
    if (this.#handler !== unserved || this.#slots !== undefined) {
      throw new TypeError('a ring has one handler, and this one is served or drained already');
    }
  }

  #serveAll(count: number): void {
    const ring = this.#ring;
    const end = (ring.reqCons + count) | 0;
    while (ring.reqCons !== end) {
      if (this.#turns.length > 0) {
        this.#serveInTurn();
        continue;
      }
      let later: unknown;
      try {
        later = ring.serve((end - ring.reqCons) | 0, this.#handler);
      } catch (error) {
        this.#refused(ring.current, error);
        continue;
      }
      if (later !== undefined) this.#later(ring.current, later);
    }
  }

  /** Serves one request whose answer has to wait, even if it is there at once. */
  #serveInTurn(): void {
    const exchange = this.#ring.take();
    let later: unknown;
    try {
      later = this.#handler(exchange.request, exchange.response);
    } catch (error) {
      if (error instanceof PeerFault) throw error;
      this.#keep(exchange);
      this.#answer(exchange, () => this.#refused(exchange, error));
      return;
    }
    this.#later(exchange, later);
  }

  /** Keeps the request that was taken last; the next one gets another record. */
  #keep(exchange: Exchange<Q, R, Id>): void {
    this.#ring.keep();
    if (!this.#ring.paired) this.#turns.push({ exchange, put: undefined });
  }

  /** Waits for an asynchronous answer. */
  #later(exchange: Exchange<Q, R, Id>, later: unknown): void {
    const answered = (): void => this.#answer(exchange, () => this.#ring.put(exchange));
    const failed = (error: unknown): void => this.#answer(exchange, () => this.#refused(exchange, error));
    if (isPromise(later)) {
      this.#keep(exchange);
      later.then(answered, failed);
    } else if (isObservable(later)) {
      this.#keep(exchange);
      let open = true;
      const closing =
        <T extends unknown[]>(answer: (...args: T) => void) =>
        (...args: T): void => {
          open = false;
          answer(...args);
        };
      const subscription = later.subscribe({ complete: closing(answered), error: closing(failed) });
      subscription.add(() => {
        if (open) this.#answer(exchange, () => undefined);
      });
      this.#answers.add(subscription);
    } else if (this.#turns.length > 0) {
      this.#keep(exchange);
      answered();
    } else this.#ring.put(exchange);
  }

  /** Gives an answer: now, or on a ring without ids as soon as all before it are given. */
  #answer(exchange: Exchange<Q, R, Id>, put: () => void): void {
    const turn = this.#turns.find((waiting) => waiting.exchange === exchange);
    if (turn === undefined) {
      this.#give(exchange, put);
      return;
    }
    turn.put = put;
    for (let next = this.#turns[0]; next?.put !== undefined; next = this.#turns[0]) {
      this.#turns.shift();
      this.#give(next.exchange, next.put);
    }
  }

  #give(exchange: Exchange<Q, R, Id>, put: () => void): void {
    if (this.#closed) {
      this.#ring.release(exchange);
      this.#idle.tell();
      return;
    }
    try {
      put();
    } catch (error) {
      this.#ring.release(exchange);
      this.#onError(error);
    }
    this.#flush();
  }

  /** Publishes after the answers that come at the same time, all together. */
  #flush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.push();
    });
  }

  /** Answers with the errno of what a handler threw. */
  #refused(exchange: Exchange<Q, R, Id>, error: unknown): void {
    if (error instanceof PeerFault) throw error;
    if (!(error instanceof XenError)) this.#onError(error);
    exchange.response.$zero();
    try {
      this.#refuse(exchange.response, error instanceof XenError ? error.errno : errno.EIO, exchange.request);
    } catch (mistake) {
      this.#onError(mistake);
    }
    this.#ring.put(exchange);
  }
}
