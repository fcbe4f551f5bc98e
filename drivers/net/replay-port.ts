import { concatMap, from, map, type Subscription } from 'rxjs';
import type { Clock, Page } from '../../core/index.js';
import type { Bridge, BridgePort, BridgeSide } from './bridge.js';
import { checksum, Frame } from './frame.js';
import type { CapturedPacket } from './pcap-reader.js';
import { PortStatistics } from './port-statistics.js';
import { ETHERNET_HEADER, MTU, noOffloads } from './protocol.js';
import { gsoType } from './wire.js';

/** A port of a bridge that plays the packets of a capture, each at its time, and swallows what it is sent. */
export class ReplayPort implements BridgePort, Disposable {
  readonly name: string;
  readonly statistics = new PortStatistics();
  readonly offloads = noOffloads;
  readonly mtu = MTU.max;
  readonly #side: BridgeSide;
  readonly #frame: Frame;
  readonly #playing: Subscription;

  /** @param page as large as the longest packet; `done` is called behind the last */
  constructor(
    name: string,
    packets: readonly CapturedPacket[],
    bridge: Bridge,
    page: Page,
    clock: Clock,
    done: () => void,
  ) {
    this.name = name;
    this.#frame = new Frame(page);
    this.#side = bridge.join(this);
    const begin = clock.now();
    this.#playing = from(packets)
      .pipe(concatMap((packet) => clock.timer$(Math.max(begin + packet.time - clock.now(), 0)).pipe(map(() => packet))))
      .subscribe({ next: ({ bytes }) => this.#play(bytes), complete: done });
  }

  deliver(frame: Frame): void {
    this.statistics.sent++;
    this.statistics.sentBytes += frame.length;
  }

  flush(): void {}

  publish(): void {}

  [Symbol.dispose](): void {
    this.#playing.unsubscribe();
    this.#side[Symbol.dispose]();
  }

  #play(bytes: Uint8Array): void {
    if (bytes.length < ETHERNET_HEADER || bytes.length > this.#frame.bytes.length) {
      this.statistics.drop(bytes.length < ETHERNET_HEADER ? 'too-short' : 'too-long');
      return;
    }
    this.#frame.bytes.set(bytes);
    this.#frame.set(0, bytes.length, checksum.unknown, gsoType.none, 0);
    this.#side.receive(this.#frame);
    this.#side.flush();
    this.#side.publish();
  }
}
