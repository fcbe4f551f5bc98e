import type { Slot, Struct } from '../abi/struct.js';
import type { Done, Lost, RequestRing } from './request-ring.js';

/** What a connected frontend sends packets of several slots by (netif tx). */
export interface PacketSender<Q extends Struct, R extends Struct, Id> {
  /** Slots of the ring. */
  readonly entries: number;
  /** Slots that `chain` can take now. */
  readonly free: number;
  /** Slots that were sent and not answered. */
  readonly outstanding: number;
  /**
   * Puts a packet of `slots` slots on the ring, for the backend to see after `push`, or none of it: false when there is no room for all of
   * it, even after the answers there are have been taken, or others wait. `fill` writes each slot whole, in their order; the
   * `extras` slots that follow the first are extras, which have the id -1. What `fill` throws is thrown on, and takes no slot.
   * `done` sees the response of each slot that is no extra; `lost` is called instead when the link ends first.
   * @throws Disconnected, or what ended the link, after its end; RangeError for a packet longer than the ring
   */
  chain(
    slots: number,
    extras: number,
    fill: (slot: Slot<Q, Id>, id: number, i: number) => void,
    done: Done<R, Id>,
    lost?: Lost,
  ): boolean;
  /** Publishes what was put on the ring, and notifies the backend if it asked for that. */
  push(): void;
  /** As {@link RequestRing.space}, for `slots` free slots. @throws RangeError for more than the ring has */
  space(room: () => void, slots?: number): void;
}
