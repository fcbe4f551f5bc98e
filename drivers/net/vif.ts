import { type Observable, Subject } from 'rxjs';
import { type BackLink, Cleanup, type Clock, type Log } from '../../core/index.js';
import type { Bridge, BridgePort, BridgeSide } from './bridge.js';
import { flowOf } from './flow.js';
import type { Frame } from './frame.js';
import { MulticastFilter } from './multicast-filter.js';
import { type DropReason, droppedText, PortStatistics } from './port-statistics.js';
import { type Offloads, offloadsOf, type vif } from './protocol.js';
import type { Rate } from './rate-limit.js';
import { rxFlagsOf, VifRx } from './vif-rx.js';
import { VifTx } from './vif-tx.js';
import { extraType, gsoType } from './wire.js';

/** A frame as it goes through a vif: `tx` is what the guest sent, `rx` what it is sent. One object is used again and again. */
export interface Passing {
  readonly direction: 'tx' | 'rx';
  /** Valid during the call. */
  readonly frame: Frame;
  /** The flags of its first slot, and how many slots it takes on the ring, extras not among them. */
  readonly flags: number;
  readonly slots: number;
  /** Its extras: the bit of each type (netif.h `XEN_NETIF_EXTRA_TYPE_*`). */
  readonly extras: number;
}

/** A guest's connected network interface, as a port of its bridge. */
export class Vif implements BridgePort, Disposable {
  /** As its directory: `vif3.0` is interface 0 of domain 3. */
  readonly name: string;
  readonly statistics: PortStatistics;
  readonly offloads: Offloads;
  readonly mtu: number;
  readonly takesParts = true;
  readonly #side: BridgeSide;
  readonly #groups = new MulticastFilter();
  #filters: boolean;
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
    this.statistics = new PortStatistics((reason) => this.#tell(reason));
    const passing$ = this.#passing$;
    const sink = {
      get wantsWhole(): boolean {
        return passing$.observed;
      },
      receive: (frame: Frame, flags: number, slots: number, extras: number): void =>
        this.#receive(frame, flags, slots, extras),
      flush: (): void => this.#side.flush(),
      publish: (): void => this.#side.publish(),
      drop: (reason: DropReason): void => this.statistics.drop(reason),
    };
    const made = new Cleanup();
    const options = {
      notified: peer['feature-rx-notify'],
      statistics: this.statistics,
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
    for (const tx of this.#tx) tx.limit(rate, now);
  }

  /** Whether the guest is sent only frames to groups that it has joined, from now on. */
  filterGroups(filters: boolean): void {
    this.#filters = filters;
  }

  deliver(frame: Frame): void {
    if (this.#filters && !this.#groups.passes(frame.bytes, frame.offset)) {
      this.statistics.drop('not-joined');
      return;
    }
    if (this.#passing$.observed) {
      // Who looks on sees whole frames; one that cannot be had goes no further.
      if (!frame.fetch()) return;
      this.#passing$.next({
        direction: 'rx',
        frame,
        flags: rxFlagsOf(frame),
        slots: Math.ceil(frame.length / 4096),
        extras: frame.gsoType === gsoType.none ? 0 : 1 << extraType.gso,
      });
    }
    const { bytes, offset, length } = frame;
    const queues = this.#rx.length;
    (this.#rx[queues === 1 ? 0 : flowOf(bytes, offset, length) % queues] as VifRx).deliver(frame);
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

  #receive(frame: Frame, flags: number, slots: number, extras: number): void {
    if (this.#passing$.observed) {
      // Who looks on since it was taken has not had it copied in whole.
      if (!frame.fetch()) return;
      this.#passing$.next({ direction: 'tx', frame, flags, slots, extras });
    }
    this.#side.receive(frame);
  }

  /** Names in the log what is dropped, once for each reason; a filter that its guest has asked for is none. */
  #tell(reason: DropReason): void {
    if (reason === 'not-joined') return;
    this.#log.write({ level: 'warning', source: this.#source, text: droppedText(reason) });
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
