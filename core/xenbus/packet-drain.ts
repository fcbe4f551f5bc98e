import type { Struct } from '../abi/struct.js';
import { PeerFault } from '../errors.js';
import type { PacketSlots, PacketSource } from './packet-slots.js';
import { MOST, neverHold, type PumpOptions } from './pump-options.js';

/** The end of a ring that packets are taken from. */
export interface PacketEnd<S> extends PacketSource<S> {
  unconsumed(): number;
  advance(count: number): void;
  finalCheck(left: number): boolean;
}

/** Offers the packets on a ring to one handler, which takes as many as it wants. */
export class PacketDrain<S, X extends Struct> {
  declare private readonly ring: PacketEnd<S>;
  declare private readonly packet: PacketSlots<S, X>;
  readonly #again: (() => void) | undefined;
  readonly #onError: (error: unknown) => void;
  readonly #settle: () => void;
  readonly #hold: () => void;
  readonly #release: () => void;
  #handler: (() => void) | undefined;
  /** Slots of the batch that were not taken, and of the packet that was looked at. */
  declare private left: number;
  declare private looked: number;
  #leftBehind = 0;
  #closed = false;

  /** @param settle publishes what follows from what the handler did, each time that it was offered some */
  constructor(ring: PacketEnd<S>, packet: PacketSlots<S, X>, options: PumpOptions, settle: () => void) {
    this.ring = ring;
    this.packet = packet;
    this.#again = options.again;
    this.#hold = options.hold ?? neverHold;
    this.#release = options.release ?? neverHold;
    this.#onError = options.onError;
    this.left = this.looked = 0;
    this.#settle = settle;
  }

  /** Slots that the handler left on the ring when it last had them. */
  get leftBehind(): number {
    return this.#leftBehind;
  }

  /** From now on `handler` looks and takes. @throws TypeError the second time */
  handleBy(handler: () => void): void {
    if (this.#handler !== undefined) throw new TypeError('a ring has one handler, and this one is drained already');
    this.#handler = handler;
  }

  /** Looks at the next packet, which stays on the ring; how many slots it takes, 0 when there is no whole one. */
  look(): number {
    const looked = this.packet.look(this.left);
    this.looked = looked;
    return looked;
  }

  /** Takes the packet that was looked at last; how many slots it had. @throws RangeError when there is none */
  take(): number {
    const taken = this.looked;
    if (taken === 0) throw new RangeError('no packet was looked at that could be taken');
    this.looked = 0;
    this.left -= taken;
    this.ring.advance(taken);
    return taken;
  }

  /**
   * Offers the packets there are. To be called at every upcall; says how many slots were taken: none, and the event was spurious, or only
   * said that what the handler left, or the beginning of a packet, is still there.
   * @throws PeerFault for an index that cannot be, a packet longer than the ring, or from the handler
   */
  upcall(): number {
    const { ring } = this;
    let total = 0;
    let vain = 0;
    let left = 0;
    while (!this.#closed && this.#handler !== undefined) {
      if (total + vain >= MOST && this.#again !== undefined) {
        this.#again();
        break;
      }
      const count = ring.unconsumed();
      if (count === left && total + vain > 0) {
        vain++;
        if (!ring.finalCheck(left)) break;
        continue;
      }
      if (count === 0) {
        vain++;
        continue;
      }
      // What a handler sends is told of together with what follows: whoever is woken for one finds the other.
      this.#hold();
      try {
        left = this.#offer(count, this.#handler);
        this.#settle();
      } finally {
        this.#release();
      }
      if (left === count) vain++;
      total += count - left;
    }
    this.#leftBehind = left;
    return total;
  }

  /** Offers no more. */
  close(): void {
    this.#closed = true;
    this.left = this.looked = 0;
  }

  #offer(count: number, handler: () => void): number {
    this.left = count;
    try {
      handler();
    } catch (error) {
      if (error instanceof PeerFault) throw error;
      this.#onError(error);
    }
    const left = this.left;
    this.left = this.looked = 0;
    return left;
  }
}
