import { inject, injectable } from 'inversify';
import { Clock, GrantTable, type Page, XenError } from '../../core/index.js';
import { writeChecksum } from './checksum.js';
import { ForwardingTable } from './forwarding-table.js';
import { checksum, type Frame } from './frame.js';
import { Headers } from './headers.js';
import type { PortStatistics } from './port-statistics.js';
import { ETHERNET_HEADER, type Offloads, PACKET_PAGES, takesBlank, takesGso, VLAN_HEADER } from './protocol.js';
import { Segmenter } from './segmenter.js';
import { gsoType } from './wire.js';

/** What hangs on a bridge: a vif, a TAP device, a file. */
export interface BridgePort {
  readonly name: string;
  readonly statistics: PortStatistics;
  /** What it takes besides whole frames with all checksums. */
  readonly offloads: Offloads;
  /** Bytes of payload of the longest frame that it takes. */
  readonly mtu: number;
  /** Whether it takes frames that are not whole, and has the rest copied from its sender's pages; others are given whole ones alone. */
  readonly takesParts?: boolean;
  /** Takes a frame: it lies where it is until {@link flush}, and is another's afterwards. */
  deliver(frame: Frame): void;
  /** The memory of the frames delivered will be others'. */
  flush(): void;
  /** No more frames come for now: whoever waits for those delivered is told. */
  publish(): void;
}

/** A port's way into its bridge. */
export interface BridgeSide extends Disposable {
  /** Sends a frame on to where it belongs; it may be changed, and is no longer needed after {@link flush}. */
  receive(frame: Frame): void;
  /** From now on the memory of the frames sent may be used for others. */
  flush(): void;
  /** Ends a batch of frames, after a {@link flush}: their receivers are told of them. */
  publish(): void;
}

/** Whether a port cannot take a frame that is not to be segmented any more. */
const isTooLong = (frame: Frame, { mtu, offloads }: BridgePort): boolean =>
  frame.length > mtu + ETHERNET_HEADER + VLAN_HEADER || (frame.length > 4096 && !offloads.sg);

/**
 * A learning switch: frames go to the port that their destination was last heard at, those to groups and to stations not heard of to all
 * others. Checksums and segmentation are finished for ports that cannot.
 */
@injectable()
export class Bridge {
  readonly #clock: Clock;
  readonly #grants: GrantTable;
  readonly #table = new ForwardingTable();
  /** By number; a hole where a port has left. */
  readonly #ports: (BridgePort | undefined)[] = [];
  /** By port: whether frames were delivered since the last flush, and since the last publication. */
  readonly #dirty: boolean[] = [];
  readonly #untold: boolean[] = [];
  readonly #headers = new Headers();
  /** The time of the batch; asked for once. */
  #now: number | undefined;
  /** Whether a frame is on its way to several ports. */
  #flooding = false;
  #scratch: Page | undefined;
  #segmenter: Segmenter | undefined;
  /** The port that segments go to. */
  #to: BridgePort | undefined;

  constructor(@inject(Clock) clock: Clock, @inject(GrantTable) grants: GrantTable) {
    this.#clock = clock;
    this.#grants = grants;
  }

  /** The ports that there are. */
  get ports(): readonly BridgePort[] {
    return this.#ports.filter((port) => port !== undefined);
  }

  /** Stations that it knows the port of. */
  get stations(): number {
    return this.#table.count(this.#clock.now());
  }

