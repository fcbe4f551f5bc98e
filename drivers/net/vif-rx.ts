import { Subscription } from 'rxjs';
import type { BackGrants, BackLink, Clock, GrantRef, Page, View } from '../../core/index.js';
import { CopyBatch } from './copy-batch.js';
import { ForwardBatch } from './forward-batch.js';
import { checksum, Frame } from './frame.js';
import { PART_WORDS } from './frame-source.js';
import type { PortStatistics } from './port-statistics.js';
import type { vif } from './protocol.js';
import { RxBacklog } from './rx-backlog.js';
import { extraType, gsoType, netifRsp, type netifRxRequest, rxFlag } from './wire.js';

/** The frontend's ring of buffers to receive into, at the backend. */
export type RxRing = BackLink<typeof vif>['queues'][number]['rx'];

/** How long a frame waits for buffers, in ms (netback: `rx_drain_timeout_msecs`). */
export const RX_DRAIN_TIMEOUT = 10_000;
/** How long a frontend may leave its vif without enough buffers, in ms (netback: `rx_stall_timeout_msecs`). */
export const RX_STALL_TIMEOUT = 60_000;
/** How often the ring of a frontend is looked at that does not tell of new buffers, in ms (netback, without `feature-rx-notify`). */
export const RX_POLL = 30;

/** Copies that are done together. */
const BATCH_COPIES = 64;
const PAGE = 4096;
/** What is imported is looked up at each use; a constant of this file is part of the code. */
const NO_GSO = gsoType.none;
const GSO = extraType.gso;
const MORE_DATA = rxFlag.moreData;

/** How a vif's receiving side behaves. */
export interface VifRxOptions {
  /** Whether the frontend tells of new buffers (`feature-rx-notify`). */
  readonly notified: boolean;
  /** Counts the frames that go into buffers, and those that are dropped. */
  readonly statistics: Pick<PortStatistics, 'sent' | 'sentBytes' | 'drop'>;
  /** Hears that the frontend has stopped to post buffers, or posts again. */
  readonly onStalled: (stalled: boolean) => void;
}

/**
 * Puts frames into the buffers that a guest has posted on one ring, in their order. What has to wait is bounded, and waits no longer than
 * {@link RX_DRAIN_TIMEOUT}; a frontend that posts nothing for {@link RX_STALL_TIMEOUT} while frames wait is stalled until it does.
 */
export class VifRx implements Disposable {
  // What is read for each frame is declared, not made here: see FrontRing.
  declare private readonly ring: RxRing;
  readonly #clock: Clock;
  readonly #options: VifRxOptions;
  declare private readonly statistics: VifRxOptions['statistics'];
  declare private readonly backlog: RxBacklog;
  readonly #waiting: Frame;
  /** What is copied from own memory, and what from senders' pages. */
  declare private readonly copies: CopyBatch;
  declare private readonly forwards: ForwardBatch;
  /** By slot held and not answered: its request's id, flags, and status; -1 is the id of an extra, whose size is its status. */
  declare private readonly ids: Int32Array;
  declare private readonly flags: Int32Array;
  declare private readonly statuses: Int32Array;
  declare private slots: number;
  /** The frame that is put into slots, and how far it is; of its source's parts, the one that comes next, and how far that is. */
  declare private frame: Frame;
  declare private done: number;
  declare private part: number;
  declare private partDone: number;
  #timer = Subscription.EMPTY;
  /** Since when frames wait and none has gone; undefined when none waits. */
  declare private hungrySince: number | undefined;
  declare private isStalled: boolean;
  declare private closed: boolean;
  /** Slots that the frame needs which waits. */
  #needed = 1;

