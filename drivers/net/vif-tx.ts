// Long, since what is noted of a packet by number is written, read and answered in one place.
import { Subscription } from 'rxjs';
import {
  type BackGrants,
  type BackLink,
  type Clock,
  type Draft,
  type GrantRef,
  type Packet,
  type Packets,
  type Page,
  PeerFault,
  type View,
} from '../../core/index.js';
import { writeBlankChecksum } from './checksum.js';
import { CopyBatch } from './copy-batch.js';
import { type Checksum, checksum, Frame } from './frame.js';
import { type FrameSource, PART_WORDS } from './frame-source.js';
import { Headers } from './headers.js';
import { MAC_BYTES } from './mac.js';
import type { MulticastFilter } from './multicast-filter.js';
import type { DropReason } from './port-statistics.js';
import { ETHERNET_HEADER, FATAL_SLOTS, MAX_EXTRAS, MAX_SLOTS, PACKET_PAGES, type vif } from './protocol.js';
import { type Rate, RateLimit } from './rate-limit.js';
import {
  extraType,
  type GsoType,
  gsoType,
  type netifExtraInfo,
  netifRsp,
  type netifTxRequest,
  type netifTxResponse,
  txFlag,
} from './wire.js';

/** The frontend's ring of packets to send, at the backend. */
export type TxRing = BackLink<typeof vif>['queues'][number]['tx'];
type TxPackets = Packets<typeof netifTxRequest, typeof netifTxResponse, 'id', typeof netifExtraInfo>;
type TxPacket = Packet<View<typeof netifTxRequest, 'id'>, View<typeof netifExtraInfo>>;

/** What takes the frames of a vif. */
export interface TxSink {
  /** Whether every frame is to be whole, since somebody looks at it. */
  readonly wantsWhole: boolean;
  /** @param flags of the frame's first slot; `slots` are those of its data, `extras` has the bit of each type that it has one of */
  receive(frame: Frame, flags: number, slots: number, extras: number): void;
  flush(): void;
  publish(): void;
  drop(reason: DropReason): void;
}

/** Pages that frames are copied into; behind them is one that copies are tried with. */
const STAGING_PAGES = 64;
/** Where there is no room for the longest packet any more. */
const STAGING_FULL = (STAGING_PAGES - PACKET_PAGES) * 4096;
/** Copies, and packets, that are done together. */
const BATCH_COPIES = 64;
const BATCH_PACKETS = 64;
/** Bytes of a frame that are copied in anyway, for what is looked at to send it on (netback.c `XEN_NETBACK_TX_COPY_LEN`). */
const HEAD = 128;
/** Bytes from which on a frame's rest is not copied in, but from guest to guest: for a smaller one two copies cost more than they spare. */
const FORWARDED = 4096;
/** Packets that are copied in whole after one was fetched: whoever takes them wants them here. */
const WHOLE = 256;

/** Words of what is kept of a packet: where it lies, and how much of it: none when it is dropped; what is known of it; how it is answered. */
const FIELDS = 11;
const [OFFSET, LENGTH, CHECKSUM, GSO_TYPE, GSO_SIZE, STATUS] = [0, 1, 2, 3, 4, 5];
const [FLAGS, SLOTS, EXTRAS, HERE, PART] = [6, 7, 8, 9, 10];

/**
 * Takes a guest's packets off one ring, checks them as netback does, copies them in and sends them on: small ones whole, of others the head,
 * which is all that is looked at; the rest goes from guest to guest, or is fetched where it is needed here.
 */
export class VifTx implements FrameSource, Disposable {
  readonly grants: BackGrants;
  // What is read for each frame is declared, not made here: see FrontRing.
  declare private readonly sink: TxSink;
  readonly #groups: MulticastFilter;
  readonly #clock: Clock;
  readonly #ring: TxRing;
  readonly #subscription: Subscription;
  declare readonly staging: Page;
  declare private readonly frame: Frame;
  declare private readonly headers: Headers;
  declare private readonly copies: CopyBatch;
  readonly #limit = new RateLimit();
  #waiting = false;
  #timer = Subscription.EMPTY;
  /** By packet of the batch, {@link FIELDS}. */
  declare private readonly fields: Int32Array;
  declare readonly parts: Int32Array;
  declare private partsEnd: number;
  declare private packets: number;
  /** Where the next packet goes in the staging pages. */
  declare private at: number;
  /** How many packets more are copied in whole. */
  declare private whole: number;
  /** How the packet that is answered went. */
  declare private status: number;
  /** What the extras of the packet say that is added. */
  declare private gsoType: GsoType;
  declare private gsoSize: number;
  declare private types: number;

