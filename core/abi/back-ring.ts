import type { RecordDraft, RecordView } from './message.js';
import { ResponseJournal } from './response-journal.js';
import { overflow, type RingFormat, type RingOptions, ringShape, sring } from './ring.js';
import type { Draft, Struct, View } from './struct.js';

/** A request that was taken, and the draft of its answer; both private, and valid until the answer is put in. */
export interface Exchange<Q extends Struct, R extends Struct, Id extends string = never> {
  /** What the request goes by among those that are kept. */
  readonly ticket: number;
  readonly request: View<Q, Id> & RecordView;
  readonly response: Draft<R, Id> & RecordDraft;
}

/** What is imported is looked up at each use; a constant of this file is part of the code. */
const ENTRIES = sring.entries;
/** More than the words of any ring: what was masked by it is known to be small, so adding to it needs no check for overflow. */
const SMALL = 0x3fffffff;

/**
 * The backend's end of a shared ring: it consumes requests and produces responses. The shared indices are read and written by
 * `Atomics` only, once per batch; a request is read as a private copy that stays until it is answered; a response is drafted
 * privately and copied out whole (ring.h BACK_RING_*, XSA-155, XSA-216).
 */
export class BackRing<Q extends Struct = Struct, R extends Struct = Struct, Id extends string = never> {
  /** Slots, a power of two. */
  declare readonly entries: number;
  /** Whether responses name their request; on other rings they come in the order of the requests. */
  declare readonly paired: boolean;
  // What is read for each request is declared, not made here: see FrontRing.
  declare private readonly words: Int32Array;
  declare private readonly mask: number;
  declare private readonly slotWords: number;
  declare private readonly holdOff: number;
  declare private readonly journal: ResponseJournal | undefined;
  readonly #View: new () => RecordView;
  readonly #Draft: new () => RecordDraft;
  /** All records that were ever needed at once, by ticket; made when needed. */
  readonly #records: Exchange<Q, R, Id>[] = [];
  /** The tickets that are free: the first `#spares` of them. */
  readonly #spare: Int32Array;
  #spares = 0;
  declare private record: Exchange<Q, R, Id>;
  declare private reqConsPvt: number;
  declare private rspProdPvt: number;
  declare private rspProd: number;

  /**
   * Attaches to a page that the frontend has initialised. This end's counters come from the page now and never again
   * (BACK_RING_ATTACH).
   * @param words the ring's pages, side by side
   * @throws PeerFault when there are more requests on the page than the ring holds
   */
  constructor(words: Int32Array, format: RingFormat<Q, R, Id>, options: RingOptions = {}) {
    const { request, response, slotWords, entries } = ringShape(words, format, options);
    this.words = words;
    this.entries = entries;
    this.paired = format.id !== undefined;
    this.mask = entries - 1;
    this.slotWords = slotWords;
    this.holdOff = options.holdOff ?? 1;
    this.#View = request.View;
    this.#Draft = response.Draft;
    this.#spare = new Int32Array(entries + 1);
    this.record = this.#record();
    this.reqConsPvt = this.rspProdPvt = this.rspProd = Atomics.load(words, sring.rspProd);
    const responseWords = response.layout.size / 4;
    this.journal = options.journal && new ResponseJournal(words, responseWords);
    const count = this.unconsumed();
    if (options.journal === 'begin') this.journal?.begin(this.rspProd);
    else if (this.journal !== undefined) this.#takeUp(this.journal, count, responseWords);
  }

  /** The index of the next request to take. */
  get reqCons(): number {
    return this.reqConsPvt;
  }

  /** Requests that were kept, and neither answered nor released since. */
  get kept(): number {
    return this.#records.length - 1 - this.#spares;
  }

  /** The record that the last `take` filled. */
  get current(): Exchange<Q, R, Id> {
    return this.record;
  }

  /**
   * Requests that the peer has published and that were not taken (RING_HAS_UNCONSUMED_REQUESTS).
   * @throws PeerFault when the peer published more than it has slots for (RING_REQUEST_PROD_OVERFLOW)
   */
  unconsumed(): number {
    const prod = Atomics.load(this.words, sring.reqProd);
    const count = (prod - this.reqConsPvt) >>> 0;
    const limit = this.entries - ((this.reqConsPvt - this.rspProdPvt) | 0);
    if (count > limit) throw overflow('req_prod', prod, this.reqConsPvt, limit);
    return count;
  }

  /** Whether there is a request that was not taken; the number of them is not checked. */
  get hasUnconsumed(): boolean {
    return Atomics.load(this.words, sring.reqProd) !== this.reqConsPvt;
  }

  /** The next request, as a private copy that is valid until it is answered. Only after {@link unconsumed} counted it. */
  take(): Exchange<Q, R, Id> {
    const current = this.record;
    current.request.$load(this.words, ENTRIES + (this.reqConsPvt & this.mask) * this.slotWords);
    this.reqConsPvt = (this.reqConsPvt + 1) | 0;
    return current;
  }

