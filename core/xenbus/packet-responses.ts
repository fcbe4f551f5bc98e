import type { BackRing } from '../abi/back-ring.js';
import { codecFor } from '../abi/codec.js';
import type { Abi } from '../abi/layout.js';
import type { RecordDraft } from '../abi/message.js';
import type { PacketShape, RingFormat } from '../abi/ring.js';
import type { Draft, Struct, View } from '../abi/struct.js';
import { Idle } from './idle.js';
import { PacketDrain } from './packet-drain.js';
import { type Packet, PacketSlots } from './packet-slots.js';
import type { PumpOptions } from './pump-options.js';

/** Takes packets off a ring, and answers them in their order. */
export interface Packets<Q extends Struct, R extends Struct, Id, X extends Struct> {
  /**
   * Looks at the next packet, which stays on the ring until {@link take}; undefined when there is no whole one. What it shows is valid until
   * the next look. A packet that is not all there yet is looked at again when more has come.
   */
  look(): Packet<View<Q, Id>, View<X>> | undefined;
  /** Takes the packet that was looked at last. @throws RangeError when there is none */
  take(): void;
  /** Packets that were taken and not answered. */
  readonly pending: number;
  /**
   * Answers the oldest packet that was taken and not answered: `each` writes into a zeroed draft for each of its slots, in their order.
   * @throws RangeError when there is none
   */
  answer(each: (response: Draft<R, Id>, isExtra: boolean) => void): void;
  /** Publishes the answers given, and notifies the frontend if it asked for that. At the end of a batch this happens by itself. */
  push(): void;
}

/** What a backend takes packets by; a link calls it by its ring's name. */
export interface PacketReceiver<Q extends Struct, R extends Struct, Id, X extends Struct> {
  /**
   * From now on `handler` takes the packets, as many as it wants, at each upcall; what it leaves it is offered again with what comes next,
   * or after {@link again}. Returns the packets that the handler is given, for answers that come later.
   * @throws TypeError when there is a handler already
   */
  drain(handler: (packets: Packets<Q, R, Id, X>) => void): Packets<Q, R, Id, X>;
  /** Offers the handler, soon, what it left. */
  again(): void;
}

/** A backend's answers to packets on one ring. Nothing is allocated for a packet. */
export class PacketResponses<Q extends Struct, R extends Struct, Id extends string, X extends Struct>
  implements PacketReceiver<Q, R, Id, X>, Packets<Q, R, Id, X>
{
  declare private readonly ring: BackRing<Q, R, Id>;
  declare private readonly packet: PacketSlots<View<Q, Id>, X>;
  declare private readonly drained: PacketDrain<View<Q, Id>, X>;
  declare private readonly draft: Draft<R, Id> & RecordDraft;
  readonly #notify: () => void;
  readonly #again: () => void;
  /** Of each slot that was taken and not answered: its id, or -1 of an extra; a ring as long as the shared one. */
  declare private readonly ids: Int32Array;
  /** Of each packet that was taken and not answered: its slots. */
  declare private readonly lengths: Int32Array;
  #idsEnd = 0;
  #idsBegin = 0;
  #lengthsEnd = 0;
  #lengthsBegin = 0;
  #closed = false;
  readonly #idle = new Idle(() => this.pending > 0);

  constructor(
    ring: BackRing<Q, R, Id>,
    format: RingFormat<Q, R, Id>,
    shape: PacketShape<X>,
    abi: Abi,
    options: PumpOptions,
  ) {
    this.ring = ring;
    this.packet = new PacketSlots<View<Q, Id>, X>(
      ring,
      shape,
      codecFor(shape.extra, abi),
      `a packet of ${format.request.name}`,
    );
    const codec = codecFor(format.response, abi, format.id);
    this.draft = new codec.Draft() as unknown as Draft<R, Id> & RecordDraft;
    this.ids = new Int32Array(ring.entries);
    this.lengths = new Int32Array(ring.entries);
    this.#notify = options.notify;
    this.#again = options.again ?? (() => {});
    this.drained = new PacketDrain(ring, this.packet, options, () => this.push());
  }

  get pending(): number {
    return this.#lengthsEnd - this.#lengthsBegin;
  }

  /** Slots that the handler left on the ring when it last had them. */
  get left(): number {
    return this.drained.leftBehind;
  }

  drain(handler: (packets: Packets<Q, R, Id, X>) => void): Packets<Q, R, Id, X> {
    this.drained.handleBy(() => handler(this));
    return this;
  }

  again(): void {
    if (!this.#closed) this.#again();
  }

  look(): Packet<View<Q, Id>, View<X>> | undefined {
    return this.drained.look() === 0 ? undefined : this.packet;
  }

  take(): void {
    const taken = this.drained.take();
    const { ids, lengths } = this;
    const mask = ids.length - 1;
    const packet = this.packet;
    const { slots, extras } = packet;
    let end = this.#idsEnd;
    ids[end & mask] = packet.ids[0] as number;
    end = (end + 1) | 0;
    for (let i = 0; i < extras; i++) {
      ids[end & mask] = -1;
      end = (end + 1) | 0;
    }
    for (let i = 1; i < slots; i++) {
      ids[end & mask] = packet.ids[i] as number;
      end = (end + 1) | 0;
    }
    this.#idsEnd = end;
    lengths[this.#lengthsEnd & mask] = taken;
    this.#lengthsEnd = (this.#lengthsEnd + 1) | 0;
  }

  answer(each: (response: Draft<R, Id>, isExtra: boolean) => void): void {
    if (this.#lengthsBegin === this.#lengthsEnd) throw new RangeError('no packet is taken that could be answered');
    const { ids, lengths, ring, draft } = this;
    const mask = ids.length - 1;
    const slots = lengths[this.#lengthsBegin & mask] as number;
    this.#lengthsBegin = (this.#lengthsBegin + 1) | 0;
    let begin = this.#idsBegin;
    this.#idsBegin = (begin + slots) | 0;
    if (this.#closed) return;
    for (let i = 0; i < slots; i++) {
      const id = ids[begin & mask] as number;
      begin = (begin + 1) | 0;
      each(draft, id < 0);
      ring.answer(draft, Math.max(id, 0));
    }
  }

  /** As {@link PacketDrain.upcall}. */
  upcall(): number {
    return this.drained.upcall();
  }

  push(): void {
    if (!this.#closed && this.ring.push()) this.#notify();
    this.#idle.tell();
  }

  /** Resolves when nothing is pending. */
  idle(): Promise<void> {
    return this.#idle.wait();
  }

  /** Takes no more; answers that come later are dropped, but still counted as {@link pending} until then. */
  close(): void {
    this.#closed = true;
    this.drained.close();
    this.#idle.tell();
  }
}
