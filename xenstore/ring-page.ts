import type { Observable } from 'rxjs';
import { type ByteRing, ByteRingConsumer, ByteRingProducer } from '../core/abi/byte-ring.js';
import type { GrantRef } from '../core/abi/units.js';
import type { EventChannel } from '../core/domain/event-channels.js';
import type { Page } from '../core/domain/grant-table.js';
import { Disconnected } from '../core/errors.js';
import type { StoreTransport } from './transport.js';

/** The reference under which every guest grants its ring page (grant_table.h `GNTTAB_RESERVED_XENSTORE`). */
export const GNTTAB_RESERVED_XENSTORE = 1 as GrantRef;

/** `struct xenstore_domain_interface`: two rings of 1024 bytes, and words at these offsets (io/xs_wire.h). */
export const ringPage = {
  req: { name: 'req', data: 0, size: 1024, cons: 2048, prod: 2052 },
  rsp: { name: 'rsp', data: 1024, size: 1024, cons: 2056, prod: 2060 },
  serverFeatures: 2064,
  connection: 2068,
  error: 2072,
  evtchnPort: 2076,
} as const satisfies Readonly<Record<string, number | ByteRing>>;

/** The bits of `server_features` (io/xs_wire.h `XENSTORE_SERVER_FEATURE_*`). */
export const serverFeature = { reconnection: 1, error: 2, watchDepth: 4, domidAny: 8 } as const;

/** The values of `connection` (io/xs_wire.h). */
export const connectionState = { connected: 0, reconnect: 1 } as const;

/** The values of `error` (io/xs_wire.h `XENSTORE_ERROR_*`). */
export const ringError = { none: 0, communication: 1, ringIndex: 2, protocol: 3 } as const;

/** One end of a domain's ring page and event channel. */
abstract class RingEnd implements StoreTransport {
  readonly ready$: Observable<void>;
  protected readonly incoming: ByteRingConsumer;
  protected readonly outgoing: ByteRingProducer;
  readonly #page: Page;
  readonly #channel: EventChannel;

  constructor(page: Page, channel: EventChannel, incoming: ByteRing, outgoing: ByteRing) {
    this.#page = page;
    this.#channel = channel;
    this.ready$ = channel;
    this.incoming = new ByteRingConsumer(page.words, page.bytes, incoming);
    this.outgoing = new ByteRingProducer(page.words, page.bytes, outgoing);
  }

  /** Whether the guest has asked for a reconnect, and the store has not answered. */
  get reconnecting(): boolean {
    return this.get(ringPage.connection) === connectionState.reconnect;
  }

  /** Reads and then notifies: this ring has no event index, so each move of one is told (xenstored `readchn`). */
  read(into: Uint8Array, offset: number, length: number): number {
    const count = this.incoming.read(into, offset, length);
    if (count > 0) this.notify();
    return count;
  }

  /** Writes and then notifies, as {@link read} (xenstored `writechn`). */
  write(from: Uint8Array, offset: number, length: number): number {
    const count = this.outgoing.write(from, offset, length);
    if (count > 0) this.notify();
    return count;
  }

  /** Closes the channel and lets go of the page. */
  [Symbol.dispose](): void {
    this.#channel[Symbol.dispose]();
    this.#page[Symbol.dispose]();
  }

  protected notify(): void {
    this.#channel.notify();
  }

  protected get(offset: number): number {
    return Atomics.load(this.#page.words, offset >>> 2) >>> 0;
  }

  protected set(offset: number, value: number): void {
    Atomics.store(this.#page.words, offset >>> 2, value);
  }
}

/** How far from `seen` an index has come, if that is on its way to `end`; any other value of it says nothing, and counts as no step. */
const steps = (seen: number, index: number, end: number): number => {
  const count = (index - seen) >>> 0;
  return count <= (end - seen) >>> 0 ? count : 0;
};

/** The store's end of a guest's ring page. */
export class StoreRing extends RingEnd {
  /** The event channel, whose upcalls are {@link ready$}. */
  readonly channel: EventChannel;
  /** Bytes that were read and written since the indices were 0, and how far the guest had come when it was last looked at. */
  #read = 0;
  #written = 0;
  #sentSeen = 0;
  #takenSeen = 0;

  constructor(page: Page, channel: EventChannel) {
    super(page, channel, ringPage.req, ringPage.rsp);
    this.channel = channel;
  }

  override read(into: Uint8Array, offset: number, length: number): number {
    const count = super.read(into, offset, length);
    this.#read = (this.#read + count) >>> 0;
    return count;
  }

  override write(from: Uint8Array, offset: number, length: number): number {
    const count = super.write(from, offset, length);
    this.#written = (this.#written + count) >>> 0;
    return count;
  }

  /**
   * Whether the guest has sent or taken bytes, or asked for a reconnect, since the last call: if not, its event was spurious. Each byte
   * counts once, whatever the guest does to its indices.
   */
  hasNews(): boolean {
    const sent = steps(this.#sentSeen, this.get(ringPage.req.prod), this.#read + ringPage.req.size);
    const taken = steps(this.#takenSeen, this.get(ringPage.rsp.cons), this.#written);
    this.#sentSeen = (this.#sentSeen + sent) >>> 0;
    this.#takenSeen = (this.#takenSeen + taken) >>> 0;
    return sent > 0 || taken > 0 || this.reconnecting;
  }

  /** Sets both rings empty at index 0 and connected, and says what is served (xenstored `domain_conn_reset`). */
  reset(features: number): void {
    for (const { cons, prod } of [ringPage.req, ringPage.rsp]) {
      this.set(cons, 0);
      this.set(prod, 0);
    }
    this.incoming.resync();
    this.outgoing.resync();
    this.#read = this.#written = this.#sentSeen = this.#takenSeen = 0;
    this.set(ringPage.serverFeatures, features);
    this.set(ringPage.error, ringError.none);
    const waiting = this.reconnecting;
    this.set(ringPage.connection, connectionState.connected);
    if (waiting) this.notify();
  }

  /** Says why the guest is no longer served, one of {@link ringError}. */
  fail(error: number): void {
    this.set(ringPage.error, error);
    this.notify();
  }
}

/** A guest's end of its ring page. While the page says `reconnect`, nothing moves: the store is not there yet. */
export class GuestRing extends RingEnd {
  #waiting: boolean;

  constructor(page: Page, channel: EventChannel) {
    super(page, channel, ringPage.rsp, ringPage.req);
    this.#waiting = this.reconnecting;
  }

  override read(into: Uint8Array, offset: number, length: number): number {
    const error = this.get(ringPage.error);
    if (error !== ringError.none) {
      const [why] = Object.entries(ringError).find(([, value]) => value === error) ?? [`error ${error}`];
      throw new Disconnected(`the store no longer serves this domain: ${why}`);
    }
    return this.#connected() ? super.read(into, offset, length) : 0;
  }

  override write(from: Uint8Array, offset: number, length: number): number {
    return this.#connected() ? super.write(from, offset, length) : 0;
  }

  /** The store resets the indices before it says that it is connected, so they are taken anew. */
  #connected(): boolean {
    if (this.#waiting && !this.reconnecting) {
      this.#waiting = false;
      this.incoming.resync();
      this.outgoing.resync();
    }
    return !this.#waiting;
  }
}
