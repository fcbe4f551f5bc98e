import type { Observable } from 'rxjs';
import type { BackRing } from '../abi/back-ring.js';
import type { Draft, Struct, View } from '../abi/struct.js';

/**
 * Answers one request. The request is a private copy and, like the response's draft, stays valid until the answer is given: when the
 * call returns, or when the promise or Observable that it returns has completed. What it throws is answered by the protocol's `refuse`.
 */
export type Serve<Q extends Struct, R extends Struct, Id> =
  | ((request: View<Q, Id>, response: Draft<R, Id>) => void)
  | ((request: View<Q, Id>, response: Draft<R, Id>) => PromiseLike<unknown> | Observable<unknown>);

/** Takes requests and answers them, now or later, in any order. */
export interface Slots<Q extends Struct, R extends Struct, Id> {
  /** The next request, a private copy that is valid until the next `take`, or until it is answered if it was kept; undefined: no more. */
  take(): View<Q, Id> | undefined;
  /** Keeps the request taken last beyond the next `take`; what it is answered by. */
  keep(): number;
  /** A kept request. @throws RangeError when no request is kept under that ticket */
  kept(ticket: number): View<Q, Id>;
  /**
   * A zeroed draft of the answer to the request taken last, or to a kept one. It goes out as it is at the next `respond`, `take` or
   * `push`, or when the batch is over. @throws RangeError when no request is kept under that ticket
   */
  respond(ticket?: number): Draft<R, Id>;
  /** Publishes the answers given so far, and notifies the frontend if it asked for that. At the end of a batch this happens by itself. */
  push(): void;
}

/** Takes as many requests as it wants; those that it leaves are offered again at the next upcall. */
export type Drain<Q extends Struct, R extends Struct, Id> = (slots: Slots<Q, R, Id>) => void;

/** What a backend's answers are given with. */
export interface ResponsesOptions<Q extends Struct, R extends Struct, Id extends string = never> {
  /** Raises the event at the frontend. */
  readonly notify: () => void;
  /** Makes the answer that says "no" with an errno; the draft is all zero. */
  readonly refuse: (response: Draft<R, Id>, errno: number, request: View<Q, Id>) => void;
  /** Hears of errors that are no refusals, of a handler's mistakes, and of a PeerFault from a handler that answered later. */
  readonly onError: (error: unknown) => void;
}

/** A backend's answers on one ring. */
export class Responses<Q extends Struct, R extends Struct, Id extends string = never> {
  readonly #ring: BackRing<Q, R, Id>;

  constructor(ring: BackRing<Q, R, Id>, _options: ResponsesOptions<Q, R, Id>) {
    this.#ring = ring;
  }

  /** Requests taken and not answered. */
  get pending(): number {
    return this.#ring.unanswered;
  }

  /** Resolves when nothing is pending. */
  idle(): Promise<void> {
    throw new Error('not yet');
  }

  /** From now on each request is answered by `handler`. @throws TypeError when the ring is served already */
  serve(_handler: Serve<Q, R, Id>): void {
    throw new Error('not yet');
  }

  /** From now on `handler` takes the requests, and can answer them later; the same slots are returned for that. */
  drain(_handler: Drain<Q, R, Id>): Slots<Q, R, Id> {
    throw new Error('not yet');
  }

  /**
   * Handles all requests there are. To be called at every upcall; says how many there were (none: the event was spurious).
   * @throws PeerFault for an index that cannot be, or from a handler
   */
  upcall(): number {
    throw new Error('not yet');
  }

  /** Takes no more requests; what is answered from now on is dropped. A second time does nothing. */
  close(): void {}
}
