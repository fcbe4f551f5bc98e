import { codecFor } from '../abi/codec.js';
import type { FrontRing } from '../abi/front-ring.js';
import type { Abi } from '../abi/layout.js';
import type { PacketShape, RingFormat } from '../abi/ring.js';
import type { Slot, Struct, View } from '../abi/struct.js';
import { PacketDrain } from './packet-drain.js';
import { type Packet, PacketSlots } from './packet-slots.js';
import type { PumpOptions } from './pump-options.js';

/** The packets that came into posted buffers. */
export interface Arrivals<R extends Struct, X extends Struct> {
  /**
   * The next packet, taken off the ring; undefined when there is no whole one. What it shows is valid until the next; its buffers are posted
   * again when the handler has returned.
   */
  next(): Packet<View<R>, View<X>> | undefined;
  /**
   * The buffer of the packet's data slot `i`, by the number that it was posted under: a response fills the buffer of its place on the ring,
   * an extra leaves the one of its place unused.
   */
  buffer(i: number): number;
}

/** What a frontend receives by on a ring of credit: it posts buffers, and takes the packets that came into them. */
export interface PacketPosts<Q extends Struct, R extends Struct, X extends Struct> {
  /** Slots of the ring: as many buffers are posted. */
  readonly entries: number;
  /**
   * Posts a request for each slot that is free, now and whenever slots come back: `fill` writes it; buffer `i` is free whenever it is asked
   * for. @throws TypeError the second time
   */
  keepPosted(fill: (slot: Slot<Q>, i: number) => void): void;
  /** From now on `handler` takes the packets that have come. @throws TypeError the second time */
  drain(handler: (arrivals: Arrivals<R, X>) => void): void;
}

/** A frontend's end of a ring of credit. Nothing is allocated for a packet. */
export class Posted<Q extends Struct, R extends Struct, X extends Struct>
  implements PacketPosts<Q, R, X>, Arrivals<R, X>
{
  declare readonly entries: number;
  declare private readonly ring: FrontRing<Q, R>;
  declare private readonly packet: PacketSlots<View<R>, X>;
  declare private readonly drained: PacketDrain<View<R>, X>;
  readonly #notify: () => void;
  #fill: ((slot: Slot<Q>, i: number) => void) | undefined;
  /** The place of the packet's first slot. */
  #first = 0;
  #closed = false;

  constructor(
    ring: FrontRing<Q, R>,
    format: RingFormat<Q, R, never>,
    shape: PacketShape<X>,
    abi: Abi,
    options: PumpOptions,
  ) {
    this.ring = ring;
    this.entries = ring.entries;
    this.packet = new PacketSlots<View<R>, X>(
      ring,
      shape,
      codecFor(shape.extra, abi),
      `a packet of ${format.response.name}`,
    );
    this.#notify = options.notify;
    this.drained = new PacketDrain(ring, this.packet, options, () => this.#post());
  }

  keepPosted(fill: (slot: Slot<Q>, i: number) => void): void {
    if (this.#fill !== undefined) throw new TypeError('this ring is kept posted already');
    this.#fill = fill;
    this.#post();
  }

  drain(handler: (arrivals: Arrivals<R, X>) => void): void {
    this.drained.handleBy(() => handler(this));
  }

  next(): Packet<View<R>, View<X>> | undefined {
    if (this.drained.look() === 0) return undefined;
    this.#first = this.ring.nextResponse;
    this.drained.take();
    return this.packet;
  }

  buffer(i: number): number {
    const place = i === 0 ? 0 : this.packet.extras + i;
    return (this.#first + place) & (this.entries - 1);
  }

  /** As {@link PacketDrain.upcall}. */
  upcall(): number {
    return this.drained.upcall();
  }

  /** Nothing is posted or handed out any more. */
  close(): void {
    this.#closed = true;
    this.drained.close();
  }

  #post(): void {
    const fill = this.#fill;
    if (fill === undefined || this.#closed) return;
    const { ring } = this;
    for (let free = ring.free; free > 0; free--) {
      const i = ring.nextRequest;
      fill(ring.slot(i) as Slot<Q>, i);
      ring.put();
    }
    if (ring.push()) this.#notify();
  }
}
