import { distinctUntilChanged, map, type Observable, ReplaySubject, Subject, startWith, takeUntil } from 'rxjs';
import { Cleanup, type FrontLink, type Log, PAGE_SIZE, type XenStore } from '../../core/index.js';
import { writeChecksum } from './checksum.js';
import { flowOf } from './flow.js';
import { type Checksum, checksum, Frame } from './frame.js';
import type { FrameBatch } from './frame-batch.js';
import { Headers } from './headers.js';
import { keyText$ } from './key-text.js';
import { type Mac, parseMac } from './mac.js';
import { NicRx, type RxError } from './nic-rx.js';
import { NicTx, type WritePart } from './nic-tx.js';
import {
  ETHERNET_HEADER,
  MAX_PACKET,
  type Offloads,
  offloadsOf,
  takesBlank,
  takesGso,
  VLAN_HEADER,
  type vif,
} from './protocol.js';
import { Segmenter } from './segmenter.js';
import { type GsoType, gsoType } from './wire.js';

/** A frame to be sent: its bytes, or these with what others are to finish. */
export type OutgoingFrame =
  | Uint8Array
  | {
      readonly bytes: Uint8Array;
      /** `blank` to have the checksum of a TCP or UDP datagram finished by who needs it, unknown without it. */
      readonly checksum?: Checksum;
      /** To have a large TCP packet cut into segments with so many bytes of payload, by who needs that. */
      readonly gso?: { readonly type: GsoType; readonly size: number };
    };

/** What has gone through an interface. */
export interface NicStatistics {
  /** Frames, their bytes, and the slots that held them. */
  readonly sent: number;
  readonly sentBytes: number;
  readonly sentSlots: number;
  /** Large packets among them, which others were to cut. */
  readonly sentLarge: number;
  /** Frames that the backend did not take. */
  readonly refused: number;
  readonly received: number;
  readonly receivedBytes: number;
  readonly receivedSlots: number;
  readonly receivedLarge: number;
  /** Packets that came and could not be. */
  readonly errors: number;
}

/** A guest's connected network interface. */
export class Nic implements Disposable {
  readonly #link: FrontLink<typeof vif>;
  readonly #log: Log;
  readonly #store: XenStore;
  readonly #ended$ = new ReplaySubject<void>(1);
  readonly #tx: readonly NicTx[];
  readonly #rx: readonly NicRx[];
  readonly #frames$ = new Subject<FrameBatch>();
  readonly #headers = new Headers();
  readonly #source = new Uint8Array(MAX_PACKET + 1);
  #segmenter: Segmenter | undefined;
  /** Its Ethernet address. */
  readonly mac: Mac;
  /** What the backend takes unfinished; what it does not is finished here. */
  readonly offloads: Offloads;
  /** The frame that is being sent: where it lies. */
  #bytes: Uint8Array = this.#source;
  #offset = 0;

