import type { CopyRecord, Cursor, CursorClass } from './codegen.js';
import { overflow, type RingFormat, type RingOptions, ringShape, sring } from './ring.js';
import type { Draft, Struct, View } from './struct.js';

/** A request that was taken, and the draft of its answer; both private, and valid until the answer is put in. */
export interface Exchange<Q extends Struct, R extends Struct, Id extends string = never> {
  /** What the request goes by among those that are not answered. */
  readonly ticket: number;
  readonly request: View<Q, Id> & Cursor;
  readonly response: Draft<R, Id> & Cursor;
}

/**
 * The backend's end of a shared ring: it consumes requests and produces responses. The shared indices are read and written by
 * `Atomics` only, once per batch; a request is read as a private copy that stays until it is answered; a response is drafted
 * privately and copied out whole (ring.h BACK_RING_*, XSA-155, XSA-216).
 */
export class BackRing<Q extends Struct = Struct, R extends Struct = Struct, Id extends string = never> {
  /** Slots, a power of two. */
  readonly entries: number;
  readonly #words: Int32Array;
  readonly #mask: number;
  readonly #slotWords: number;
  readonly #holdOff: number;
  readonly #copyIn: CopyRecord;
  readonly #copyOut: CopyRecord;
  readonly #zero: (words: Int32Array, word: number) => void;
  readonly #requests: Int32Array;
  readonly #responses: Int32Array;
  readonly #requestWords: number;
  readonly #responseWords: number;
  readonly #View: CursorClass;
  readonly #Draft: CursorClass;
  readonly #records: { readonly ticket: number; readonly request: Cursor; readonly response: Cursor }[] = [];
  readonly #spare: Int32Array;
  #spares = 0;
  #current: { readonly ticket: number; readonly request: Cursor; readonly response: Cursor };
  #reqCons: number;
  #rspProdPvt: number;
  #rspProd: number;

  /**
   * Attaches to a page that the frontend has initialised. This end's counters come from the page now and never again
   * (BACK_RING_ATTACH).
   * @param words the ring's pages, side by side
   * @throws PeerFault when there are more requests on the page than the ring holds
   */
  constructor(words: Int32Array, format: RingFormat<Q, R, Id>, options: RingOptions = {}) {
    const { request, response, slotWords, entries } = ringShape(words, format, options.abi);
    this.#words = words;
    this.entries = entries;
    this.#mask = entries - 1;
    this.#slotWords = slotWords;
    this.#holdOff = options.holdOff ?? 1;
    this.#copyIn = request.copyIn;
    this.#copyOut = response.copyOut;
    this.#zero = response.zero;
    this.#requestWords = request.words;
    this.#responseWords = response.words;
    this.#requests = new Int32Array((entries + 1) * request.words);
    this.#responses = new Int32Array((entries + 1) * response.words);
    this.#View = request.View;
    this.#Draft = response.Draft;
    this.#spare = new Int32Array(entries + 1);
    this.#current = this.#record();
    this.#reqCons = this.#rspProdPvt = this.#rspProd = Atomics.load(words, sring.rspProd);
    this.unconsumed();
  }

  /** Requests that were kept, and neither answered nor released since. */
  get kept(): number {
    return this.#records.length - 1 - this.#spares;
  }

  /** The record that the last `take` filled. */
  get current(): Exchange<Q, R, Id> {
    return this.#current as unknown as Exchange<Q, R, Id>;
  }

  /**
   * Requests that the peer has published and that were not taken (RING_HAS_UNCONSUMED_REQUESTS).
   * @throws PeerFault when the peer published more than it has slots for (RING_REQUEST_PROD_OVERFLOW)
   */
  unconsumed(): number {
    const prod = Atomics.load(this.#words, sring.reqProd);
    const count = (prod - this.#reqCons) >>> 0;
    const limit = this.entries - ((this.#reqCons - this.#rspProdPvt) | 0);
    if (count > limit) throw overflow('req_prod', prod, this.#reqCons, limit);
    return count;
  }

  /** The next request, as a private copy that is valid until it is answered. Only after {@link unconsumed} counted it. */
  take(): Exchange<Q, R, Id> {
    const current = this.#current;
    this.#copyIn(
      this.#words,
      sring.entries + (this.#reqCons & this.#mask) * this.#slotWords,
      this.#requests,
      current.request.$w,
    );
    this.#reqCons = (this.#reqCons + 1) | 0;
    this.#zero(this.#responses, current.response.$w);
    return current as unknown as Exchange<Q, R, Id>;
  }

  /** Keeps the request that was taken last, to be answered later: the next `take` uses another record. */
  keep(): void {
    this.#current = this.#record();
  }

  /** Zeroes the draft of an answer once more. */
  blank(exchange: Exchange<Q, R, Id>): void {
    this.#zero(this.#responses, exchange.response.$w);
  }

  /** Copies an answer into the next response slot, with its request's id. A kept record is free from then on. */
  put(exchange: Exchange<Q, R, Id>): void {
    const { request, response } = exchange;
    response.$stamp(request.$lo, request.$hi);
    this.#copyOut(
      this.#responses,
      response.$w,
      this.#words,
      sring.entries + (this.#rspProdPvt & this.#mask) * this.#slotWords,
    );
    this.#rspProdPvt = (this.#rspProdPvt + 1) | 0;
    if ((exchange as unknown) !== this.#current) this.release(exchange);
  }

  /** Frees a kept record without an answer. */
  release(exchange: Exchange<Q, R, Id>): void {
    this.#spare[this.#spares++] = exchange.ticket;
  }

  /** The kept exchange of a ticket. */
  exchange(ticket: number): Exchange<Q, R, Id> {
    return this.#records[ticket] as unknown as Exchange<Q, R, Id>;
  }

  /** Publishes what was put in; whether the frontend asked to be notified of it (RING_PUSH_RESPONSES_AND_CHECK_NOTIFY). */
  push(): boolean {
    const old = this.#rspProd;
    const now = this.#rspProdPvt;
    if (old === now) return false;
    this.#rspProd = now;
    Atomics.store(this.#words, sring.rspProd, now);
    return (now - Atomics.load(this.#words, sring.rspEvent)) >>> 0 < (now - old) >>> 0;
  }

  /**
   * Asks to be notified of the next request after the `left` that are left on the ring, then looks once more: whether there are more
   * after all (RING_FINAL_CHECK_FOR_REQUESTS).
   */
  finalCheck(left = 0): boolean {
    const seen = (this.#reqCons + left) | 0;
    Atomics.store(this.#words, sring.reqEvent, (seen + this.#holdOff) | 0);
    return Atomics.load(this.#words, sring.reqProd) !== seen;
  }

  #record(): { readonly ticket: number; readonly request: Cursor; readonly response: Cursor } {
    if (this.#spares > 0) {
      this.#spares--;
      const spare = this.#records[this.#spare[this.#spares] as number];
      if (spare !== undefined) return spare;
    }
    const ticket = this.#records.length;
    const made = {
      ticket,
      request: new this.#View(this.#requests, ticket * this.#requestWords),
      response: new this.#Draft(this.#responses, ticket * this.#responseWords),
    };
    this.#records.push(made);
    return made;
  }
}
