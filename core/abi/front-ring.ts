import type { InPlace } from './in-place.js';
import type { RecordDraft, RecordView } from './message.js';
import { overflow, type RingFormat, type RingOptions, ringShape, sring } from './ring.js';
import type { Draft, Slot, Struct, View } from './struct.js';

/** What is imported is looked up at each use; a constant of this file is part of the code. */
const ENTRIES = sring.entries;
/** More than the words of any ring: what was masked by it is known to be small, so adding to it needs no check for overflow. */
const SMALL = 0x3fffffff;

/**
 * The frontend's end of a shared ring: it produces requests and consumes responses. The shared indices are read and written by
 * `Atomics` only, once per batch; responses are read as private copies (ring.h FRONT_RING_*, XSA-155).
 */
export class FrontRing<Q extends Struct = Struct, R extends Struct = Struct, Id extends string = never> {
  /** Slots, a power of two. */
  declare readonly entries: number;
  /** Whether responses name their request; on other rings they come in the order of the requests. */
  declare readonly paired: boolean;
  // These are declared, and made by the constructor in one go: a #field begins as undefined, and V8 then asks at each use what it
  // holds (docs/performance.md).
  declare private readonly words: Int32Array;
  declare private readonly mask: number;
  declare private readonly slotWords: number;
  declare private readonly holdOff: number;
  declare private readonly packs: boolean;
  declare private readonly writer: InPlace;
  declare private readonly drafted: RecordDraft;
  declare private readonly received: RecordView;
  readonly #View: new () => RecordView;
  #draftId = 0;
  declare private reqProdPvt: number;
  declare private reqProd: number;
  declare private rspCons: number;

  /**
   * Initialises the shared page, all of it (SHARED_RING_INIT, XSA-403), and this end (FRONT_RING_INIT).
   * @param words the ring's pages, side by side
   * @param options.first the index that the ring begins at; Xen's begin at 0
   */
  constructor(
    words: Int32Array,
    format: RingFormat<Q, R, Id>,
    options: RingOptions & { readonly first?: number } = {},
  ) {
    const { request, response, slotWords, entries } = ringShape(words, format, options);
    const first = (options.first ?? 0) | 0;
    this.words = words;
    this.entries = entries;
    this.paired = format.id !== undefined;
    this.mask = entries - 1;
    this.slotWords = slotWords;
    this.holdOff = options.holdOff ?? 1;
    this.packs = request.packs;
    this.writer = new request.Slot(words, ENTRIES);
    this.drafted = new request.Draft();
    this.#View = response.View;
    this.received = new response.View();
    this.reqProdPvt = this.reqProd = this.rspCons = first;
    words.fill(0);
    Atomics.store(words, sring.reqProd, first);
    Atomics.store(words, sring.rspProd, first);
    Atomics.store(words, sring.reqEvent, (first + 1) | 0);
    Atomics.store(words, sring.rspEvent, (first + 1) | 0);
  }

  /** Slots that a request can be put into: those whose response was taken (RING_FREE_REQUESTS). */
  get free(): number {
    return this.entries - ((this.reqProdPvt - this.rspCons) | 0);
  }

  /** Whether no request can be put in (RING_FULL). */
  get full(): boolean {
    return this.free === 0;
  }

  /** Requests put in whose response was not taken yet. */
  get outstanding(): number {
    return (this.reqProdPvt - this.rspCons) | 0;
  }

  /** The slot that the next request will take. */
  get nextRequest(): number {
    return this.reqProdPvt & this.mask;
  }

  /** The slot that the next response will be taken from. */
  get nextResponse(): number {
    return this.rspCons & this.mask;
  }

  /**
   * The next free slot, to be written whole; it lies in shared memory where each of its words can be written at once, else in a private
   * draft. The peer sees it after {@link put} and {@link push}; until then nothing is taken.
   */
  slot(id: number): Slot<Q, Id> {
    if (this.packs !== true) return this.draft(id);
    const slot = this.writer;
    slot.$w = (ENTRIES + (this.reqProdPvt & this.mask) * this.slotWords) & SMALL;
    slot.$pair = id;
    return slot as unknown as Slot<Q, Id>;
  }

  /** Takes the slot that was written. The caller has seen that the ring is not {@link full}. */
  put(): void {
    if (this.packs === true) this.reqProdPvt = (this.reqProdPvt + 1) | 0;
    else this.putDraft();
  }

