import type { FrontRing } from '../abi/front-ring.js';
import type { Draft, Slot, Struct, View } from '../abi/struct.js';
import { Disconnected, PeerFault } from '../errors.js';

/** Writes a request whole into its slot: by `set`, and by the elements of its arrays. `id` numbers it among those outstanding. */
export type Fill<Q extends Struct, Id> = (slot: Slot<Q, Id>, id: number) => void;
/** Looks at the response of request `id`; the view is valid during the call. */
export type Done<R extends Struct, Id> = (response: View<R, Id>, id: number) => void;
/** Hears that request `id` will never be answered. */
export type Lost = (error: Error, id: number) => void;

/** What a frontend's requests are sent with. */
export interface RequestsOptions {
  /** Raises the event at the backend. */
  readonly notify: () => void;
  /** Hears what a `done` or `lost` callback threw; the other requests are not disturbed. */
  readonly onError: (error: unknown) => void;
}

interface Waiting {
  readonly start: () => void;
  readonly lost: (error: Error) => void;
}

/**
 * A frontend's requests on one ring: each gets an id and a slot, and its response is handed to whoever sent it. Nothing is allocated
 * for `submit`; `request` makes a promise.
 */
export class Requests<Q extends Struct, R extends Struct, Id extends string = never> {
  readonly #ring: FrontRing<Q, R, Id>;
  readonly #notify: () => void;
  readonly #onError: (error: unknown) => void;
  readonly #done: (Done<R, Id> | undefined)[];
  readonly #lost: (Lost | undefined)[];
  readonly #free: Int32Array;
  #frees: number;
  readonly #queue: Waiting[] = [];
  readonly #space: (() => void)[] = [];
  #closed: Error | undefined;

  constructor(ring: FrontRing<Q, R, Id>, options: RequestsOptions) {
    this.#ring = ring;
    this.#notify = options.notify;
    this.#onError = options.onError;
    this.#done = new Array(ring.entries).fill(undefined);
    this.#lost = new Array(ring.entries).fill(undefined);
    this.#frees = ring.entries;
    this.#free = Int32Array.from({ length: ring.entries }, (_, i) => ring.entries - 1 - i);
  }

  /** Requests that were sent and not answered. */
  get outstanding(): number {
    throw new Error('not yet');
  }

  /** Slots of the ring. */
  get entries(): number {
    return this.#ring.entries;
  }

  /** Slots that `submit` can take now. */
  get free(): number {
    throw new Error('not yet');
  }

  /**
   * Puts one request on the ring, for the backend to see after {@link push}; false when the ring is full. What `fill` throws is thrown
   * on, and takes no slot. `lost` is called instead of `done` when the link ends first.
   * @throws Disconnected after {@link close}
   */
  submit(_fill: Fill<Q, Id>, _done: Done<R, Id>, _lost?: Lost): boolean {
    throw new Error('not yet');
  }

  /** Publishes what was submitted, and notifies the backend if it asked for that. */
  push(): void {
    throw new Error('not yet');
  }

  /**
   * Sends one request, as soon as all that asked earlier have a slot, and resolves to what `done` makes of its response. `fill` may
   * write member by member: the request is drafted privately.
   * @throws Disconnected when the link ends first
   */
  request<T>(_fill: (request: Draft<Q, Id>) => void, _done: (response: View<R, Id>) => T): Promise<T> {
    throw new Error('not yet');
  }

  /**
   * Calls `room` once, when the ring has a free slot and all that asked earlier were called; at once if that is so now.
   * It is for senders of more than the ring holds: `submit` until it says false, ask for `space`, go on.
   */
  space(_room: () => void): void {
    throw new Error('not yet');
  }

  /**
   * Takes all responses there are, and calls the `done` of each. To be called at every upcall; says how many there were (none: the
   * event was spurious).
   * @throws PeerFault for an index, or an id, that cannot be
   */
  upcall(): number {
    throw new Error('not yet');
  }

  /** Tells everyone who waits that `error` happened; after it nothing can be sent. A second time does nothing. */
  close(_error: Error = new Disconnected('the link was closed')): void {
    void [
      PeerFault,
      this.#notify,
      this.#onError,
      this.#done,
      this.#lost,
      this.#free,
      this.#frees,
      this.#queue,
      this.#space,
      this.#closed,
    ];
  }
}
