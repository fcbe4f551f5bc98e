import {
  type Arrivals,
  type FrontGrants,
  type FrontLink,
  PAGE_SIZE,
  type Packet,
  type Page,
  type SharedPage,
  type View,
} from '../../core/index.js';
import { writeBlankChecksum } from './checksum.js';
import { type Checksum, checksum } from './frame.js';
import { FrameBatch } from './frame-batch.js';
import { Headers } from './headers.js';
import { ETHERNET_HEADER, MAX_EXTRAS, MAX_PACKET, MAX_SLOTS, type vif } from './protocol.js';
import { extraType, type GsoType, gsoType, type netifExtraInfo, type netifRxResponse, rxFlag } from './wire.js';

/** The ring of buffers to receive into, at the frontend. */
export type NicRxRing = FrontLink<typeof vif>['queues'][number]['rx'];
type RxPacket = Packet<View<typeof netifRxResponse>, View<typeof netifExtraInfo>>;

/** Why a packet that came is not handed out (netfront.c `xennet_get_responses`). */
export const rxErrors = ['status', 'place', 'slots', 'extra', 'length', 'checksum'] as const;
export type RxError = (typeof rxErrors)[number];

/** Pages that frames are copied to. */
const STAGING_PAGES = 64;

/** Receives a guest's frames on one ring: into granted pages, of which it keeps one posted for each slot, then out of them (XSA-155). */
export class NicRx implements Disposable {
  // What is read for each frame is declared, not made here: see FrontRing.
  declare private readonly pages: SharedPage;
  declare private readonly staging: Page;
  declare private readonly copy: (from: number, to: number, length: number) => void;
  declare private readonly batch: FrameBatch;
  declare private readonly emit: (batch: FrameBatch) => void;
  readonly #errors: Record<RxError, number> = { status: 0, place: 0, slots: 0, extra: 0, length: 0, checksum: 0 };
  readonly #report: (error: RxError) => void;
  readonly #headers = new Headers();
  declare received: number;
  declare receivedBytes: number;
  /** Slots of data that they came in, and how many of them were large packets. */
  declare slots: number;
  declare large: number;
  declare private at: number;
  declare private gsoType: GsoType;
  declare private gsoSize: number;

  /** @param emit is given what came, once an upcall or more often; `report` hears of a packet that cannot be */
  constructor(
    ring: NicRxRing,
    grants: FrontGrants,
    emit: (batch: FrameBatch) => void,
    report: (error: RxError) => void,
  ) {
    this.received = this.receivedBytes = this.slots = this.large = this.at = this.gsoSize = 0;
    this.gsoType = gsoType.none;
    this.pages = grants.share(ring.entries);
    this.staging = grants.alloc(STAGING_PAGES);
    this.copy = grants.copier(this.pages, this.staging);
    this.batch = new FrameBatch(this.staging);
    this.emit = emit;
    this.#report = report;
    const { refs } = this.pages;
    ring.drain((arrivals) => this.#drain(arrivals));
    ring.keepPosted((slot, i) => slot.set({ id: i, gref: refs[i] as SharedPage['ref'] }));
  }

  /** Packets that were not handed out, by reason. */
  get errors(): Readonly<Record<RxError, number>> {
    return this.#errors;
  }

  [Symbol.dispose](): void {
    this.pages[Symbol.dispose]();
    this.staging[Symbol.dispose]();
  }

  #drain(arrivals: Arrivals<typeof netifRxResponse, typeof netifExtraInfo>): void {
    for (let packet = arrivals.next(); packet !== undefined; packet = arrivals.next()) {
      this.gsoType = gsoType.none;
      this.gsoSize = 0;
      const error = packet.extras > 0 ? this.#extras(packet) : undefined;
      const length = error === undefined ? this.#lengthOf(packet) : -1;
      if (length >= 0) this.#add(packet, arrivals, length);
      else if (error !== undefined) this.#refuse(error);
    }
    this.#handOut();
  }

  /** Bytes of a packet; -1 for one that cannot be, which is counted. */
  #lengthOf(packet: RxPacket): number {
    const { slots } = packet;
    if (slots > MAX_SLOTS) return this.#refuse('slots');
    let length = 0;
    for (let i = 0; i < slots; i++) {
      const { status, offset } = packet.slot(i);
      if (status < 0) return this.#refuse('status');
      if (offset + status > PAGE_SIZE) return this.#refuse('place');
      length += status;
    }
    return length < ETHERNET_HEADER || length > MAX_PACKET ? this.#refuse('length') : length;
  }

  #extras(packet: RxPacket): RxError | undefined {
    for (let i = 0; i < packet.extras; i++) {
      if (i >= MAX_EXTRAS) return 'extra';
      const { type, u } = packet.extra(i);
      if (type === extraType.none || type > extraType.hash) return 'extra';
      if (type !== extraType.gso) continue;
      if (u.gso.size === 0 || (u.gso.type !== gsoType.tcpv4 && u.gso.type !== gsoType.tcpv6)) return 'extra';
      this.gsoType = u.gso.type;
      this.gsoSize = u.gso.size;
    }
    return undefined;
  }

  #add(packet: RxPacket, arrivals: Arrivals<typeof netifRxResponse, typeof netifExtraInfo>, length: number): void {
    if (this.at + length > STAGING_PAGES * PAGE_SIZE) this.#handOut();
    const begin = this.at;
    const { flags } = packet.slot(0);
    let at = begin;
    for (let i = 0; i < packet.slots; i++) {
      const { offset, status } = packet.slot(i);
      this.copy(arrivals.buffer(i) * PAGE_SIZE + offset, at, status);
      at += status;
    }
    if (this.gsoType !== gsoType.none && (flags & rxFlag.csumBlank) === 0 && !this.#blank(begin, length)) {
      this.#refuse('checksum');
      return;
    }
    let sum: Checksum = checksum.unknown;
    if ((flags & rxFlag.csumBlank) !== 0 || this.gsoType !== gsoType.none) sum = checksum.blank;
    else if ((flags & rxFlag.dataValidated) !== 0) sum = checksum.validated;
    this.batch.add().set(begin, length, sum, this.gsoType, this.gsoSize);
    this.at = (at + 63) & ~63;
    this.received++;
    this.receivedBytes += length;
    this.slots += packet.slots;
    if (this.gsoType !== gsoType.none) this.large++;
  }

  /** A large packet has a blank checksum, whatever it says; false when it has none (netfront.c `checksum_setup`). */
  #blank(begin: number, length: number): boolean {
    const { bytes } = this.staging;
    if (!this.#headers.parse(bytes, begin, length)) return false;
    writeBlankChecksum(bytes, this.#headers);
    return true;
  }

  #handOut(): void {
    this.at = 0;
    if (this.batch.length === 0) return;
    try {
      this.emit(this.batch);
    } finally {
      this.batch.clear();
    }
  }

  #refuse(error: RxError): -1 {
    if (this.#errors[error]++ === 0) this.#report(error);
    return -1;
  }
}