  /**
   * Takes up to `count` requests and puts in what `handler` answers to each, until it throws or returns something: then that request is
   * {@link current}, and not answered. Only after {@link unconsumed} counted them. One loop over local variables, as in
   * {@link FrontRing.takeEach}.
   */
  serve(count: number, handler: (request: View<Q, Id>, response: Draft<R, Id>) => unknown): unknown {
    if (this.journal !== undefined) return this.#serveNoted(count, handler);
    const words = this.words;
    const mask = this.mask;
    const slotWords = this.slotWords;
    const { request, response } = this.record;
    let cons = this.reqConsPvt | 0;
    let prod = this.rspProdPvt | 0;
    const end = (cons + count) | 0;
    try {
      while (cons !== end) {
        request.$load(words, (ENTRIES + (cons & mask) * slotWords) & SMALL);
        cons = (cons + 1) | 0;
        const later = handler(request, response);
        if (later !== undefined) return later;
        response.$store(words, (ENTRIES + (prod & mask) * slotWords) & SMALL, request.$lo, request.$hi);
        prod = (prod + 1) | 0;
      }
    } finally {
      this.reqConsPvt = cons;
      this.rspProdPvt = prod;
    }
    return undefined;
  }

  /** As {@link serve}, where responses are noted. */
  #serveNoted(count: number, handler: (request: View<Q, Id>, response: Draft<R, Id>) => unknown): unknown {
    for (let i = 0; i < count; i++) {
      const exchange = this.take();
      const later = handler(exchange.request, exchange.response);
      if (later !== undefined) return later;
      this.put(exchange);
    }
    return undefined;
  }

  /** Another record of a request, for {@link load}. */
  view(): View<Q, Id> & RecordView {
    return new this.#View() as View<Q, Id> & RecordView;
  }

  /** Copies the request that comes `ahead` requests after the next one, and takes none. Only after {@link unconsumed} counted it. */
  load(into: RecordView, ahead: number): void {
    into.$load(this.words, ENTRIES + ((this.reqConsPvt + ahead) & this.mask) * this.slotWords);
  }

  /** Takes `count` requests, which were copied by {@link load}. */
  advance(count: number): void {
    this.reqConsPvt = (this.reqConsPvt + count) | 0;
  }

  /** Copies a draft into the next response slot, with this id; for requests that were taken by {@link advance}. */
  answer(response: RecordDraft, id: number): void {
    response.$store(this.words, ENTRIES + (this.rspProdPvt & this.mask) * this.slotWords, id, 0);
    this.rspProdPvt = (this.rspProdPvt + 1) | 0;
  }

  /** Keeps the request that was taken last, to be answered later: the next one gets another record. */
  keep(): void {
    this.record = this.#record();
  }

  /** Copies an answer into the next response slot, with its request's id. A kept record is free from then on. */
  put(exchange: Exchange<Q, R, Id>): void {
    const { request, response } = exchange;
    const word = ENTRIES + (this.rspProdPvt & this.mask) * this.slotWords;
    const next = (this.rspProdPvt + 1) | 0;
    if (this.journal === undefined) response.$store(this.words, word, request.$lo, request.$hi);
    else {
      response.$store(this.journal.response, 0, request.$lo, request.$hi);
      this.journal.put(word, next);
    }
    this.rspProdPvt = next;
    if (exchange !== this.record) this.release(exchange);
  }

  /** Frees a kept record without an answer. */
  release(exchange: Exchange<Q, R, Id>): void {
    exchange.response.$zero();
    this.#spare[this.#spares++] = exchange.ticket;
  }

  /** The record of a ticket. @throws RangeError when there is none */
  exchange(ticket: number): Exchange<Q, R, Id> {
    const exchange = this.#records[ticket];
    if (exchange === undefined) throw new RangeError(`no request goes by ticket ${ticket}`);
    return exchange;
  }

  /** Publishes what was put in; whether the frontend asked to be notified of it (RING_PUSH_RESPONSES_AND_CHECK_NOTIFY). */
  push(): boolean {
    const old = this.rspProd;
    const now = this.rspProdPvt;
    if (old === now) return false;
    this.rspProd = now;
    Atomics.store(this.words, sring.rspProd, now);
    return (now - Atomics.load(this.words, sring.rspEvent)) >>> 0 < (now - old) >>> 0;
  }

  /**
   * Asks to be notified of the next request after the `left` that are left on the ring, then looks once more: whether there are more
   * after all (RING_FINAL_CHECK_FOR_REQUESTS).
   */
  finalCheck(left = 0): boolean {
    const seen = (this.reqConsPvt + left) | 0;
    Atomics.store(this.words, sring.reqEvent, (seen + this.holdOff) | 0);
    return Atomics.load(this.words, sring.reqProd) !== seen;
  }

  /** Takes the slots of which a backend that died had put responses in for answered; the next push publishes them. */
  #takeUp(journal: ResponseJournal, count: number, responseWords: number): void {
    const end = journal.end(this.rspProd, count);
    if (end === this.rspProd) return;
    const slot = ENTRIES + ((end - 1) & this.mask) * this.slotWords;
    const note = journal.place(end);
    this.words.copyWithin(slot, note, note + responseWords);
    this.reqConsPvt = this.rspProdPvt = end;
  }

  #record(): Exchange<Q, R, Id> {
    if (this.#spares > 0) return this.exchange(this.#spare[--this.#spares] as number);
    const made = {
      ticket: this.#records.length,
      request: new this.#View() as View<Q, Id> & RecordView,
      response: new this.#Draft() as unknown as Draft<R, Id> & RecordDraft,
    };
    this.#records.push(made);
    return made;
  }
}
