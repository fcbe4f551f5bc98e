import type { Subscription } from 'rxjs';
import {
  type BackGrants,
  type BackLink,
  type Clock,
  type Draft,
  type Packet,
  type Packets,
  type Page,
  PeerFault,
  type View,
} from '../../core/index.js';
import { writeBlankChecksum } from './checksum.js';
import { CopyBatch } from './copy-batch.js';
import { type Checksum, checksum, Frame } from './frame.js';
import { Headers } from './headers.js';
import { MAC_BYTES } from './mac.js';
import type { MulticastFilter } from './multicast-filter.js';
import type { DropReason } from './port-statistics.js';
import { ETHERNET_HEADER, FATAL_SLOTS, MAX_EXTRAS, MAX_SLOTS, type vif } from './protocol.js';
import { RateLimit } from './rate-limit.js';
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
  /** @param flags of the frame's first slot; `slots` are those of its data */
  receive(frame: Frame, flags: number, slots: number): void;
  flush(): void;
  publish(): void;
  drop(reason: DropReason): void;
}

/** Pages that frames are copied into. */
const STAGING_PAGES = 64;
/** Copies, and packets, that are done together. */
const BATCH_COPIES = 32;
const BATCH_PACKETS = 64;

/** Takes a guest's packets off one ring, checks them as netback does, copies them in and sends them on. */
export class VifTx implements Disposable {
  readonly #sink: TxSink;
  readonly #groups: MulticastFilter;
  readonly #clock: Clock;
  readonly #ring: TxRing;
  readonly #subscription: Subscription;
  readonly #staging: Page;
  readonly #frame: Frame;
  readonly #headers = new Headers();
  readonly #copies = new CopyBatch();
  readonly #copy: (segments: Parameters<BackGrants['copyAllFrom']>[0]) => void;
  readonly #limit = new RateLimit();
  #waiting = false;
  /** By packet of the batch: where it lies, none of it when it is dropped; what is known of it; and how it is answered. */
  readonly #offsets = new Int32Array(BATCH_PACKETS);
  readonly #lengths = new Int32Array(BATCH_PACKETS);
  readonly #checksums = new Int32Array(BATCH_PACKETS);
  readonly #gsoTypes = new Int32Array(BATCH_PACKETS);
  readonly #gsoSizes = new Int32Array(BATCH_PACKETS);
  readonly #statuses = new Int32Array(BATCH_PACKETS);
  readonly #flags = new Int32Array(BATCH_PACKETS);
  readonly #slots = new Int32Array(BATCH_PACKETS);
  #packets = 0;
  /** Where the next packet goes in the staging pages. */
  #at = 0;
  /** How the packet that is answered went. */
  #status: number = netifRsp.okay;
  /** What the extras of the packet say that is added. */
  #gsoType: GsoType = gsoType.none;
  #gsoSize = 0;

  constructor(
    ring: TxRing,
    grants: BackGrants,
    sink: TxSink,
    groups: MulticastFilter,
    clock: Clock,
    subscription: Subscription,
  ) {
    this.#ring = ring;
    this.#sink = sink;
    this.#groups = groups;
    this.#clock = clock;
    this.#subscription = subscription;
    this.#staging = grants.alloc(STAGING_PAGES);
    this.#frame = new Frame(this.#staging);
    this.#copy = (segments) => grants.copyAllFrom(segments);
    ring.drain((packets) => this.#drain(packets));
  }

  /** The private pages that its frames lie in. */
  get staging(): Page {
    return this.#staging;
  }

  /** What it may send, from now on. */
  get limit(): RateLimit {
    return this.#limit;
  }

  [Symbol.dispose](): void {
    this.#staging[Symbol.dispose]();
  }

  #drain(packets: TxPackets): void {
    for (let packet = packets.look(); packet !== undefined; packet = packets.look()) {
      if (this.#limit.rate !== undefined && !this.#mayPass(packet.slot(0).size)) break;
      packets.take();
      this.#add(packet);
      if (this.#copies.count >= BATCH_COPIES || this.#packets === BATCH_PACKETS) this.#finish(packets);
    }
    if (this.#packets > 0) this.#finish(packets);
    this.#sink.publish();
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
      const timer = this.#clock.timer$(wait).subscribe(() => {
        this.#subscription.remove(timer);
        this.#waiting = false;
        this.#ring.again();
      });
      this.#subscription.add(timer);
    }
    return false;
  }