  /** Adds a port; what this returns is its way in, and takes it off again when disposed. */
  join(port: BridgePort): BridgeSide {
    const free = this.#ports.indexOf(undefined);
    const number = free < 0 ? this.#ports.length : free;
    this.#ports[number] = port;
    this.#dirty[number] = this.#untold[number] = false;
    return {
      receive: (frame) => this.#receive(frame, number),
      flush: () => this.#flush(),
      publish: () => this.#publish(),
      [Symbol.dispose]: () => {
        if (this.#ports[number] !== port) return;
        this.#ports[number] = undefined;
        this.#table.forget(number);
        if (this.#ports.some((left) => left !== undefined)) return;
        this.#scratch?.[Symbol.dispose]();
        this.#scratch = this.#segmenter = undefined;
      },
    };
  }

  #receive(frame: Frame, from: number): void {
    const { bytes, offset } = frame;
    const source = this.#ports[from];
    if (source === undefined) return;
    const { statistics } = source;
    statistics.received++;
    statistics.receivedBytes += frame.length;
    if (((bytes[offset + 6] as number) & 1) !== 0) {
      statistics.drop('own-source');
      return;
    }
    this.#now ??= this.#clock.now();
    const now = this.#now;
    this.#table.learn(bytes, offset + 6, from, now);
    const isGroup = ((bytes[offset] as number) & 1) !== 0;
    const to = isGroup ? -1 : this.#table.lookup(bytes, offset, now);
    if (to >= 0) {
      if (to !== from) this.#deliver(frame, to);
      return;
    }
    statistics.flooded++;
    if (!frame.fetch()) return;
    const count = this.#ports.length;
    this.#flooding = true;
    for (let number = 0; number < count; number++) if (number !== from) this.#deliver(frame, number);
    this.#flooding = false;
  }

  #deliver(frame: Frame, to: number): void {
    const port = this.#ports[to];
    if (port === undefined) return;
    const { offloads, statistics } = port;
    this.#untold[to] = true;
    if (frame.gsoType !== gsoType.none) {
      if (!takesGso(offloads, frame.gsoType)) {
        this.#cut(frame, port);
        return;
      }
    } else if (isTooLong(frame, port)) {
      statistics.drop('too-long');
      return;
    }
    if (port.takesParts !== true && !frame.fetch()) return;
    if (frame.checksum === checksum.blank && !(offloads.checksum4 && offloads.checksum6)) {
      if (!this.#parse(frame)) {
        statistics.drop('bad-checksum');
        return;
      }
      if (!takesBlank(offloads, this.#headers.version)) {
        if (!frame.fetch()) return;
        // Ports before this one may have yet to copy it, as it was.
        if (this.#flooding) this.#flush();
        writeChecksum(frame.bytes, this.#headers);
        frame.checksum = checksum.validated;
        statistics.checksummed++;
      }
    }
    this.#dirty[to] = true;
    port.deliver(frame);
  }

  /** Whether a frame is TCP or UDP, by what is here of it if that is enough. */
  #parse(frame: Frame): boolean {
    const headers = this.#headers;
    if (headers.parse(frame.bytes, frame.offset, frame.length, frame.here)) return true;
    return headers.short && frame.fetch() && headers.parse(frame.bytes, frame.offset, frame.length);
  }

  /** Cuts a large packet for a port; each segment is taken at once, as they share their memory. */
  #cut(frame: Frame, port: BridgePort): void {
    if (!frame.fetch()) return;
    const segmenter = this.#cutter();
    this.#to = port;
    port.flush();
    if (segmenter === undefined) port.statistics.drop('no-room');
    else if (segmenter.segment(frame, this.#headers, this.#segment)) port.statistics.segmented++;
    else port.statistics.drop('bad-gso');
  }

  /** What cuts packets, with pages that are taken when they are first needed; undefined where the domain has no more. */
  #cutter(): Segmenter | undefined {
    try {
      this.#scratch ??= this.#grants.alloc(PACKET_PAGES);
    } catch (error) {
      if (!(error instanceof XenError)) throw error;
      return undefined;
    }
    this.#segmenter ??= new Segmenter(this.#scratch);
    return this.#segmenter;
  }

  readonly #segment = (frame: Frame): void => {
    const port = this.#to;
    if (port === undefined) return;
    if (isTooLong(frame, port)) {
      port.statistics.drop('too-long');
      return;
    }
    port.deliver(frame);
    port.flush();
  };

  #flush(): void {
    for (let number = 0; number < this.#dirty.length; number++) {
      if (this.#dirty[number] !== true) continue;
      this.#dirty[number] = false;
      this.#ports[number]?.flush();
    }
  }

  #publish(): void {
    this.#now = undefined;
    for (let number = 0; number < this.#untold.length; number++) {
      if (this.#untold[number] !== true) continue;
      this.#untold[number] = false;
      this.#ports[number]?.publish();
    }
  }
}

/** The bridges of a domain, by name; a name that was not heard before makes one. */
@injectable()
export class Bridges {
  readonly #clock: Clock;
  readonly #grants: GrantTable;
  readonly #bridges = new Map<string, Bridge>();

  constructor(@inject(Clock) clock: Clock, @inject(GrantTable) grants: GrantTable) {
    this.#clock = clock;
    this.#grants = grants;
  }

  get(name: string): Bridge {
    let bridge = this.#bridges.get(name);
    if (bridge === undefined) {
      bridge = new Bridge(this.#clock, this.#grants);
      this.#bridges.set(name, bridge);
    }
    return bridge;
  }
}
