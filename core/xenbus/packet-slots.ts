import type { Codec } from '../abi/codec.js';
import type { RecordView } from '../abi/message.js';
import type { PacketShape } from '../abi/ring.js';
import type { Struct, View } from '../abi/struct.js';
import { PeerFault } from '../errors.js';

/** A packet of several slots, as private copies that are valid until the next one is looked at (XSA-155). */
export interface Packet<S, X> {
  /** Data slots of the packet; of more than the protocol's `slots` only so many can be read. */
  readonly slots: number;
  /** Extras of the packet; of more than the protocol's `extras` only so many can be read. */
  readonly extras: number;
  /** A data slot, the first is 0. @throws RangeError for one that was not copied */
  slot(i: number): S;
  /** An extra. @throws RangeError for one that was not copied */
  extra(i: number): X;
}

/** The end of a ring that packets are read from. */
export interface PacketSource<S> {
  readonly entries: number;
  view(): S & RecordView;
  load(into: RecordView, ahead: number): void;
}

/** Finds the packets on a ring, by the flags of private copies of their slots: each slot is read once. */
export class PacketSlots<S, X extends Struct> implements Packet<S, View<X>> {
  readonly #source: PacketSource<S>;
  readonly #flags: string;
  declare private readonly moreData: number;
  declare private readonly extraInfo: number;
  readonly #moreExtras: number;
  readonly #whole: boolean;
  readonly #what: string;
  /** Data slots of the packet, and one for those that are only counted. */
  declare private readonly views: readonly (S & RecordView)[];
  readonly #infos: readonly (View<X> & RecordView)[];
  slots = 0;
  extras = 0;
  /** The ids of all data slots, those that were only counted among them. */
  readonly ids: Int32Array;

  /** @param what names the ring's packets in errors */
  constructor(source: PacketSource<S>, shape: PacketShape<X>, extra: Codec, what: string) {
    const { flags, moreData, extraInfo, moreExtras, whole = false } = shape;
    this.#source = source;
    this.#flags = flags;
    this.moreData = moreData;
    this.extraInfo = extraInfo;
    this.#moreExtras = moreExtras;
    this.#whole = whole;
    this.#what = what;
    this.views = Array.from({ length: shape.slots + 1 }, () => source.view());
    this.ids = new Int32Array(source.entries);
    this.#infos = Array.from({ length: shape.extras + 1 }, () => new extra.View() as View<X> & RecordView);
  }

  slot(i: number): S {
    const view = i >= 0 && i < this.views.length - 1 ? this.views[i] : undefined;
    if (view === undefined || i >= this.slots) throw new RangeError(`slot ${i} of a packet was not copied`);
    return view;
  }

  extra(i: number): View<X> {
    const info = i >= 0 && i < this.#infos.length - 1 ? this.#infos[i] : undefined;
    if (info === undefined || i >= this.extras) throw new RangeError(`extra ${i} of a packet was not copied`);
    return info;
  }

  /**
   * Looks at the packet that the next `count` slots begin with; how many it takes, 0 when it is not all there.
   * @throws PeerFault for one that is longer than the ring, or not all there and has to be
   */
  look(count: number): number {
    this.slots = this.extras = 0;
    if (count === 0) return 0;
    const source = this.#source;
    const first = this.views[0] as S & RecordView;
    source.load(first, 0);
    let flags = this.#flagsOf(first);
    this.slots = 1;
    this.ids[0] = first.$lo;
    if ((flags & (this.moreData | this.extraInfo)) === 0) return 1;
    let taken = 1;
    if ((flags & this.extraInfo) !== 0) {
      taken = this.#extras(count);
      if (taken === 0) return 0;
    }
    while ((flags & this.moreData) !== 0) {
      if (taken === count) return this.#partial(count);
      const view = this.views[Math.min(this.slots, this.views.length - 1)] as S & RecordView;
      source.load(view, taken++);
      this.ids[this.slots++] = view.$lo;
      flags = this.#flagsOf(view);
    }
    return taken;
  }

  /** Looks at the extras; how many slots there are with the first, 0 when they are not all there. */
  #extras(count: number): number {
    let taken = 1;
    let more = true;
    while (more) {
      if (taken === count) return this.#partial(count);
      const info = this.#infos[Math.min(this.extras, this.#infos.length - 1)] as View<X> & RecordView;
      this.#source.load(info, taken++);
      this.extras++;
      more = (((info as { readonly flags?: number }).flags ?? 0) & this.#moreExtras) !== 0;
    }
    return taken;
  }

  #partial(count: number): 0 {
    if (count >= this.#source.entries) throw new PeerFault(`${this.#what} of more slots than its ring has`, count);
    if (this.#whole) throw new PeerFault(`${this.#what} that wants more slots than were published`, count);
    this.slots = this.extras = 0;
    return 0;
  }

  #flagsOf(view: S & RecordView): number {
    return (view as unknown as Readonly<Record<string, number>>)[this.#flags] as number;
  }
}