  /** Adds a packet to the batch. @throws PeerFault for one that ends the vif (netback.c `xenvif_fatal_tx_err`) */
  #add(packet: TxPacket): void {
    this.#gsoType = gsoType.none;
    if (packet.extras > 0 && this.#extras(packet)) return;
    const length = this.#lengthOf(packet);
    if (length < 0) return;
    const first = packet.slot(0);
    const { flags } = first;
    let sum: Checksum = checksum.unknown;
    // A large packet's checksums are always made anew.
    if ((flags & txFlag.csumBlank) !== 0 || this.#gsoType !== gsoType.none) sum = checksum.blank;
    else if ((flags & txFlag.dataValidated) !== 0) sum = checksum.validated;
    const i = this.#packets++;
    const begin = this.#place(first.size);
    this.#offsets[i] = begin;
    this.#lengths[i] = first.size;
    this.#checksums[i] = sum;
    this.#gsoTypes[i] = this.#gsoType;
    this.#gsoSizes[i] = this.#gsoSize;
    this.#statuses[i] = netifRsp.okay;
    this.#flags[i] = flags;
    this.#slots[i] = packet.slots;
    this.#copies.add(first.gref, first.offset, this.#staging, begin, length, i);
    let at = begin + length;
    for (let slot = 1; slot < packet.slots; slot++) {
      const { gref, offset, size } = packet.slot(slot);
      // Nothing is copied of a slot without bytes, and its page need not be there (XSA-448).
      if (size > 0) this.#copies.add(gref, offset, this.#staging, at, size, i);
      at += size;
    }
  }

  /** Where a packet of so many bytes is copied to: a small one into one page. */
  #place(bytes: number): number {
    let at = (this.#at + 63) & ~63;
    if ((at & 4095) + bytes > 4096) at = (at + 4095) & ~4095;
    this.#at = at + bytes;
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
      this.#sink.drop(dropped);
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
      switch (type) {
        case extraType.gso:
          if (u.gso.size === 0) throw new PeerFault('the size of a GSO segment', 0);
          if (u.gso.type !== gsoType.tcpv4 && u.gso.type !== gsoType.tcpv6)
            throw new PeerFault('the type of a GSO packet', u.gso.type);
          this.#gsoType = u.gso.type;
          this.#gsoSize = u.gso.size;
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
    const i = this.#packets++;
    this.#lengths[i] = 0;
    this.#statuses[i] = status;
  }

  /** Copies the batch, sends its frames on, and answers its packets. */
  #finish(packets: TxPackets): void {
    const count = this.#packets;
    this.#packets = this.#at = 0;
    this.#copies.run(this.#copy, this.#failed);
    const frame = this.#frame;
    for (let i = 0; i < count; i++) {
      const length = this.#lengths[i] as number;
      if (length === 0) continue;
      const offset = this.#offsets[i] as number;
      const sum = this.#checksums[i] as Checksum;
      frame.page = this.#staging;
      frame.set(offset, length, sum, this.#gsoTypes[i] as GsoType, this.#gsoSizes[i] as number);
      const flags = this.#flags[i] as number;
      if (sum === checksum.blank && !this.#summable(frame, flags)) this.#sink.drop('bad-checksum');
      else this.#sink.receive(frame, flags, this.#slots[i] as number);
    }
    this.#sink.flush();
    for (let i = 0; i < count; i++) {
      this.#status = this.#statuses[i] as number;
      packets.answer(this.#answer);
    }
  }

  /**
   * Whether a checksum is one that can be finished, of TCP or UDP. A large packet that does not say that its is blank holds any other in its
   * place (netback.c `checksum_setup`: `recalculate_partial_csum`).
   */
  #summable({ bytes, offset, length }: Frame, flags: number): boolean {
    if (!this.#headers.parse(bytes, offset, length)) return false;
    if ((flags & txFlag.csumBlank) === 0) writeBlankChecksum(bytes, this.#headers);
    return true;
  }

  readonly #failed = (packet: number): void => {
    if (this.#lengths[packet] === 0) return;
    this.#lengths[packet] = 0;
    this.#statuses[packet] = netifRsp.error;
    this.#sink.drop('bad-grant');
  };

  readonly #answer = (response: Draft<typeof netifTxResponse, 'id'>, isExtra: boolean): void => {
    response.status = isExtra ? netifRsp.null : this.#status;
  };
}
