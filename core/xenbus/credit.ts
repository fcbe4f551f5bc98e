import type { BackRing } from '../abi/back-ring.js';
import type { Draft, Struct, View } from '../abi/struct.js';
import type { PumpOptions } from './pump-options.js';

/**
 * What a backend sends by on a ring whose requests are credit: buffers that the frontend posts to be filled in their order (netif rx). They
 * stay on the ring until they are held, so they keep no link from closing.
 */
export interface CreditSender<Q extends Struct, R extends Struct> {
  /** Slots of the ring. */
  readonly entries: number;
  /** Requests that are posted and not held, as far as this end has looked. */
  readonly posted: number;
  /**
   * Takes the next `count` posted requests and hands each to `each` as a private copy, in their order; or takes none, says false, and has
   * {@link onPosted} hear when there are more.
   */
  hold(count: number, each: (request: View<Q>, i: number) => void): boolean;
  /**
   * A zeroed draft of the answer to the oldest request that was held and not answered; it is put in as it is at the next `respond` or
   * `push`. @throws RangeError when there is none
   */
  respond(): Draft<R>;
  /** Publishes the answers given, and notifies the frontend if it asked for that. */
  push(): void;
  /** Whether `count` requests are posted now; if not, {@link onPosted} hears when there are more. */
  has(count: number): boolean;
  /** From now on hears, once each time after a `hold` that said false, that more was posted. @throws TypeError the second time */
  onPosted(hear: () => void): void;
}

/** What a ring of credit works with. */
export interface CreditOptions extends PumpOptions {
  /** Hears, not inside the call that finds it, that the frontend's index cannot be: a sender may be in the middle of another link's work. */
  readonly onLie: (error: unknown) => void;
}

/** A backend's end of a ring of credit. Nothing is allocated for a request. */
export class Credit<Q extends Struct, R extends Struct> implements CreditSender<Q, R> {
  declare readonly entries: number;
  declare private readonly ring: BackRing<Q, R>;
  readonly #notify: () => void;
  readonly #onLie: (error: unknown) => void;
  readonly #onError: (error: unknown) => void;
  #hear: (() => void) | undefined;
  #hungry = false;
  #posted = 0;
  /** Requests held and not answered; whether a draft is out. */
  #held = 0;
  #drafted = false;
  /** The frontend's index at the last upcall. */
  #seen: number;
  #closed = false;

  constructor(ring: BackRing<Q, R>, options: CreditOptions) {
    this.ring = ring;
    this.entries = ring.entries;
    this.#notify = options.notify;
    this.#onLie = options.onLie;
    this.#onError = options.onError;
    this.#seen = ring.reqCons;
  }

  /** Held requests are answered where they are taken, or belong to nobody: there is nothing to wait for. */
  get pending(): number {
    return 0;
  }

  get posted(): number {
    return this.#posted;
  }

  hold(count: number, each: (request: View<Q>, i: number) => void): boolean {
    if (this.#posted < count && !this.has(count)) return false;
    const ring = this.ring;
    this.#posted -= count;
    this.#held += count;
    for (let i = 0; i < count; i++) each(ring.take().request, i);
    return true;
  }

  respond(): Draft<R> {
    if (this.#drafted) this.#put();
    if (this.#held === 0) throw new RangeError('no request is held that could be answered');
    this.#held--;
    this.#drafted = true;
    return this.ring.current.response as unknown as Draft<R>;
  }

  push(): void {
    if (this.#drafted) this.#put();
    if (!this.#closed && this.ring.push()) this.#notify();
  }

  onPosted(hear: () => void): void {
    if (this.#hear !== undefined) throw new TypeError('a ring of credit has one who hears of it');
    this.#hear = hear;
  }

  /**
   * Tells who waits that there is more. To be called at every upcall; says how many requests were posted since the last: none, and the
   * event was spurious. @throws PeerFault for an index that cannot be
   */
  upcall(): number {
    if (this.#closed) return 0;
    const { ring } = this;
    this.#posted = ring.unconsumed();
    const now = (ring.reqCons + this.#posted) | 0;
    const found = (now - this.#seen) >>> 0;
    this.#seen = now;
    if (found > 0 && this.#hungry) {
      this.#hungry = false;
      try {
        this.#hear?.();
      } catch (error) {
        this.#onError(error);
      }
    }
    return found;
  }

  /** Nothing is held or published any more. */
  close(): void {
    this.#closed = true;
    this.#posted = 0;
  }

  has(count: number): boolean {
    do {
      this.#count();
      if (this.#closed) return false;
      if (this.#posted >= count) return true;
      this.#hungry = true;
    } while (this.ring.finalCheck(this.#posted));
    return false;
  }

  #count(): void {
    if (this.#closed) return;
    try {
      this.#posted = this.ring.unconsumed();
    } catch (error) {
      this.close();
      queueMicrotask(() => this.#onLie(error));
    }
  }

  #put(): void {
    this.#drafted = false;
    const exchange = this.ring.current;
    if (this.#closed) exchange.response.$zero();
    else this.ring.put(exchange);
  }
}