  constructor(link: FrontLink<typeof vif>, log: Log, store: XenStore) {
    this.#link = link;
    this.#log = log;
    this.#store = store;
    this.mac = parseMac(link.toolstack.mac);
    this.offloads = offloadsOf(link.peer as Parameters<typeof offloadsOf>[0]);
    const emit = (batch: FrameBatch): void => this.#frames$.next(batch);
    const made = new Cleanup();
    try {
      this.#tx = link.queues.map(({ tx }) => made.use(new NicTx(tx, link.grants)));
      this.#rx = link.queues.map(({ rx }) =>
        made.use(new NicRx(rx, link.grants, emit, (error) => this.#refused(error))),
      );
    } catch (error) {
      made[Symbol.dispose]();
      throw error;
    }
  }

  /** What comes, some frames at a time; nobody else keeps them. Completes with the link. */
  get frames$(): Observable<FrameBatch> {
    return this.#frames$;
  }

  /**
   * Whether the link is up, now and whenever the backend says otherwise (netif.h, key `carrier`), whether or not it announces that by its
   * state; completes with the link.
   */
  get carrier$(): Observable<boolean> {
    const path = `${this.#link.device.otherendPath}/carrier`;
    return keyText$(this.#store, path).pipe(
      map((text) => text === undefined || Number(text) !== 0),
      startWith(this.#link.peer.carrier),
      distinctUntilChanged(),
      takeUntil(this.#ended$),
    );
  }

  /** Bytes of payload of the longest frame that the network takes. */
  get mtu(): number {
    return this.#link.toolstack.mtu;
  }

  /** Queues that it has. */
  get queues(): number {
    return this.#tx.length;
  }

  /** What has gone through since it connected. */
  get statistics(): NicStatistics {
    const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
    return {
      sent: sum(this.#tx.map(({ sent }) => sent)),
      sentBytes: sum(this.#tx.map(({ sentBytes }) => sentBytes)),
      sentSlots: sum(this.#tx.map(({ slots }) => slots)),
      sentLarge: sum(this.#tx.map(({ large }) => large)),
      refused: sum(this.#tx.map(({ refused }) => refused)),
      received: sum(this.#rx.map(({ received }) => received)),
      receivedBytes: sum(this.#rx.map(({ receivedBytes }) => receivedBytes)),
      receivedSlots: sum(this.#rx.map(({ slots }) => slots)),
      receivedLarge: sum(this.#rx.map(({ large }) => large)),
      errors: sum(this.#rx.flatMap(({ errors }) => Object.values(errors))),
    };
  }

  /** What has gone through each of its queues since it connected. */
  get queueStatistics(): readonly { readonly sent: number; readonly received: number }[] {
    return this.#tx.map(({ sent }, i) => ({ sent, received: this.#rx[i]?.received ?? 0 }));
  }

  /**
   * Sends as many of the frames as there is room for now, in their order, and says how many; their bytes are copied.
   * @throws RangeError for a frame that is shorter than an Ethernet header, or longer than the network takes; Disconnected after the end
   */
  send(...frames: readonly OutgoingFrame[]): number {
    let sent = 0;
    try {
      for (const frame of frames) {
        if (!this.#send(frame)) break;
        sent++;
      }
    } finally {
      this.push();
    }
    return sent;
  }

  /**
   * Puts a frame of a bridge's on its ring, for the backend to see after {@link push}; false when there is no room. Its bytes are copied; it
   * is what {@link offloads} and {@link mtu} allow.
   */
  put(frame: Frame): boolean {
    const { bytes, offset, length } = frame;
    return this.#transmit(bytes, offset, length, frame.checksum, frame.gsoType, frame.gsoSize);
  }

  /** Has the backend see the frames that were {@link put} on the rings. */
  push(): void {
    for (const tx of this.#tx) tx.push();
  }

  /** Sends all of the frames, in their order, as there is room. @throws as {@link send} */
  async sendAll(frames: readonly OutgoingFrame[]): Promise<void> {
    for (let sent = 0; ; ) {
      sent += this.send(...frames.slice(sent));
      const next = frames[sent];
      if (next === undefined) return;
      const { length } = bytesOf(next);
      await this.#queueOf(bytesOf(next), 0, length).slotsFree(this.#slotsOf(next));
    }
  }

  /** The ring that a frame is sent on, for who writes its bytes into the granted pages himself. */
  queue(i: number): NicTx {
    const tx = this.#tx[i];
    if (tx === undefined) throw new RangeError(`there is no queue ${i}: there are ${this.#tx.length}`);
    return tx;
  }

  /** Has frames to a group delivered; resolves to whether the backend does so, which does it for 64 groups. */
  join(group: Mac): Promise<boolean> {
    return this.queue(0).group(group, true);
  }

  /** Has them no longer delivered. */
  leave(group: Mac): Promise<boolean> {
    return this.queue(0).group(group, false);
  }

  /** Closes the interface for good: resolves when the backend has let go and all is given back. */
  close(): Promise<void> {
    return this.#link.close();
  }

  /** Called by the framework when the link ends. */
  [Symbol.dispose](): void {
    this.#frames$.complete();
    this.#ended$.next();
    for (const end of [...this.#tx, ...this.#rx]) end[Symbol.dispose]();
  }

  #send(frame: OutgoingFrame): boolean {
    const bytes = bytesOf(frame);
    const { checksum: sum = checksum.unknown, gso } = frame instanceof Uint8Array ? {} : frame;
    this.#check(bytes, gso);
    const { offloads } = this;
    if (gso !== undefined) {
      if (takesGso(this.offloads, gso.type))
        return this.#transmit(bytes, 0, bytes.length, checksum.blank, gso.type, gso.size);
      return this.#cut(bytes, gso, this.#slotsOf(frame));
    }
    const { length } = bytes;
    if (sum !== checksum.blank || (offloads.checksum4 && offloads.checksum6))
      return this.#transmit(bytes, 0, length, sum);
    this.#source.set(bytes);
    if (!this.#headers.parse(this.#source, 0, length))
      throw new RangeError('a frame whose checksum is to be finished must hold a TCP or UDP datagram');
    if (takesBlank(offloads, this.#headers.version)) return this.#transmit(bytes, 0, length, sum);
    writeChecksum(this.#source, this.#headers);
    return this.#transmit(this.#source, 0, length, checksum.validated);
  }

  #check(bytes: Uint8Array, gso: object | undefined): void {
    const most = gso === undefined ? Math.min(this.mtu + ETHERNET_HEADER + VLAN_HEADER, MAX_PACKET) : MAX_PACKET;
    if (bytes.length < ETHERNET_HEADER || bytes.length > most)
      throw new RangeError(`a frame here has ${ETHERNET_HEADER} to ${most} bytes, not ${bytes.length}`);
    if (gso === undefined && bytes.length > 4096 && !this.offloads.sg)
      throw new RangeError(`the backend takes no frames above 4096 bytes, like these ${bytes.length}`);
  }

  /** Slots that a frame takes at most. */
  #slotsOf(frame: OutgoingFrame): number {
    const bytes = bytesOf(frame);
    const { length } = bytes;
    const gso = frame instanceof Uint8Array ? undefined : frame.gso;
    const headers = this.#headers;
    if (gso === undefined || takesGso(this.offloads, gso.type) || !headers.parse(bytes, 0, length))
      return Math.ceil(length / PAGE_SIZE) + 1;
    const data = headers.end - headers.payload;
    return (
      Math.max(1, Math.ceil(data / gso.size)) * Math.ceil((headers.payload + Math.min(data, gso.size)) / PAGE_SIZE)
    );
  }

  /** Sends a large packet in segments, of so many slots in all; false when the ring has no room for all. */
  #cut(bytes: Uint8Array, gso: { readonly type: GsoType; readonly size: number }, slots: number): boolean {
    const tx = this.#queueOf(bytes, 0, bytes.length);
    if (slots > tx.entries)
      throw new RangeError(
        `segments of ${gso.size} bytes of these ${bytes.length} need more than a ring’s ${tx.entries} slots`,
      );
    if (tx.free < slots) return false;
    this.#source.set(bytes);
    this.#segmenter ??= new Segmenter(plainPage(new Uint8Array(MAX_PACKET + 1)));
    const packet = new Frame(plainPage(this.#source));
    packet.set(0, bytes.length, checksum.blank, gso.type, gso.size);
    const done = this.#segmenter.segment(packet, this.#headers, (frame) => {
      this.#transmit(frame.bytes, frame.offset, frame.length, checksum.validated);
    });
    if (!done) throw new RangeError('a frame that is to be cut must hold a TCP packet of its type');
    return true;
  }

  #transmit(
    bytes: Uint8Array,
    offset: number,
    length: number,
    sum: Checksum,
    type: GsoType = gsoType.none,
    size = 0,
  ): boolean {
    this.#bytes = bytes;
    this.#offset = offset;
    return this.#queueOf(bytes, offset, length).transmit(length, this.#part, sum, type, size);
  }

  readonly #part: WritePart = (memory, at, from, size) => {
    const bytes = this.#bytes;
    const begin = this.#offset + from;
    memory.set(size === bytes.length ? bytes : bytes.subarray(begin, begin + size), at);
  };

  /** One flow keeps to one ring, so that its frames keep their order. */
  #queueOf(bytes: Uint8Array, offset: number, length: number): NicTx {
    const count = this.#tx.length;
    return this.#tx[count === 1 ? 0 : flowOf(bytes, offset, length) % count] as NicTx;
  }

  #refused(error: RxError): void {
    const text = `a packet came with a wrong ${error}; it is dropped, and more are only counted`;
    this.#log.write({ level: 'warning', source: this.#link.device.path, text });
  }
}

const bytesOf = (frame: OutgoingFrame): Uint8Array => (frame instanceof Uint8Array ? frame : frame.bytes);

/** Memory of JavaScript's own as a page, for what only reads and writes bytes. */
const plainPage = (bytes: Uint8Array): Frame['page'] => ({
  bytes,
  words: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2),
  [Symbol.dispose]() {},
});
