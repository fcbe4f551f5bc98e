import type { Draft, Slot, Struct, View } from '../abi/struct.js';

/** Writes a request whole into its slot: by `set`, and by the elements of its arrays. `id` numbers it among those outstanding. */
export type Fill<Q extends Struct, Id> = (slot: Slot<Q, Id>, id: number) => void;
/** Looks at the response of request `id`; the view is valid during the call. */
export type Done<R extends Struct, Id> = (response: View<R, Id>, id: number) => void;
/** Hears that request `id` will never be answered. */
export type Lost = (error: Error, id: number) => void;

/** What a connected frontend sends its requests by; a link calls it `ring`. */
export interface RequestRing<Q extends Struct, R extends Struct, Id> {
  /** Slots of the ring. */
  readonly entries: number;
  /** Slots that `submit` can take now. */
  readonly free: number;
  /** Requests that were sent and not answered. */
  readonly outstanding: number;
  /**
   * Puts one request on the ring, for the backend to see after `push`; false when the ring is full or others wait for it. What `fill`
   * throws is thrown on, and takes no slot. `lost` is called instead of `done` when the link ends first.
   * @throws Disconnected, or what ended the link, after its end
   */
  submit(fill: Fill<Q, Id>, done: Done<R, Id>, lost?: Lost): boolean;
  /** Publishes what was submitted, and notifies the backend if it asked for that. */
  push(): void;
  /**
   * Sends one request, as soon as all that asked earlier have a slot, and resolves to what `done` makes of its response. `fill` may
   * write member by member: the request is drafted privately. What either throws rejects the promise; a PeerFault that `done` throws
   * ends the link too.
   * @throws Disconnected, or what ended the link, when that comes before the response
   */
  request<T>(fill: (request: Draft<Q, Id>) => void, done: (response: View<R, Id>) => T): Promise<T>;
  /**
   * Calls `room` once, as soon as there is a free slot and all that asked earlier had their turn; now, if that is so now. It is for
   * senders of more than the ring holds: submit until it says false, ask for space, go on. After the link's end, and when that comes
   * first, `room` is never called.
   */
  space(room: () => void): void;
}