  constructor(
    ring: TxRing,
    grants: BackGrants,
    sink: TxSink,
    groups: MulticastFilter,
    clock: Clock,
    subscription: Subscription,
  ) {
    this.grants = grants;
    this.#ring = ring;
    this.sink = sink;
    this.#groups = groups;
    this.#clock = clock;
    this.#subscription = subscription;
    this.staging = grants.alloc(STAGING_PAGES + 1);
    this.frame = new Frame(this.staging);
    this.headers = new Headers();
    this.copies = new CopyBatch(grants.copiesFrom());
    this.fields = new Int32Array(BATCH_PACKETS * FIELDS);
    this.parts = new Int32Array(BATCH_PACKETS * MAX_SLOTS * PART_WORDS);
    this.partsEnd = this.packets = this.at = this.whole = this.gsoSize = this.types = 0;
    this.status = netifRsp.okay;
    this.gsoType = gsoType.none;
    ring.drain((packets) => this.#drain(packets));
  }

  /** What it may send, from now on; what waits for a limit before this one is looked at again at once. */
  limit(rate: Rate | undefined, now: number): void {
    this.#limit.set(rate, now);
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#timer.unsubscribe();
    this.#ring.again();
  }

  [Symbol.dispose](): void {
    this.staging[Symbol.dispose]();
  }

  fetch(frame: Frame): boolean {
    const at = frame.packet * FIELDS;
    const { fields, parts } = this;
    if (fields[at + LENGTH] === 0) return false;
    let to = frame.offset + frame.here;
    const end = frame.offset + frame.length;
    for (let part = frame.part; to < end; part += PART_WORDS) {
      const size = parts[part + 2] as number;
      this.copies.add(parts[part] as GrantRef, parts[part + 1] as number, this.staging, to, size, frame.packet);
      to += size;
    }
    this.copies.run(this.#failed);
    this.whole = WHOLE;
    if (fields[at + LENGTH] === 0) return false;
    frame.here = frame.length;
    frame.source = undefined;
    return true;
  }

  probe(packet: number, ref: number, offset: number, length: number): boolean {
    const at = packet * FIELDS + LENGTH;
    if (this.fields[at] === 0) return false;
    this.copies.add(ref as GrantRef, offset, this.staging, this.probed, length, packet);
    this.copies.run(this.#failed);
    return this.fields[at] !== 0;
  }

  get probed(): number {
    return STAGING_PAGES * 4096;
  }

  #drain(packets: TxPackets): void {
    try {
      for (let packet = packets.look(); packet !== undefined; packet = packets.look()) {
        if (this.#limit.rate !== undefined && !this.#mayPass(packet.slot(0).size)) break;
        packets.take();
        this.#add(packet);
        if (this.copies.count >= BATCH_COPIES || this.packets === BATCH_PACKETS || this.at > STAGING_FULL)
          this.#finish(packets);
      }
      if (this.packets > 0) this.#finish(packets);
    } finally {
      // What was sent on before a packet that ends the vif is others' by now.
      this.sink.publish();
    }
  }

  /** Whether a packet may be sent now; if not, the ring is looked at again when it may. */
  #mayPass(bytes: number): boolean {
    const wait = this.#limit.wait(bytes, this.#clock.now());
    if (wait === 0) {
      this.#limit.spend(bytes);
      return true;
    }
    if (!this.#waiting) {
      this.#waiting = true;
      this.#timer = this.#clock.timer$(wait).subscribe(() => {
        this.#waiting = false;
        this.#ring.again();
      });
      this.#subscription.add(this.#timer);
    }
    return false;
  }

