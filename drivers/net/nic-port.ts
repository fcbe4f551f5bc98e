import type { Subscription } from 'rxjs';
import type { Bridge, BridgePort, BridgeSide } from './bridge.js';
import type { Frame } from './frame.js';
import type { FrameBatch } from './frame-batch.js';
import type { Nic } from './nic.js';
import { PortStatistics } from './port-statistics.js';
import type { Offloads } from './protocol.js';

/**
 * A guest's interface as a port of a bridge in the guest: its way out, for what else hangs there. It leaves the bridge when the interface's
 * link ends. A frame that its ring has no room for is dropped, as by a network card.
 */
export class NicPort implements BridgePort, Disposable {
  readonly name: string;
  readonly statistics = new PortStatistics();
  readonly #nic: Nic;
  readonly #side: BridgeSide;
  readonly #subscription: Subscription;

  /** @param name for people to read: `eth0` */
  constructor(name: string, nic: Nic, bridge: Bridge) {
    this.name = name;
    this.#nic = nic;
    this.#side = bridge.join(this);
    this.#subscription = nic.frames$.subscribe({
      next: (batch) => this.#came(batch),
      complete: () => this.#side[Symbol.dispose](),
    });
  }

  get offloads(): Offloads {
    return this.#nic.offloads;
  }

  get mtu(): number {
    return this.#nic.mtu;
  }

  deliver(frame: Frame): void {
    if (!this.#nic.put(frame)) {
      this.statistics.drop('no-room');
      return;
    }
    this.statistics.sent++;
    this.statistics.sentBytes += frame.length;
  }

  flush(): void {}

  publish(): void {
    this.#nic.push();
  }

  /** Takes it off the bridge; the interface stays. */
  [Symbol.dispose](): void {
    this.#subscription.unsubscribe();
    this.#side[Symbol.dispose]();
  }

  #came(batch: FrameBatch): void {
    for (let i = 0; i < batch.length; i++) this.#side.receive(batch.at(i));
    this.#side.flush();
    this.#side.publish();
  }
}