  /** Takes back the last `count` requests that were put in; only before {@link push}. */
  retract(count: number): void {
    this.reqProdPvt = (this.reqProdPvt - count) | 0;
  }

  /** A zeroed private draft of the next request, to be put in by {@link putDraft}. */
  draft(id: number): Draft<Q, Id> & Slot<Q, Id> {
    this.drafted.$zero();
    this.#draftId = id;
    return this.drafted as unknown as Draft<Q, Id> & Slot<Q, Id>;
  }

  /** Copies the draft into the next free slot, and takes that. The caller has seen that the ring is not {@link full}. */
  putDraft(): void {
    const word = ENTRIES + (this.reqProdPvt & this.mask) * this.slotWords;
    this.drafted.$store(this.words, word, this.#draftId, 0);
    this.reqProdPvt = (this.reqProdPvt + 1) | 0;
  }

  /** Publishes what was put in; whether the backend asked to be notified of it (RING_PUSH_REQUESTS_AND_CHECK_NOTIFY). */
  push(): boolean {
    const old = this.reqProd;
    const now = this.reqProdPvt;
    if (old === now) return false;
    this.reqProd = now;
    Atomics.store(this.words, sring.reqProd, now);
    return (now - Atomics.load(this.words, sring.reqEvent)) >>> 0 < (now - old) >>> 0;
  }

  /**
   * Responses that the peer has published and that were not taken (RING_HAS_UNCONSUMED_RESPONSES).
   * @throws PeerFault when the peer answered more than was asked (RING_RESPONSE_PROD_OVERFLOW)
   */
  unconsumed(): number {
    const prod = Atomics.load(this.words, sring.rspProd);
    const count = (prod - this.rspCons) >>> 0;
    const limit = (this.reqProd - this.rspCons) >>> 0;
    if (count > limit) throw overflow('rsp_prod', prod, this.rspCons, limit);
    return count;
  }

  /** Whether there is a response that was not taken; the number of them is not checked. */
  get hasUnconsumed(): boolean {
    return Atomics.load(this.words, sring.rspProd) !== this.rspCons;
  }

  /** The next response, as a private copy that is valid until the next is taken. Only after {@link unconsumed} counted it. */
  take(): View<R, Id> & RecordView {
    const view = this.received;
    view.$load(this.words, ENTRIES + (this.rspCons & this.mask) * this.slotWords);
    this.rspCons = (this.rspCons + 1) | 0;
    return view as View<R, Id> & RecordView;
  }

  /**
   * Takes `count` responses and hands each to `each`; when that throws, the ones after it stay. Only after {@link unconsumed} counted
   * them. One loop over local variables, which the compiler keeps in
   * registers.
   */
  takeEach(count: number, each: (response: View<R, Id> & RecordView, slot: number) => void): void {
    const words = this.words;
    const mask = this.mask;
    const slotWords = this.slotWords;
    const view = this.received as View<R, Id> & RecordView;
    let cons = this.rspCons | 0;
    for (const end = (cons + count) | 0; cons !== end; ) {
      const slot = cons & mask;
      view.$load(words, (ENTRIES + slot * slotWords) & SMALL);
      cons = (cons + 1) | 0;
      this.rspCons = cons;
      each(view, slot);
    }
  }

  /** Another record of a response, for {@link load}. */
  view(): View<R, Id> & RecordView {
    return new this.#View() as View<R, Id> & RecordView;
  }

  /** Copies the response that comes `ahead` responses after the next one, and takes none. Only after {@link unconsumed} counted it. */
  load(into: RecordView, ahead: number): void {
    into.$load(this.words, ENTRIES + ((this.rspCons + ahead) & this.mask) * this.slotWords);
  }

  /** Takes `count` responses, which were copied by {@link load}. */
  advance(count: number): void {
    this.rspCons = (this.rspCons + count) | 0;
  }

  /**
   * Asks to be notified of the next response after the `left` that are left on the ring, then looks once more: whether there are any after
   * all (RING_FINAL_CHECK_FOR_RESPONSES).
   */
  finalCheck(left = 0): boolean {
    const seen = (this.rspCons + left) | 0;
    const outstanding = (this.reqProd - seen) | 0;
    const ahead = Math.min(this.holdOff, Math.max(outstanding, 1));
    Atomics.store(this.words, sring.rspEvent, (seen + ahead) | 0);
    return Atomics.load(this.words, sring.rspProd) !== seen;
  }
}
