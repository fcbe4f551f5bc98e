import type { GrantTable, Page } from '../../../core/index.js';
import type { Bridge, BridgePort, BridgeSide } from '../bridge.js';
import { checksum, Frame } from '../frame.js';
import { PortStatistics } from '../port-statistics.js';
import { ETHERNET_HEADER, MTU, noOffloads, type Offloads, VLAN_HEADER } from '../protocol.js';
import { gsoType } from '../wire.js';
import { Tap, type TapOptions } from './tap.js';

/** Pages that the frames of a batch are put into on their way to the bridge. */
const PAGES = 64;

/** A Linux TAP device as a port of a bridge. Its frames leave with all checksums, one by one, right from where they lie. */
export class TapPort implements BridgePort, Disposable {
  readonly statistics = new PortStatistics();
  /** Frames of whatever length, but nothing unfinished. */
  readonly offloads: Offloads = { ...noOffloads, sg: true };
  readonly mtu: number;
  readonly #page: Page;
  readonly #frame: Frame;
  #at = 0;
  #tap: Tap | undefined;
  #side: BridgeSide | undefined;

  private constructor(page: Page, mtu: number) {
    this.#page = page;
    this.#frame = new Frame(page);
    this.mtu = mtu;
  }

  /** @throws Error as {@link Tap.open} */
  static async open(options: TapOptions, bridge: Bridge, grants: GrantTable): Promise<TapPort> {
    const page = grants.alloc(PAGES);
    const port = new TapPort(page, options.mtu ?? MTU.usual);
    try {
      port.#tap = await Tap.open(
        options,
        (bytes) => port.#came(bytes),
        () => port.#flush(),
      );
    } catch (error) {
      page[Symbol.dispose]();
      throw error;
    }
    port.#side = bridge.join(port);
    return port;
  }

  get name(): string {
    return this.#tap?.name ?? 'tap';
  }

  deliver({ bytes, offset, length }: Frame): void {
    if (this.#tap?.write(bytes, offset, length) !== true) {
      this.statistics.drop('carrier-off');
      return;
    }
    this.statistics.sent++;
    this.statistics.sentBytes += length;
  }

  flush(): void {}

  publish(): void {}

  [Symbol.dispose](): void {
    this.#side?.[Symbol.dispose]();
    this.#side = undefined;
    this.#tap?.[Symbol.dispose]();
    this.#page[Symbol.dispose]();
  }

  #came(bytes: Uint8Array): void {
    const side = this.#side;
    if (side === undefined) return;
    if (bytes.length < ETHERNET_HEADER || bytes.length > this.mtu + ETHERNET_HEADER + VLAN_HEADER) {
      this.statistics.drop(bytes.length < ETHERNET_HEADER ? 'too-short' : 'too-long');
      return;
    }
    if (this.#at + bytes.length > PAGES * 4096) this.#flush();
    this.#page.bytes.set(bytes, this.#at);
    this.#frame.set(this.#at, bytes.length, checksum.unknown, gsoType.none, 0);
    this.#at = (this.#at + bytes.length + 63) & ~63;
    side.receive(this.#frame);
  }

  #flush(): void {
    this.#at = 0;
    this.#side?.flush();
    this.#side?.publish();
  }
}