  constructor(ring: RxRing, grants: BackGrants, page: Page, clock: Clock, options: VifRxOptions) {
    this.ring = ring;
    this.#clock = clock;
    this.#options = options;
    this.statistics = options.statistics;
    this.backlog = new RxBacklog(grants);
    this.#waiting = new Frame(page);
    this.copies = new CopyBatch(grants.copiesTo());
    this.forwards = new ForwardBatch(grants);
    this.ids = new Int32Array(ring.entries);
    this.flags = new Int32Array(ring.entries);
    this.statuses = new Int32Array(ring.entries);
    this.slots = this.done = this.part = this.partDone = 0;
    this.frame = this.#waiting;
    this.hungrySince = undefined;
    this.isStalled = this.closed = false;
    ring.onPosted(() => this.#posted());
  }

  /** Whether the frontend has stopped to take frames. */
  get stalled(): boolean {
    return this.isStalled;
  }

  /** Frames that wait. */
  get waiting(): number {
    return this.backlog.count;
  }

  /** Takes a frame, or drops it. */
  deliver(frame: Frame): void {
    if (this.closed) return;
    if (this.isStalled) {
      this.statistics.drop('carrier-off');
      return;
    }
    if (this.backlog.count === 0 && this.#send(frame)) return;
    this.#wait(frame);
  }

  /** Fills the slots that were taken. */
  flush(): void {
    if (this.slots > 0 && !this.closed) this.#answer();
  }

  /** Publishes the slots that were filled. */
  publish(): void {
    if (!this.closed) this.ring.push();
  }

  [Symbol.dispose](): void {
    this.closed = true;
    this.#timer.unsubscribe();
    this.copies.clear();
    this.forwards.clear();
    this.slots = 0;
    this.backlog[Symbol.dispose]();
  }

  #send(frame: Frame): boolean {
    const slots = slotsOf(frame);
    if (this.slots + slots > this.ids.length) this.#answer();
    const { source } = frame;
    if (source !== undefined && !this.forwards.isFor(source)) this.#answer();
    this.frame = frame;
    this.done = 0;
    this.part = frame.part;
    this.partDone = 0;
    if (!this.ring.hold(slots, this.#fill)) {
      this.#needed = slots;
      return false;
    }
    this.hungrySince = undefined;
    const { statistics } = this;
    statistics.sent++;
    statistics.sentBytes += frame.length;
    if (this.copies.count + this.forwards.count >= BATCH_COPIES) this.#answer();
    return true;
  }

  /** Puts the next part of the frame into a slot. */
  readonly #fill = (request: View<typeof netifRxRequest>, i: number): void => {
    const frame = this.frame;
    const slot = this.slots++;
    if (i === 1 && frame.gsoType !== NO_GSO) {
      this.ids[slot] = -1;
      this.flags[slot] = frame.gsoType;
      this.statuses[slot] = frame.gsoSize;
      return;
    }
    const { done } = this;
    const { length } = frame;
    const size = Math.min(length - done, PAGE);
    const own = Math.min(frame.here - done, size);
    if (own > 0) this.copies.add(request.gref, 0, frame.page, frame.offset + done, own, slot);
    if (own < size) this.#forward(frame, request.gref, Math.max(own, 0), size, slot);
    this.done = done + size;
    const flags = i === 0 ? rxFlagsOf(frame) : done + size < length ? MORE_DATA : 0;
    this.ids[slot] = request.id;
    this.flags[slot] = flags;
    this.statuses[slot] = size;
  };

  /** Adds the copies of what comes from the sender's pages: bytes `from` to `to` of a slot. */
  #forward(frame: Frame, ref: GrantRef, from: number, to: number, slot: number): void {
    const { source, packet } = frame;
    if (source === undefined) return;
    const { parts } = source;
    let { part, partDone } = this;
    for (let at = from; at < to; ) {
      const left = (parts[part + 2] as number) - partDone;
      const size = Math.min(left, to - at);
      const offset = (parts[part + 1] as number) + partDone;
      this.forwards.add(source, packet, parts[part] as number, offset, ref, at, size, slot);
      at += size;
      if (size < left) partDone += size;
      else {
        part += PART_WORDS;
        partDone = 0;
      }
    }
    this.part = part;
    this.partDone = partDone;
  }