  /** Adds a packet to the batch. @throws PeerFault for one that ends the vif (netback.c `xenvif_fatal_tx_err`) */
  #add(packet: TxPacket): void {
    this.gsoType = gsoType.none;
    this.types = 0;
    if (packet.extras > 0 && this.#extras(packet)) return;
    const length = this.#lengthOf(packet);
    if (length < 0) return;
    const { flags, size, gref, offset } = packet.slot(0);
    let sum: Checksum = checksum.unknown;
    // A large packet's checksums are always made anew.
    if ((flags & txFlag.csumBlank) !== 0 || this.gsoType !== gsoType.none) sum = checksum.blank;
    else if ((flags & txFlag.dataValidated) !== 0) sum = checksum.validated;
    const i = this.packets++;
    const { fields } = this;
    const at = i * FIELDS;
    const begin = this.#place(size);
    fields[at + OFFSET] = begin;
    fields[at + LENGTH] = size;
    fields[at + CHECKSUM] = sum;
    fields[at + GSO_TYPE] = this.gsoType;
    fields[at + GSO_SIZE] = this.gsoSize;
    fields[at + STATUS] = netifRsp.okay;
    fields[at + FLAGS] = flags;
    fields[at + SLOTS] = packet.slots;
    fields[at + EXTRAS] = this.types;
    fields[at + HERE] = size;
    if (size >= FORWARDED && this.#forwards()) this.#addHead(packet, i, begin, length);
    else {
      this.copies.add(gref, offset, this.staging, begin, length, i);
      if (packet.slots > 1) this.#addRest(packet, i, begin + length);
    }
  }

  /** Whether the rest of the next frame is left where it is. */
  #forwards(): boolean {
    if (this.whole > 0) {
      this.whole--;
      return false;
    }
    return !this.sink.wantsWhole;
  }

