import { type Observable, Subject } from 'rxjs';
import { type BackLink, Cleanup, type Clock, type Log } from '../../core/index.js';
import type { Bridge, BridgePort, BridgeSide } from './bridge.js';
import type { Frame } from './frame.js';
import { read16 } from './headers.js';
import { MulticastFilter } from './multicast-filter.js';
import { type DropReason, PortStatistics } from './port-statistics.js';
import { type Offloads, offloadsOf, type vif } from './protocol.js';
import type { Rate } from './rate-limit.js';
import { rxFlagsOf, VifRx } from './vif-rx.js';
import { VifTx } from './vif-tx.js';

/** A frame as it goes through a vif: `tx` is what the guest sent, `rx` what it is sent. One object is used again and again. */
export interface Passing {
  readonly direction: 'tx' | 'rx';
  /** Valid during the call. */
  readonly frame: Frame;
  /** The flags of its first slot, and how many slots it takes on the ring, extras not among them. */
  readonly flags: number;
  readonly slots: number;
}

/** A guest's connected network interface, as a port of its bridge. */
export class Vif implements BridgePort, Disposable {
  /** As its directory: `vif3.0` is interface 0 of domain 3. */
  readonly name: string;
  readonly statistics = new PortStatistics();
  readonly offloads: Offloads;
  readonly mtu: number;
  readonly takesParts = true;
  readonly #side: BridgeSide;
  readonly #groups = new MulticastFilter();
  readonly #filters: boolean;
  readonly #tx: readonly VifTx[];
  readonly #rx: readonly VifRx[];
  readonly #log: Log;
  readonly #source: string;
  readonly #passing$ = new Subject<Passing>();
  readonly #carrier$ = new Subject<boolean>();
  #stalled = 0;

  constructor(link: BackLink<typeof vif>, bridge: Bridge, clock: Clock, log: Log) {
    const { device, peer, toolstack, queues, grants, subscription } = link;
    this.name = `vif${device.otherend}.${device.id}`;
    this.offloads = offloadsOf(peer);
    this.mtu = toolstack.mtu;
    this.#filters = peer['request-multicast-control'];
    this.#log = log;
    this.#source = device.path;
    const passing$ = this.#passing$;
    const sink = {
      get wantsWhole(): boolean {
        return passing$.observed;
      },
      receive: (frame: Frame, flags: number, slots: number): void => this.#receive(frame, flags, slots),
      flush: (): void => this.#side.flush(),
      publish: (): void => this.#side.publish(),
      drop: (reason: DropReason): void => this.#drop(reason),
    };
    const made = new Cleanup();
    const options = {
      notified: peer['feature-rx-notify'],
      drop: sink.drop,
      onStalled: (stalled: boolean): void => this.#onStalled(stalled),
    };
    try {
      this.#tx = queues.map(({ tx }) => made.use(new VifTx(tx, grants, sink, this.#groups, clock, subscription)));
      this.#rx = queues.map(({ rx }, i) => {
        const { staging } = this.#tx[i] as VifTx;
        return made.use(new VifRx(rx, grants, staging, clock, options));
      });
    } catch (error) {
      made[Symbol.dispose]();
      throw error;
    }
    this.#side = bridge.join(this);
  }

  /** Frames as they pass, each once: what the guest sends, and what is sent to it. Completes with the link. */
  get passing$(): Observable<Passing> {
    return this.#passing$;
  }

  /** Whether the guest takes frames, each time that changes: not while it posts no buffers. */
  get carrier$(): Observable<boolean> {
    return this.#carrier$;
  }

  /** Frames that wait for the guest. */
  get waiting(): number {
    return this.#rx.reduce((sum, { waiting }) => sum + waiting, 0);
  }

  /** What the guest may send from now on, on each queue. */
  limit(rate: Rate | undefined, now: number): void {
    for (const tx of this.#tx) tx.limit.set(rate, now);
  }

  deliver(frame: Frame): void {
    if (this.#filters && !this.#groups.passes(frame.bytes, frame.offset)) {
      this.statistics.drop('not-joined');
      return;
    }
    // Who looks on sees whole frames; one that cannot be had goes no further.
    if (this.#passing$.observed && !frame.fetch()) return;
    this.statistics.sent++;
    this.statistics.sentBytes += frame.length;
    if (this.#passing$.observed)
      this.#passing$.next({ direction: 'rx', frame, flags: rxFlagsOf(frame), slots: Math.ceil(frame.length / 4096) });
    (this.#rx[this.#rx.length === 1 ? 0 : flowOf(frame) % this.#rx.length] as VifRx).deliver(frame);
  }

  flush(): void {
    for (const rx of this.#rx) rx.flush();
  }

  publish(): void {
    for (const rx of this.#rx) rx.publish();
  }

  /** Called by the framework when the link ends. */
  [Symbol.dispose](): void {
    this.#side[Symbol.dispose]();
    for (const rx of this.#rx) rx[Symbol.dispose]();
    for (const tx of this.#tx) tx[Symbol.dispose]();
    this.#passing$.complete();
    this.#carrier$.complete();
  }

  #receive(frame: Frame, flags: number, slots: number): void {
    if (this.#passing$.observed) this.#passing$.next({ direction: 'tx', frame, flags, slots });
    this.#side.receive(frame);
  }

  /** Counts what goes no further, and says so in the log when it is the first for that reason. */
  #drop(reason: DropReason): void {
    if (!this.statistics.drop(reason)) return;
    this.#log.write({
      level: 'warning',
      source: this.#source,
      text: `drops a frame: ${reason}; more are only counted`,
    });
  }

  #onStalled(stalled: boolean): void {
    const before = this.#stalled;
    this.#stalled += stalled ? 1 : -1;
    if (before > 0 && this.#stalled > 0) return;
    const text = stalled
      ? 'the guest has posted no buffers for a minute while frames waited: its carrier is off until it does'
      : 'the guest posts buffers again: its carrier is on';
    this.#log.write({ level: 'warning', source: this.#source, text });
    this.#carrier$.next(!stalled);
  }
}

/** A number that the frames of one flow share: by addresses and ports of IPv4, else by the stations. */
const flowOf = ({ bytes, offset, length }: Frame): number => {
  const isIp = length >= 38 && read16(bytes, offset + 12) === 0x0800;
  let hash = 0;
  for (let at = offset + (isIp ? 26 : 0), end = at + 12; at < end; at += 2)
    hash = Math.imul(hash ^ read16(bytes, at), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
};