  /** Copies into the slots that were taken, and answers them. */
  #answer(): void {
    this.copies.run(this.#failed);
    if (this.forwards.count > 0) this.forwards.run(this.#notForwarded);
    const { ring, slots, ids, flags, statuses } = this;
    this.slots = 0;
    for (let slot = 0; slot < slots; slot++) {
      const id = ids[slot] as number;
      const response = ring.respond();
      // An extra lies over the response: its type and flags, the segments' size and type.
      if (id < 0) response.set({ id: GSO, offset: statuses[slot] as number, flags: flags[slot] as number, status: 0 });
      else response.set({ id, offset: 0, flags: flags[slot] as number, status: statuses[slot] as number });
    }
  }

  readonly #failed = (slot: number): void => {
    if ((this.statuses[slot] as number) > 0) this.statistics.drop('bad-grant');
    this.statuses[slot] = netifRsp.error;
  };

  /** A slot that is not filled for its sender's sake is refused too, but no fault of this side. */
  readonly #notForwarded = (slot: number, isReceiver: boolean): void => {
    if (isReceiver) this.#failed(slot);
    else this.statuses[slot] = netifRsp.error;
  };

  #wait(frame: Frame): void {
    if (!frame.fetch()) return;
    const now = this.#clock.now();
    const { notified } = this.#options;
    const first = this.backlog.count === 0;
    if (!this.backlog.push(frame, now + (notified ? RX_DRAIN_TIMEOUT : RX_POLL))) {
      this.statistics.drop('no-room');
      return;
    }
    this.hungrySince ??= now;
    if (first) this.#arm();
  }

  /** Looks again when the oldest frame is too old, or the frontend has stalled. */
  #arm(): void {
    const now = this.#clock.now();
    const { notified } = this.#options;
    const stalls = notified ? (this.hungrySince ?? now) + RX_STALL_TIMEOUT : Number.POSITIVE_INFINITY;
    this.#timer.unsubscribe();
    this.#timer = this.#clock.timer$(Math.max(Math.min(this.backlog.expires, stalls) - now, 0)).subscribe(() => {
      if (!notified) this.#posted();
      this.#expire();
    });
  }

  /** There are buffers: what waits goes into them. */
  #posted(): void {
    if (this.closed) return;
    if (this.isStalled) {
      if (!this.ring.has(this.#needed)) return;
      this.isStalled = false;
      this.hungrySince = undefined;
      this.#options.onStalled(false);
    }
    const frame = this.#waiting;
    while (this.backlog.count > 0) {
      this.backlog.front(frame);
      if (!this.#send(frame)) break;
      this.backlog.shift();
    }
    this.flush();
    this.publish();
    if (this.backlog.count > 0) return;
    this.#timer.unsubscribe();
    if (this.ring.has(this.#needed)) this.hungrySince = undefined;
  }

  #expire(): void {
    if (this.closed) return;
    const now = this.#clock.now();
    while (this.backlog.count > 0 && this.backlog.expires <= now) {
      this.backlog.shift();
      this.statistics.drop('expired');
    }
    if (this.#options.notified && this.hungrySince !== undefined && now - this.hungrySince >= RX_STALL_TIMEOUT) {
      this.#stall();
      return;
    }
    if (this.backlog.count > 0) this.#arm();
  }

  #stall(): void {
    this.isStalled = true;
    for (let left = this.backlog.count; left > 0; left--) this.statistics.drop('carrier-off');
    this.backlog.clear();
    this.#timer.unsubscribe();
    this.#options.onStalled(true);
  }
}

/** Slots that a frame needs: one for each page of it, and one for what it is to be segmented as. */
const slotsOf = ({ length, gsoType: type }: Frame): number =>
  Math.max(1, Math.ceil(length / PAGE)) + (type === gsoType.none ? 0 : 1);

/** The flags of the first slot of a frame that a guest is sent. */
export const rxFlagsOf = ({ length, checksum: sum, gsoType: type }: Frame): number =>
  (length > PAGE ? rxFlag.moreData : 0) |
  (sum === checksum.blank ? rxFlag.csumBlank | rxFlag.dataValidated : 0) |
  (sum === checksum.validated ? rxFlag.dataValidated : 0) |
  (type === gsoType.none ? 0 : rxFlag.extraInfo);