  #addRest(packet: TxPacket, i: number, begin: number): void {
    let at = begin;
    for (let slot = 1; slot < packet.slots; slot++) {
      const { gref, offset, size } = packet.slot(slot);
      // Nothing is copied of a slot without bytes, and its page need not be there (XSA-448).
      if (size > 0) this.copies.add(gref, offset, this.staging, at, size, i);
      at += size;
    }
  }

  /** Adds the copies of a packet's head, and notes where the rest lies. */
  #addHead(packet: TxPacket, i: number, begin: number, length: number): void {
    const { parts } = this;
    let here = 0;
    let end = this.partsEnd;
    this.fields[i * FIELDS + PART] = end;
    for (let slot = 0; slot < packet.slots; slot++) {
      const { gref, offset, size } = packet.slot(slot);
      const bytes = slot === 0 ? length : size;
      const head = Math.min(bytes, HEAD - here);
      if (head > 0) this.copies.add(gref, offset, this.staging, begin + here, head, i);
      here += head;
      if (bytes === head) continue;
      parts[end] = gref;
      parts[end + 1] = offset + head;
      parts[end + 2] = bytes - head;
      end += PART_WORDS;
    }
    this.partsEnd = end;
    this.fields[i * FIELDS + HERE] = here;
  }

  /** Where a packet of so many bytes is copied to: a small one into one page. */
  #place(bytes: number): number {
    let at = (this.at + 63) & ~63;
    if ((at & 4095) + bytes > 4096) at = (at + 4095) & ~4095;
    this.at = at + bytes;
    return at;
  }

  /** Bytes of a packet's first slot, which names the whole packet's; -1 for a packet that is dropped. @throws PeerFault */
  #lengthOf(packet: TxPacket): number {
    const { slots } = packet;
    const first = packet.slot(0);
    if (slots >= FATAL_SLOTS) throw new PeerFault('the number of slots of a tx packet', slots);
    let dropped: DropReason | undefined = slots > MAX_SLOTS ? 'too-many-slots' : undefined;
    let length = first.size;
    for (let i = 1; i < slots; i++) {
      const { offset, size } = packet.slot(i);
      if (size > length) dropped ??= 'bad-size';
      length -= size;
      if (offset + size > 4096) throw new PeerFault('the end of a tx slot in its page', offset + size);
    }
    if (dropped === undefined && length < ETHERNET_HEADER) dropped = 'too-short';
    if (dropped !== undefined) {
      this.#answerOnly(netifRsp.error);
      this.sink.drop(dropped);
      return -1;
    }
    if (first.offset + length > 4096) throw new PeerFault('the end of a tx slot in its page', first.offset + length);
    return length;
  }

  /** Looks at a packet's extras; whether they are all that there is to it. @throws PeerFault for one that cannot be */
  #extras(packet: TxPacket): boolean {
    let answered = false;
    if (packet.extras > MAX_EXTRAS) throw new PeerFault('the number of extras of a tx packet', packet.extras);
    for (let i = 0; i < packet.extras; i++) {
      const { type, u } = packet.extra(i);
      this.types |= 1 << type;
      switch (type) {
        case extraType.gso:
          if (u.gso.size === 0) throw new PeerFault('the size of a GSO segment', 0);
          if (u.gso.type !== gsoType.tcpv4 && u.gso.type !== gsoType.tcpv6)
            throw new PeerFault('the type of a GSO packet', u.gso.type);
          this.gsoType = u.gso.type;
          this.gsoSize = u.gso.size;
          break;
        case extraType.mcastAdd:
        case extraType.mcastDel:
          if (answered) break;
          answered = true;
          this.#answerOnly(this.#group(type === extraType.mcastAdd, u.mcast.addr) ? netifRsp.okay : netifRsp.error);
          break;
        case extraType.hash:
          break;
        default:
          throw new PeerFault('the type of an extra', type);
      }
    }
    return answered;
  }

  #group(add: boolean, addr: { at(i: number): number }): boolean {
    const mac = Uint8Array.from({ length: MAC_BYTES }, (_, i) => addr.at(i));
    if (add) return this.#groups.add(mac);
    this.#groups.delete(mac);
    return true;
  }

  /** Adds a packet that goes no further. */
  #answerOnly(status: number): void {
    const at = this.packets++ * FIELDS;
    this.fields[at + LENGTH] = 0;
    this.fields[at + STATUS] = status;
  }

  /** Copies the batch, sends its frames on, and answers its packets. */
  #finish(packets: TxPackets): void {
    const count = this.packets;
    this.packets = this.at = this.partsEnd = 0;
    this.copies.run(this.#failed);
    const { frame, fields, sink } = this;
    for (let i = 0, at = 0; i < count; i++, at += FIELDS) {
      const length = fields[at + LENGTH] as number;
      if (length === 0) continue;
      const offset = fields[at + OFFSET] as number;
      const here = fields[at + HERE] as number;
      const sum = fields[at + CHECKSUM] as Checksum;
      frame.page = this.staging;
      frame.set(offset, length, sum, fields[at + GSO_TYPE] as GsoType, fields[at + GSO_SIZE] as number);
      if (here !== length) {
        frame.here = here;
        frame.source = this;
        frame.packet = i;
        frame.part = fields[at + PART] as number;
      }
      const flags = fields[at + FLAGS] as number;
      if (sum !== checksum.blank || this.#summable(frame, flags))
        sink.receive(frame, flags, fields[at + SLOTS] as number, fields[at + EXTRAS] as number);
    }
    sink.flush();
    for (let i = 0; i < count; i++) {
      this.status = fields[i * FIELDS + STATUS] as number;
      packets.answer(this.#answer);
    }
  }

  /**
   * Whether a frame goes on whose checksum is to be finished: it has to be one of TCP or UDP. A large packet that does not say that its is
   * blank holds any other in its place (netback.c `checksum_setup`: `recalculate_partial_csum`).
   */
  #summable(frame: Frame, flags: number): boolean {
    const { headers } = this;
    const { bytes, offset, length } = frame;
    let found = headers.parse(bytes, offset, length, frame.here);
    if (!found && headers.short) {
      // Who cannot be copied from has been told.
      if (!frame.fetch()) return false;
      found = headers.parse(bytes, offset, length);
    }
    if (!found) this.sink.drop('bad-checksum');
    else if ((flags & txFlag.csumBlank) === 0) writeBlankChecksum(bytes, headers);
    return found;
  }

  readonly #failed = (packet: number): void => {
    const at = packet * FIELDS;
    if (this.fields[at + LENGTH] === 0) return;
    this.fields[at + LENGTH] = 0;
    this.fields[at + STATUS] = netifRsp.error;
    this.sink.drop('bad-grant');
  };

  readonly #answer = (response: Draft<typeof netifTxResponse, 'id'>, isExtra: boolean): void => {
    response.status = isExtra ? netifRsp.null : this.status;
  };
}
