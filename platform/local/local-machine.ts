// Long, since everything that a domain has on this machine is put together, and taken apart, in one place.
import { DOM0 } from '../../core/abi/units.js';
import { DOMID_XEN } from '../../core/hypervisor/domains.js';
import { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import {
  type Abi,
  asDomid,
  Domain,
  type DomainConfig,
  type Domid,
  type LogEntry,
  type Plain,
  type Shutdown,
  type Traps,
  XenError,
} from '../../core/index.js';
import type { DomainLedger } from '../../core/toolstack/index.js';
import { DirectXenStore, RingXenStore, XenStoreServer } from '../../xenstore/index.js';
import { bindDomain, type DomainBindings } from '../hypervisor/bind-domain.js';
import { domainLedger } from '../hypervisor/domain-ledger.js';
import { HypervisorEventChannels } from '../hypervisor/event-channels.js';
import { faultEntry } from '../hypervisor/fault-entry.js';
import { HypervisorGrantTable } from '../hypervisor/grant-table.js';
import { GuestEntry } from '../hypervisor/guest-entry.js';
import { HypervisorMachine, type HypervisorMachineOptions } from '../hypervisor/hypervisor-machine.js';
import { HypervisorPhysdev } from '../hypervisor/physdev.js';
import { HypervisorSched } from '../hypervisor/sched.js';
import { shutdownBy, shutdownOf } from '../hypervisor/shutdown-of.js';
import { startDomain } from '../hypervisor/start-domain.js';
import { buildStoreRing, checked } from '../hypervisor/store-ring.js';
import { HypervisorTraps } from '../hypervisor/traps.js';
import { HypervisorVcpus } from '../hypervisor/vcpus.js';
import { DomainClock } from './domain-clock.js';
import { LocalClock } from './local-clock.js';
import type { LocalDomain } from './local-domain.js';
import { LocalVcpu } from './local-vcpu.js';
import { PhysicalCpus } from './physical-cpus.js';
import { Scheduler, TaskQueue } from './scheduler.js';
import { TurnTimer } from './turn-timer.js';
import { Watchdog } from './watchdog.js';

/** How a local machine is made. */
export interface LocalMachineOptions extends HypervisorMachineOptions {
  /** Decides who runs when several could; the same seed repeats a run. Default random. */
  readonly seed?: number;
  /** Whether timers wait for the host's time, or time jumps to the next timer whenever nobody can run. Default 'real'. */
  readonly clock?: 'simulated' | 'real';
  /** Physical CPUs that the vCPUs share which spend CPU time (token `Vcpus`). Default 1. */
  readonly cpus?: number;
  /** Milliseconds after which a vCPU gives its CPU to another that waits. Default 10, the longest slice of Xen's credit2. */
  readonly slice?: number;
  /**
   * Milliseconds of the host's time after which a callback counts as run away: it is reported in the log when it returns. Without it nobody
   * looks.
   */
  readonly runaway?: number;
  /** Seconds after which a domain that does not yield at all is named on stderr, by a thread of its own. Without it nobody looks. */
  readonly watchdog?: number;
  /** Bytes of memory of all domains; a multiple of 64 KiB. Default 256 MiB, taken as it is touched. */
  readonly memory?: number;
}

/** What a domain has before it is built. */
type LocalPlace = Pick<LocalDomain, 'channels' | 'grants' | 'queue' | 'entry' | 'vcpus'> & {
  readonly traps: () => Traps;
};

/**
 * Our own Xen in one thread: a seeded scheduler decides which domain is entered next. Everything that the domains do goes through the
 * same hypervisor, store and rings as anywhere.
 */
export class LocalMachine extends HypervisorMachine {
  /** The seed that repeats this machine's order of events. */
  readonly seed: number;
  readonly dom0: Domain;
  readonly hypervisor: Hypervisor;
  readonly #scheduler: Scheduler;
  readonly #clock: LocalClock;
  readonly #server: XenStoreServer;
  readonly #domains = new Map<Domid, LocalDomain>();
  readonly #cpus: PhysicalCpus;
  readonly #watchdog: Watchdog | undefined;
  /** When the machine looks at a domain's watchdog timers next. */
  readonly #watchdogAlarms = new Map<Domid, () => void>();
  readonly #outbox: TaskQueue;
  #nextDomid = 1;
  #disposed = false;

  private constructor({ seed, clock = 'real', memory, cpus = 1, slice = 10, runaway, watchdog }: LocalMachineOptions) {
    super();
    this.seed = (seed ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
    this.#clock = new LocalClock(clock === 'simulated');
    this.#scheduler = new Scheduler(this.seed, this.#clock, (name, error) => this.#fault(name, error));
    this.#cpus = new PhysicalCpus(this.#clock, cpus, slice);
    this.#watchdog = watchdog === undefined ? undefined : new Watchdog(watchdog);
    if (runaway !== undefined || watchdog !== undefined) {
      this.#scheduler.watch = new TurnTimer({
        limit: runaway ?? Number.POSITIVE_INFINITY,
        report: (name, ms) => this.#ranAway(name, ms),
        watchdog: this.#watchdog,
      });
    }
    const wake = (): void => this.#scheduler.wake();
    this.hypervisor = Hypervisor.create(
      memory === undefined ? {} : { bytes: memory },
      wake,
      undefined,
      this.#clock.source,
    );
    this.hypervisor.sched.onRunnable = (domid) => {
      for (const vcpu of this.#domains.get(domid)?.vcpus ?? []) vcpu.look();
      wake();
    };
    this.hypervisor.sched.onShutdown = (domid, code) => this.#shutDown(domid, code);
    this.hypervisor.sched.onWatchdog = (domid) => this.#lookAtWatchdog(domid);
    this.#outbox = this.#queue('machine');
    checked(this.hypervisor.domains.create(DOMID_XEN, { domid: DOM0, privileged: true }), 'dom0');
    this.dom0 = new Domain(DOM0, 'dom0');
    const place = this.#place(this.dom0, undefined);
    const { channels, grants, queue, traps } = place;
    this.#server = new XenStoreServer({
      grants,
      channels,
      clock: this.#clock,
      post: queue.post,
      domainInfo: this.domainInfo,
      onFault: (domid, fault) =>
        this.#write(this.dom0, { level: 'warning', source: `store of ${domid}`, text: fault.message }),
    });
    bindDomain(
      this.dom0,
      {},
      {
        clock: this.#clock,
        channels,
        grants,
        physdev: new HypervisorPhysdev(this.hypervisor, DOM0),
        ...this.#processors(DOM0, place),
        store: new DirectXenStore(this.#server),
        log: (entry) => this.#write(this.dom0, entry),
        report: (value) => this.#report(DOM0, value),
        traps,
      },
    );
    this.privilege({
      create: (config) => this.#create(config),
      start: (domid) => this.#start(domid),
      isStarted: (domid) => this.#domain(domid).introduced,
      resumed: (domid) => this.#resumed(domid),
      destroy: (domid) => this.#kill(domid),
    });
  }

  /** Makes a machine, with dom0 running in it and nothing else. */
  static async create(options: LocalMachineOptions = {}): Promise<LocalMachine> {
    const machine = new LocalMachine(options);
    await machine.furnishStore();
    machine.attach(options.interrupts ?? []);
    return machine;
  }

  override lastShutdown(domid: Domid): Shutdown | undefined {
    return this.#domains.get(domid)?.shutdown;
  }

  /** Calls `listener` with the name of whoever runs next, each time: the order that the seed decides. */
  onPick(listener: (name: string) => void): void {
    this.#scheduler.onPick = listener;
  }

  override async guest(name: string, abi?: Abi, vcpus?: number): Promise<Domain> {
    const domid = await this.boot({ name, ...(abi && { abi }), ...(vcpus !== undefined && { vcpus }) });
    return this.#domain(domid).domain;
  }

  override ledger(): Promise<readonly DomainLedger[]> {
    return Promise.resolve(this.holdings());
  }

  /** As {@link ledger}, at once: all domains are in this thread. */
  holdings(): readonly DomainLedger[] {
    return [...this.#domains.values()].map(({ domain, grants, introduced }) => {
      // What was parked and has been let go of since is nobody's.
      grants.reclaim(Number.MAX_SAFE_INTEGER);
      return domainLedger(this.hypervisor, this.#server, domain, { pooled: grants.counts.pooled, introduced });
    });
  }

  override quiesce(): void {
    for (const { domain } of this.#domains.values()) domain[Symbol.dispose]();
  }

  override idle(): Promise<void> {
    return this.#scheduler.idle();
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const domid of [...this.#domains.keys()]) this.#kill(domid);
    this.dom0[Symbol.dispose]();
    this.#server[Symbol.dispose]();
    this.#scheduler.stop();
    this.complete();
    await this.#watchdog?.[Symbol.asyncDispose]();
  }

  #create(config: DomainConfig): Domid {
    const domid = asDomid(this.#nextDomid);
    const abi = config.abi ?? 'x86_64-abi';
    checked(this.hypervisor.domains.create(DOM0, { domid, abi, vcpus: config.vcpus ?? 1 }), `domain ${domid}`);
    this.#nextDomid++;
    const domain = new Domain(domid, config.name, abi);
    const place = this.#place(domain, config);
    const { channels, grants, traps } = place;
    try {
      const store = buildStoreRing(this.hypervisor, domid);
      // What crosses to another domain is a copy, as it is where domains are threads.
      const { cmdline, offer } = config;
      bindDomain(domain, structuredClone({ cmdline, ...(offer === undefined ? {} : { offer }) }), {
        clock: new DomainClock(this.#clock, (work) => this.#turn(domid, place.entry, work)),
        channels,
        grants,
        physdev: new HypervisorPhysdev(this.hypervisor, domid),
        ...this.#processors(domid, place),
        store: new RingXenStore(grants.adopt(store.frame), channels.adopt(store.port)),
        log: (entry) => this.#write(domain, entry),
        report: (value) => this.#report(domid, value),
        traps,
      });
      this.#domains.set(domid, { domain, config, ...place, store, introduced: false, shutdown: undefined });
    } catch (error) {
      this.#displace(place);
      this.hypervisor.destroyDomain(DOM0, domid);
      throw error;
    }
    return domid;
  }

  async #start(domid: Domid): Promise<void> {
    const { domain, config, store, entry } = this.#domain(domid);
    this.#server.introduce(domid, store.port);
    this.#domain(domid).introduced = true;
    entry.begin(0);
    if (config.module === undefined) return;
    await startDomain(
      domain,
      String(config.module),
      (url) => this.#scheduler.hold(() => import(url)),
      (error) => this.#stopped(domid, error),
    );
  }

  #stopped(domid: Domid, error: Error | undefined): void {
    const entry = this.#domains.get(domid);
    if (entry === undefined || entry.shutdown !== undefined) return;
    const { domain, config } = entry;
    const shutdown = shutdownOf({ domid, name: domain.name, module: config.module }, error);
    entry.shutdown = shutdown;
    if (error !== undefined) {
      this.#write(domain, { level: 'error', source: 'program', text: `crashed: ${error.message}` });
    }
    this.#server.checkDomains();
    this.#outbox.post(() => this.hasShutDown(shutdown));
  }

  /** A domain has shut down by a call, its own or another's. */
  #shutDown(domid: Domid, code: number): void {
    const entry = this.#domains.get(domid);
    if (entry === undefined || entry.shutdown !== undefined) return;
    const { domain, config } = entry;
    const shutdown = shutdownBy({ domid, name: domain.name, module: config.module }, code);
    entry.shutdown = shutdown;
    this.#server.checkDomains();
    this.#outbox.post(() => this.hasShutDown(shutdown));
  }

  /** A domain that had shut down goes on. */
  #resumed(domid: Domid): void {
    this.#domain(domid).shutdown = undefined;
    this.#server.checkDomains();
  }

  /** Looks at a domain's watchdog timers, and again when the next is due. */
  #lookAtWatchdog(domid: Domid): void {
    const { sched } = this.hypervisor;
    this.#watchdogAlarms.get(domid)?.();
    this.#watchdogAlarms.delete(domid);
    sched.expireWatchdogs(DOMID_XEN, domid);
    const next = sched.nextWatchdog(domid);
    if (next === Number.POSITIVE_INFINITY) return;
    this.#watchdogAlarms.set(
      domid,
      this.#clock.alarm(next / 1e6, () => this.#lookAtWatchdog(domid)),
    );
  }

  /** Runs what a timer of a domain's calls, as the domain: now, or when its vCPU 0 is entered, if it may not run now. */
  #turn(domid: Domid, entry: GuestEntry, work: () => void): void {
    const { memory, vcpus } = this.hypervisor;
    const slot = memory.slotOf(domid);
    const entryOf = this.#domains.get(domid);
    if (entryOf === undefined || entryOf.entry !== entry || vcpus.mayRun(slot, 0)) {
      this.#scheduler.turn(entryOf?.domain.name ?? 'clock', work);
      return;
    }
    entry.resumeAt(0, work);
    entry.attend(0);
  }

  #ranAway(name: string, ms: number): void {
    const text = `${name} did not yield for ${Math.round(ms)} ms`;
    this.#write(this.#named(name), { level: 'warning', source: 'scheduler', text });
  }

  /** Ends a domain as a crash would: Xen takes everything from it first; then its code is told, which can do no more. */
  #kill(domid: Domid): void {
    const entry = this.#domain(domid);
    const { domain } = entry;
    this.#domains.delete(domid);
    this.#watchdogAlarms.get(domid)?.();
    this.#watchdogAlarms.delete(domid);
    this.#displace(entry);
    checked(this.hypervisor.destroyDomain(DOM0, domid), `domain ${domid}`);
    entry.entry.end();
    try {
      domain[Symbol.dispose]();
    } catch (error) {
      this.#fault(domain.name, error);
    }
    if (!this.#disposed) this.#server.checkDomains();
  }

  protected override nameOf(domid: Domid): string | undefined {
    return domid === DOM0 ? this.dom0.name : this.#domains.get(domid)?.domain.name;
  }

  /** What each domain has on this machine, dom0 too. */
  #place({ domid, name }: Domain, config: DomainConfig | undefined): LocalPlace {
    const { hypervisor } = this;
    const channels = new HypervisorEventChannels(hypervisor, domid, (error) => this.#fault(name, error));
    const grants = new HypervisorGrantTable(hypervisor, domid);
    const entry = new GuestEntry(hypervisor, domid, channels, (error) => this.#fault(name, error));
    const wake = (): void => this.#scheduler.wake();
    const vcpus = Array.from(
      { length: config?.vcpus ?? 1 },
      (_, vcpu) => new LocalVcpu(name, vcpu, entry, { hypervisor, domid }, this.#cpus, wake),
    );
    let stopAlarm = (): void => {};
    entry.onDeadline = () => {
      stopAlarm();
      if (entry.deadline === Number.POSITIVE_INFINITY) return;
      stopAlarm = this.#clock.alarm(entry.deadline / 1e6, () => entry.expire());
    };
    hypervisor.doorbell.park(domid);
    for (const vcpu of vcpus) this.#scheduler.add(vcpu);
    const traps = (): Traps =>
      new HypervisorTraps({
        hypervisor,
        domid,
        channels,
        entry,
        onError: (error) => this.#fault(name, error),
        onCrash: (crash) => (domid === DOM0 ? this.#fault(name, crash) : this.#stopped(domid, crash)),
      });
    return { channels, grants, entry, vcpus, queue: this.#queue(name), traps };
  }

  /** What stands behind the tokens of a domain's vCPUs. */
  #processors(domid: Domid, { channels, entry, vcpus }: LocalPlace): Pick<DomainBindings, 'vcpus' | 'sched'> {
    const own = (vcpu: number): LocalVcpu => vcpus[vcpu] as LocalVcpu;
    return {
      vcpus: () => new HypervisorVcpus(this.hypervisor, domid, channels, entry, (vcpu, ns) => own(vcpu).spend(ns)),
      sched: new HypervisorSched(this.hypervisor, domid, entry, (vcpu) => own(vcpu).yield()),
    };
  }

  #displace({ queue, vcpus }: Pick<LocalDomain, 'queue' | 'vcpus'>): void {
    this.#scheduler.remove(queue);
    for (const vcpu of vcpus) {
      this.#scheduler.remove(vcpu);
      vcpu.remove();
    }
  }

  #queue(name: string): TaskQueue {
    const queue = new TaskQueue(name, () => this.#scheduler.wake());
    this.#scheduler.add(queue);
    return queue;
  }

  #domain(domid: Domid): LocalDomain {
    const found = this.#domains.get(domid);
    if (found === undefined) throw new XenError('ESRCH', `there is no domain ${domid}`);
    return found;
  }

  #fault(name: string, error: unknown): void {
    this.#write(this.#named(name), faultEntry(name, error));
  }

  /** The domain that a turn of this name is of; dom0 for what is no domain's. */
  #named(name: string): Domain {
    for (const { domain, vcpus } of this.#domains.values()) {
      if (domain.name === name || vcpus.some((vcpu) => vcpu.name === name)) return domain;
    }
    return this.dom0;
  }

  readonly #write = (domain: Domain, entry: LogEntry): void => {
    // A domain that is gone has nothing to say: what fails in its code now fails because it is gone.
    if (domain !== this.dom0 && !this.#domains.has(domain.domid)) return;
    this.logged({ ...entry, time: this.#clock.now(), domid: domain.domid, domain: domain.name });
  };

  readonly #report = (domid: Domid, value: Plain): void => {
    // What crosses to another domain is a copy, as it is where domains are threads.
    const copy: Plain = structuredClone(value);
    this.#outbox.post(() => this.reported(domid, copy));
  };
}
