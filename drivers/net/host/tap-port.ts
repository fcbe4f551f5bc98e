import type { GrantTable, Page } from '../../../core/index.js';
import type { Bridge, BridgePort, BridgeSide } from '../bridge.js';
import { checksum, Frame } from '../frame.js';
import { Headers } from '../headers.js';
import { type DropReason, PortStatistics } from '../port-statistics.js';
import { ETHERNET_HEADER, MAX_PACKET, MTU, noOffloads, type Offloads, VLAN_HEADER } from '../protocol.js';
import { gsoType } from '../wire.js';
import { Tap, type TapOptions } from './tap.js';
import { readVnetHeader, VNET_HEADER, writeVnetHeader } from './vnet-header.js';

/** Pages that the frames of a batch are put into on their way to the bridge. */
const PAGES = 64;

/** Frames of whatever length, but nothing unfinished; and what a kernel finishes that is told what is lacking. */
const whole: Offloads = { ...noOffloads, sg: true };
const unfinished: Offloads = { sg: true, gso4: true, gso6: true, checksum4: true, checksum6: true };

/** How a TAP device becomes a port. */
export interface TapPortOptions extends Omit<TapOptions, 'vnetHeader'> {
  /** Whether large TCP packets and blank checksums go through it as they are, if the kernel can do that; yes without it. */
  readonly offload?: boolean;
  /** Hears of the first frame that is dropped for a reason. */
  readonly onDropped?: (reason: DropReason) => void;
}

/**
 * A Linux TAP device as a port of a bridge. Large packets and blank checksums are left to the kernel, and come from it, where it knows of
 * IFF_VNET_HDR and TUNSETOFFLOAD; elsewhere frames leave with all checksums, right from where they lie.
 */
export class TapPort implements BridgePort, Disposable {
  readonly statistics: PortStatistics;
  readonly mtu: number;
  readonly #page: Page;
  readonly #frame: Frame;
  readonly #headers = new Headers();
  #at = 0;
  #tap: Tap | undefined;
  #side: BridgeSide | undefined;
  /** Where a frame lies behind its header on its way out; undefined where it has none. */
  #out: Uint8Array | undefined;

  private constructor(page: Page, mtu: number, onDropped: TapPortOptions['onDropped']) {
    this.statistics = new PortStatistics(onDropped);
    this.#page = page;
    this.#frame = new Frame(page);
    this.mtu = mtu;
  }

  /** @throws Error as {@link Tap.open} */
  static async open(options: TapPortOptions, bridge: Bridge, grants: GrantTable): Promise<TapPort> {
    const page = grants.alloc(PAGES);
    const { offload: vnetHeader = true, onDropped, ...rest } = options;
    const port = new TapPort(page, options.mtu ?? MTU.usual, onDropped);
    try {
      port.#tap = await Tap.open(
        { ...rest, vnetHeader },
        (bytes) => port.#came(bytes),
        () => port.#flush(),
      );
    } catch (error) {
      page[Symbol.dispose]();
      throw error;
    }
    if (port.#tap.header > 0) port.#out = new Uint8Array(VNET_HEADER + MAX_PACKET);
    port.#side = bridge.join(port);
    return port;
  }

  get name(): string {
    return this.#tap?.name ?? 'tap';
  }

  get offloads(): Offloads {
    return this.#out === undefined ? whole : unfinished;
  }

  deliver(frame: Frame): void {
    const { bytes, offset, length } = frame;
    const out = this.#out;
    if (out === undefined) {
      this.#write(bytes, offset, length, length);
      return;
    }
    out.set(bytes.subarray(offset, offset + length), VNET_HEADER);
    const refused = writeVnetHeader(out, frame, this.#headers);
    if (refused === undefined) this.#write(out, 0, VNET_HEADER + length, length);
    else this.statistics.drop(refused);
  }

  flush(): void {}

  publish(): void {}

  [Symbol.dispose](): void {
    this.#side?.[Symbol.dispose]();
    this.#side = undefined;
    this.#tap?.[Symbol.dispose]();
    this.#page[Symbol.dispose]();
  }

  #write(bytes: Uint8Array, offset: number, length: number, frame: number): void {
    if (this.#tap?.write(bytes, offset, length) !== true) {
      this.statistics.drop('carrier-off');
      return;
    }
    this.statistics.sent++;
    this.statistics.sentBytes += frame;
  }

  #came(bytes: Uint8Array): void {
    const side = this.#side;
    if (side === undefined) return;
    const header = this.#tap?.header ?? 0;
    const length = bytes.length - header;
    if (length < ETHERNET_HEADER || length > MAX_PACKET) {
      this.statistics.drop(length < ETHERNET_HEADER ? 'too-short' : 'too-long');
      return;
    }
    if (this.#at + length > PAGES * 4096) this.#flush();
    const frame = this.#frame;
    this.#page.bytes.set(header === 0 ? bytes : bytes.subarray(header), this.#at);
    let refused: ReturnType<typeof readVnetHeader>;
    if (header === 0) frame.set(this.#at, length, checksum.unknown, gsoType.none, 0);
    else refused = readVnetHeader(bytes, frame, this.#at, length, this.#headers);
    if (frame.gsoType === gsoType.none && length > this.mtu + ETHERNET_HEADER + VLAN_HEADER) refused = 'too-long';
    if (refused !== undefined) {
      this.statistics.drop(refused);
      return;
    }
    this.#at = (this.#at + length + 63) & ~63;
    side.receive(frame);
  }

  #flush(): void {
    this.#at = 0;
    this.#side?.flush();
    this.#side?.publish();
  }
}
