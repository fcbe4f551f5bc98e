import type { BackRing, Exchange } from '../abi/back-ring.js';
import type { Draft, Struct, View } from '../abi/struct.js';
import { PeerFault } from '../errors.js';

/** Takes requests and answers them, now or later, in any order; on a ring without ids the n-th answer is the n-th request's. */
export interface Slots<Q extends Struct, R extends Struct, Id> {
  /** The next request, a private copy that is valid until the next `take`, or if it is kept, until it is answered; undefined: no more. */
  take(): View<Q, Id> | undefined;
  /** Keeps the request taken last beyond the next `take`; the ticket that it goes by. @throws RangeError when there is none to keep */
  keep(): number;
  /** A kept request. @throws RangeError when the ticket keeps none */
  kept(ticket: number): View<Q, Id>;
  /**
   * A zeroed draft of the answer to the request taken last, or to a kept one. It is put in as it is at the next `take`, `respond` or
   * `push`, or at the end of the batch. @throws RangeError when there is no such request to answer
   */
  respond(ticket?: number): Draft<R, Id>;
  /** Publishes the answers given, and notifies the frontend if it asked for that. At the end of a batch this happens by itself. */
  push(): void;
}

/** Takes as many requests as it wants. */
export type Drain<Q extends Struct, R extends Struct, Id> = (slots: Slots<Q, R, Id>) => void;

/** Who publishes the answers, and says no where a handler did not answer. */
export interface SlotsOwner<Q extends Struct, R extends Struct, Id extends string> {
  readonly closed: boolean;
  push(): void;
  /** Answers a request that its handler failed to answer. @throws the error if it is a PeerFault */
  refuse(exchange: Exchange<Q, R, Id>, error: unknown): void;
  report(error: unknown): void;
}

/** The slots of one ring; the same object for every batch. */
export class RingSlots<Q extends Struct, R extends Struct, Id extends string> implements Slots<Q, R, Id> {
  readonly #ring: BackRing<Q, R, Id>;
  readonly #owner: SlotsOwner<Q, R, Id>;
  /** For each ticket, 1 while it keeps a request. */
  readonly #tickets: Uint8Array;
  /** Requests of the batch that were not taken. */
  #left = 0;
  /** The request taken last, until it is kept or answered. */
  #taken: Exchange<Q, R, Id> | undefined;
  /** The answer that was begun last, until it is put in. */
  #open: Exchange<Q, R, Id> | undefined;

  constructor(ring: BackRing<Q, R, Id>, owner: SlotsOwner<Q, R, Id>) {
    this.#ring = ring;
    this.#owner = owner;
    this.#tickets = new Uint8Array(ring.entries + 1);
  }

  /** Lets `handler` take some of `count` requests, once more each time it throws after it took some; how many it left. */
  offer(count: number, handler: Drain<Q, R, Id>): number {
    this.#left = count;
    let before: number;
    let failed: boolean;
    do {
      before = this.#left;
      failed = this.#run(handler);
    } while (failed && this.#left > 0 && this.#left < before);
    const left = this.#left;
    this.#left = 0;
    return left;
  }

  /** Leaves nothing more of the batch to take. */
  end(): void {
    this.#left = 0;
  }

  #run(handler: Drain<Q, R, Id>): boolean {
    let failed = false;
    try {
      handler(this);
    } catch (error) {
      failed = true;
      this.#failed(error);
    }
    this.#settle();
    return failed;
  }

  take(): View<Q, Id> | undefined {
    if (this.#open !== undefined || this.#taken !== undefined) this.#settle();
    if (this.#left === 0) return undefined;
    this.#left--;
    const taken = this.#ring.take();
    this.#taken = taken;
    return taken.request;
  }

  keep(): number {
    const taken = this.#taken;
    if (taken === undefined) throw new RangeError('no request is taken that could be kept');
    this.#taken = undefined;
    this.#tickets[taken.ticket] = 1;
    this.#ring.keep();
    return taken.ticket;
  }

  kept(ticket: number): View<Q, Id> {
    if (this.#tickets[ticket] !== 1) throw new RangeError(`no request is kept under ticket ${ticket}`);
    return this.#ring.exchange(ticket).request;
  }

  respond(ticket?: number): Draft<R, Id> {
    if (this.#open !== undefined) this.#put();
    const open = ticket === undefined ? this.#takenLast() : this.#keptUnder(ticket);
    this.#open = open;
    return open.response;
  }

  push(): void {
    if (this.#open !== undefined) this.#put();
    this.#owner.push();
  }

  #takenLast(): Exchange<Q, R, Id> {
    const taken = this.#taken;
    if (taken === undefined) throw new RangeError('no request is taken that could be answered');
    this.#taken = undefined;
    return taken;
  }

  #keptUnder(ticket: number): Exchange<Q, R, Id> {
    if (this.#tickets[ticket] !== 1) throw new RangeError(`no request is kept under ticket ${ticket}`);
    this.#tickets[ticket] = 0;
    return this.#ring.exchange(ticket);
  }

  #put(): void {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) return;
    if (this.#owner.closed) this.#ring.release(open);
    else this.#ring.put(open);
  }

  /** Puts in the answer that was begun, and refuses the request that was taken and left without one. */
  #settle(): void {
    this.#put();
    if (this.#taken === undefined) return;
    if (this.#owner.closed) this.#taken = undefined;
    else this.#failed(new Error('a handler took a request and neither answered nor kept it'));
  }

  #failed(error: unknown): void {
    const taken = this.#taken;
    this.#taken = undefined;
    if (taken !== undefined && !this.#owner.closed) this.#owner.refuse(taken, error);
    else if (error instanceof PeerFault) throw error;
    else this.#owner.report(error);
  }
}
