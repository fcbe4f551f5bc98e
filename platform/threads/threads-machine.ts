// Long, since the life of a domain, its thread’s death and the end of the machine hang together, and are told in one place.
import { MessageChannel, type MessagePort } from 'node:worker_threads';
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
  XenError,
  type XenStore,
} from '../../core/index.js';
import type { DomainLedger } from '../../core/toolstack/index.js';
import { DirectXenStore, RingXenStore, XenStoreServer } from '../../xenstore/index.js';
import { bindDomain } from '../hypervisor/bind-domain.js';
import { domainLedger } from '../hypervisor/domain-ledger.js';
import { HypervisorEventChannels } from '../hypervisor/event-channels.js';
import { faultEntry } from '../hypervisor/fault-entry.js';
import { HypervisorGrantTable } from '../hypervisor/grant-table.js';
import { GuestEntry } from '../hypervisor/guest-entry.js';
import { HostClock, timeSince } from '../hypervisor/host-clock.js';
import { hostTime } from '../hypervisor/host-time.js';
import { HypervisorMachine, type HypervisorMachineOptions } from '../hypervisor/hypervisor-machine.js';
import { HypervisorPhysdev } from '../hypervisor/physdev.js';
import { HypervisorSched } from '../hypervisor/sched.js';
import { shutdownBy, shutdownOf } from '../hypervisor/shutdown-of.js';
import { buildStoreRing, checked, type StoreRingPlace } from '../hypervisor/store-ring.js';
import { HypervisorTraps } from '../hypervisor/traps.js';
import { vcpusOf } from './compute.js';
import { DomainLoop, enterable } from './domain-loop.js';
import { DomainThread, type DomainThreadEvents } from './domain-thread.js';
import { Doorbells } from './doorbells.js';
import type { DomainThreadData, Settled } from './messages.js';
import { ThreadLife } from './thread-life.js';
import { type Watched, YieldWatch } from './yield-watch.js';

/** How a machine of threads is made. */
export interface ThreadsMachineOptions extends HypervisorMachineOptions {
  /** Bytes of memory of all domains; a multiple of 64 KiB. Default 256 MiB, taken as it is touched. */
  readonly memory?: number;
  /**
   * Seconds after which a domain whose thread does not yield is named in the log, while it does not and when it has. Without it nobody
   * looks. What lives in the machine's own thread is not looked at.
   */
  readonly watchdog?: number;
}

/** A domain whose code runs in the machine's own thread. */
interface Resident {
  readonly domain: Domain;
  readonly channels: HypervisorEventChannels;
  readonly grants: HypervisorGrantTable;
  readonly entry: GuestEntry;
}

/** Everything of a domain that the machine keeps, dom0 aside. */
interface Entry {
  readonly domid: Domid;
  readonly name: string;
  readonly module: DomainConfig['module'] | undefined;
  readonly store: StoreRingPlace;
  /** Where its code runs. */
  readonly home: Resident | DomainThread;
  introduced: boolean;
  /** How it has ended by itself. */
  shutdown: Shutdown | undefined;
  /** Its thread has ended by itself, and Xen has taken everything from it; the toolstack has yet to clean up. */
  dead: boolean;
}

/**
 * Our own Xen over shared memory: each domain that boots from a module has a thread of its own, makes its hypercalls there, and runs when
 * the host lets it. Dom0 with the store and the toolstack, and the domains of {@link guest}, live in the thread that made the machine.
 */
export class ThreadsMachine extends HypervisorMachine {
  readonly dom0: Domain;
  readonly hypervisor: Hypervisor;
  readonly #boot = hostTime();
  readonly #clock = new HostClock(this.#boot);
  readonly #loop: DomainLoop;
  readonly #doorbells: Doorbells;
  readonly #server: XenStoreServer;
  readonly #domains = new Map<Domid, Entry>();
  /** Threads that were started for a domain that the toolstack is making. */
  readonly #started = new Map<DomainConfig, DomainThread>();
  readonly #yields: YieldWatch | undefined;
  /** When the machine looks at a domain's watchdog timers next. */
  readonly #watchdogAlarms = new Map<Domid, NodeJS.Timeout>();
  #nextDomid = 1;
  #posted = 0;
  #disposed: Promise<void> | undefined;

  private constructor({ memory, watchdog }: ThreadsMachineOptions) {
    super();
    this.#doorbells = new Doorbells((domid) => {
      if (this.#loop.has(domid)) this.#loop.schedule();
      return undefined;
    });
    this.hypervisor = Hypervisor.create(
      memory === undefined ? {} : { bytes: memory },
      this.#doorbells.ring,
      // While this thread waits for a lock, no `exit` of a thread that died with it arrives here.
      (owner) => life.isGone(owner),
      timeSince(this.#boot),
    );
    const life = new ThreadLife(this.hypervisor.memory);
    this.#loop = new DomainLoop(this.hypervisor.doorbell);
    checked(this.hypervisor.domains.create(DOMID_XEN, { domid: DOM0, privileged: true }), 'dom0');
    this.hypervisor.sched.onShutdown = (domid, code) => this.#shutDown(domid, code);
    this.hypervisor.sched.onWatchdog = (domid) => this.#lookAtWatchdog(domid);
    const { domain, channels, grants, entry } = this.#house(DOM0, 'dom0');
    this.dom0 = domain;
    this.#server = new XenStoreServer({
      grants,
      channels,
      clock: this.#clock,
      post: this.#post,
      domainInfo: this.domainInfo,
      onFault: (domid, fault) =>
        this.#write(DOM0, 'dom0', { level: 'warning', source: `store of ${domid}`, text: fault.message }),
    });
    this.#bind({ domain, channels, grants, entry }, { name: 'dom0' }, new DirectXenStore(this.#server));
    this.privilege({
      create: (config) => this.#create(config),
      start: (domid) => this.#start(domid),
      isStarted: (domid) => this.#entry(domid).introduced,
      resumed: (domid) => this.#resumed(domid),
      destroy: (domid) => this.#kill(domid),
    });
    const threads = (): readonly Watched[] =>
      [...this.#domains.values()].flatMap(({ domid, name, home, dead, introduced }) =>
        home instanceof DomainThread && introduced && !dead ? [{ domid, name, thread: home }] : [],
      );
    if (watchdog !== undefined) {
      this.#yields = new YieldWatch(watchdog, threads, ({ domid, name }, text) =>
        this.#write(domid, name, { level: 'warning', source: 'machine', text }),
      );
    }
  }

  /** Makes a machine, with dom0 running in it and nothing else. */
  static async create(options: ThreadsMachineOptions = {}): Promise<ThreadsMachine> {
    const machine = new ThreadsMachine(options);
    await machine.furnishStore();
    machine.attach(options.interrupts ?? []);
    return machine;
  }

  override async boot(config: DomainConfig): Promise<Domid> {
    if (config.module === undefined || this.#disposed !== undefined) return super.boot(config);
    // The thread starts while the toolstack makes the domain, and is found by this boot's own copy of what was asked for.
    const asked = { ...config };
    const thread = new DomainThread(config.name, String(config.module));
    this.#started.set(asked, thread);
    try {
      return await super.boot(asked);
    } finally {
      // Still there if the toolstack has refused to make the domain.
      if (this.#started.delete(asked)) await thread.stop();
    }
  }

  override lastShutdown(domid: Domid): Shutdown | undefined {
    return this.#domains.get(domid)?.shutdown;
  }

  override async guest(name: string, abi?: Abi, vcpus?: number): Promise<Domain> {
    const domid = await this.boot({ name, ...(abi && { abi }), ...(vcpus !== undefined && { vcpus }) });
    const { home } = this.#entry(domid);
    if (home instanceof DomainThread) throw new Error(`domain ${name} has a thread of its own`);
    return home.domain;
  }

  override async ledger(): Promise<readonly DomainLedger[]> {
    const living = [...this.#domains.values()].filter(({ dead }) => !dead);
    await Promise.all(living.map(({ home }) => home instanceof DomainThread && home.ask('trim')));
    return living
      .filter(({ domid, dead }) => !dead && this.#domains.has(domid))
      .map(({ domid, name, home, introduced }) => {
        let pooled = 0;
        if (!(home instanceof DomainThread)) {
          // What was parked and has been let go of since is nobody's.
          home.grants.reclaim(Number.MAX_SAFE_INTEGER);
          pooled = home.grants.counts.pooled;
        }
        return domainLedger(this.hypervisor, this.#server, { domid, name }, { pooled, introduced });
      });
  }

  override quiesce(): void {
    for (const { home } of this.#domains.values()) {
      if (home instanceof DomainThread) home.tell({ type: 'quiesce' });
      else home.domain[Symbol.dispose]();
    }
  }

  /**
   * Resolves when no domain has an event to handle or a promise to resume, and none with a thread of its own a file or socket under way.
   * Threads answer one after another, so all are asked again until nothing has happened between two answers.
   */
  override async idle(): Promise<void> {
    for (let before = -1; ; ) {
      await new Promise((resolve) => setImmediate(resolve));
      const { delivered, busy } = await this.#settled();
      if (!busy && delivered === before) return;
      before = delivered;
    }
  }

  /**
   * Whether no thread of a domain will ever do anything again, unless another thread has it do so: none has anything under way, and
   * none a timer. What lives in the machine's own thread is not looked at, and what Node does not list is not seen: work of its crypto,
   * zlib and WebAssembly, workers of a module's own.
   */
  async standsStill(): Promise<boolean> {
    const before = await this.#settled();
    if (before.busy || before.waits) return false;
    const { busy, waits, delivered } = await this.#settled();
    return !busy && !waits && delivered === before.delivered;
  }

  override [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#end();
    return this.#disposed;
  }

  async #end(): Promise<void> {
    const kills = await Promise.allSettled([
      ...[...this.#domains.keys()].map((domid) => this.#kill(domid)),
      ...[...this.#started.values()].map((thread) => thread.stop()),
    ]);
    this.dom0[Symbol.dispose]();
    this.#server[Symbol.dispose]();
    this.#loop.remove(DOM0);
    this.#doorbells[Symbol.dispose]();
    this.#yields?.[Symbol.dispose]();
    for (const alarm of this.#watchdogAlarms.values()) clearTimeout(alarm);
    this.complete();
    const errors = kills.flatMap((kill): unknown[] => (kill.status === 'rejected' ? [kill.reason] : []));
    if (errors.length > 0) throw new AggregateError(errors, `${errors.length} domains did not end`);
  }

  protected override nameOf(domid: Domid): string | undefined {
    return domid === DOM0 ? this.dom0.name : this.#domains.get(domid)?.name;
  }

  async #settled(): Promise<Settled> {
    const threads = [...this.#domains.values()].flatMap(({ home }) => (home instanceof DomainThread ? [home] : []));
    const answers = await Promise.all(threads.map((thread) => thread.ask('settle')));
    let { delivered } = this.#loop;
    let busy = this.#loop.isBusy || this.#posted > 0;
    let waits = threads.some((thread) => thread.isChanging);
    for (const answer of answers) {
      delivered += answer?.delivered ?? 0;
      busy ||= answer?.busy ?? false;
      waits ||= answer?.waits ?? false;
    }
    for (const [domid, { dead }] of this.#domains) busy ||= !dead && this.hypervisor.doorbell.hasUpcall(domid);
    return { delivered, busy, waits };
  }

  #create(config: DomainConfig): Domid {
    const { name, abi = 'x86_64-abi', module } = config;
    if (this.#disposed !== undefined) throw new XenError('ENODEV', 'the machine has ended');
    if (config.blocking === true && module === undefined) {
      throw new TypeError(`domain ${name} runs in the machine's own thread, which must not block: give it a module`);
    }
    const domid = asDomid(this.#nextDomid);
    const vcpus = config.vcpus ?? 1;
    checked(
      this.hypervisor.domains.create(DOM0, { domid, abi, vcpus, ownThread: module !== undefined }),
      `domain ${domid}`,
    );
    this.#nextDomid++;
    try {
      const store = buildStoreRing(this.hypervisor, domid);
      const home =
        module === undefined
          ? this.#guestHome(domid, config, store)
          : this.#threadHome(domid, config, String(module), store);
      this.#domains.set(domid, {
        domid,
        name,
        module,
        store,
        home,
        introduced: false,
        shutdown: undefined,
        dead: false,
      });
    } catch (error) {
      this.#loop.remove(domid);
      this.hypervisor.recover(DOM0, domid);
      this.hypervisor.destroyDomain(DOM0, domid);
      throw error;
    }
    return domid;
  }

  #guestHome(domid: Domid, config: DomainConfig, store: StoreRingPlace): Resident {
    const home = this.#house(domid, config.name, config.abi);
    const { channels, grants } = home;
    this.#bind(home, config, new RingXenStore(grants.adopt(store.frame), channels.adopt(store.port)));
    return home;
  }

  #threadHome(domid: Domid, config: DomainConfig, module: string, store: StoreRingPlace): DomainThread {
    const { name, abi = 'x86_64-abi', cmdline, offer, blocking = false } = config;
    const { port1: own, port2: main } = new MessageChannel();
    const peers: (readonly [Domid, MessagePort])[] = [];
    const ends: (readonly [DomainThread, MessagePort])[] = [];
    for (const other of this.#domains.values()) {
      if (!(other.home instanceof DomainThread) || other.dead) continue;
      const { port1, port2 } = new MessageChannel();
      peers.push([other.domid, port1]);
      ends.push([other.home, port2]);
    }
    const thread = this.#started.get(config) ?? new DomainThread(name, module);
    const data: DomainThreadData = {
      memory: this.hypervisor.memory.memory,
      copyModule: this.hypervisor.memory.copyModule,
      domid,
      name,
      abi,
      module,
      cmdline,
      offer,
      blocking,
      storeFrame: store.frame,
      storePort: store.port,
      boot: this.#boot,
      main,
      peers,
    };
    const events: DomainThreadEvents = {
      log: (entry, time) => this.logged({ ...entry, time, domid, domain: name }),
      report: (value) => this.reported(domid, value),
      stopped: (error) => this.#stopped(domid, error),
      shutdown: (code) => this.#shutDown(domid, code),
      watchdog: () => this.#lookAtWatchdog(domid),
      died: (error) => this.#died(domid, error),
    };
    try {
      thread.house(data, events, () => this.hypervisor.doorbell.nudge(domid));
    } catch (error) {
      void thread.stop();
      throw error;
    }
    this.#started.delete(config);
    for (const [other, port] of ends) other.tell({ type: 'peer', domid, port }, [port]);
    this.#doorbells.add(domid, own);
    own.on('message', (rung: Domid) => {
      if (this.#loop.has(rung)) this.#loop.run();
      else this.#doorbells.find(rung)?.postMessage(rung);
    });
    return thread;
  }

  async #start(domid: Domid): Promise<void> {
    const entry = this.#entry(domid);
    this.#server.introduce(domid, entry.store.port);
    entry.introduced = true;
    if (entry.home instanceof DomainThread) await entry.home.run();
  }

  #stopped(domid: Domid, error: Error | undefined): void {
    const entry = this.#domains.get(domid);
    if (entry === undefined || entry.shutdown !== undefined) return;
    const shutdown = shutdownOf(entry, error);
    entry.shutdown = shutdown;
    if (error !== undefined) {
      this.#write(domid, entry.name, { level: 'error', source: 'program', text: `crashed: ${error.message}` });
    }
    this.#server.checkDomains();
    this.#post(() => this.hasShutDown(shutdown));
  }

  /** A domain has shut down by a call, its own or another's. */
  #shutDown(domid: Domid, code: number): void {
    const entry = this.#domains.get(domid);
    if (entry === undefined || entry.shutdown !== undefined) return;
    const shutdown = shutdownBy(entry, code);
    entry.shutdown = shutdown;
    this.#server.checkDomains();
    this.#post(() => this.hasShutDown(shutdown));
  }

  /** A domain that had shut down goes on. */
  #resumed(domid: Domid): void {
    this.#entry(domid).shutdown = undefined;
    this.#server.checkDomains();
  }

  /** Looks at a domain's watchdog timers, which its own thread may be too busy to do, and again when the next is due. */
  #lookAtWatchdog(domid: Domid): void {
    const { sched, time } = this.hypervisor;
    this.#silenceWatchdog(domid);
    sched.expireWatchdogs(DOMID_XEN, domid);
    const next = sched.nextWatchdog(domid);
    if (next === Number.POSITIVE_INFINITY) return;
    const left = Math.min(Math.max(0, (next - time.systemTime()) / 1e6), 2 ** 31 - 1);
    this.#watchdogAlarms.set(domid, setTimeout(() => this.#lookAtWatchdog(domid), left).unref());
  }

  /** A domain's thread has ended by itself: Xen takes everything from the domain, and its peers see it vanish. */
  #died(domid: Domid, error: Error | undefined): void {
    const entry = this.#domains.get(domid);
    if (entry === undefined) return;
    entry.dead = true;
    this.#bury(domid);
    // Where it was still being loaded, whoever boots it is told.
    if (entry.home instanceof DomainThread && entry.home.runs) this.#stopped(domid, error);
    else this.#server.checkDomains();
  }

  /** Ends a domain as a crash would. Its thread is stopped first: nobody may run in a domain that is not there any more. */
  async #kill(domid: Domid): Promise<void> {
    const entry = this.#entry(domid);
    const { home, dead } = entry;
    this.#silenceWatchdog(domid);
    if (home instanceof DomainThread) {
      entry.dead = true;
      await home.stop();
      if (!this.#domains.delete(domid)) return;
      if (!dead) this.#bury(domid);
    } else {
      this.#domains.delete(domid);
      this.#loop.remove(domid);
      checked(this.hypervisor.destroyDomain(DOM0, domid), `domain ${domid}`);
      home.entry.end();
      try {
        home.domain[Symbol.dispose]();
      } catch (error) {
        this.#fault(DOM0, home.domain.name, error);
      }
    }
    this.#server.checkDomains();
  }

  #silenceWatchdog(domid: Domid): void {
    clearTimeout(this.#watchdogAlarms.get(domid));
    this.#watchdogAlarms.delete(domid);
  }

  /** Mends what a thread has left half done when it ended, and destroys its domain. */
  #bury(domid: Domid): void {
    this.hypervisor.recover(DOM0, domid);
    checked(this.hypervisor.destroyDomain(DOM0, domid), `domain ${domid}`);
    this.#doorbells.remove(domid);
    for (const { home, dead } of this.#domains.values()) {
      if (home instanceof DomainThread && !dead) home.tell({ type: 'peer-gone', domid });
    }
  }

  /** What a domain of the machine's own thread has, dom0 too. */
  #house(domid: Domid, name: string, abi?: Abi): Resident {
    const domain = new Domain(domid, name, abi);
    const channels = new HypervisorEventChannels(this.hypervisor, domid, (error) => this.#fault(domid, name, error));
    const grants = new HypervisorGrantTable(this.hypervisor, domid);
    const entry = new GuestEntry(this.hypervisor, domid, channels, (error) => this.#fault(domid, name, error));
    entry.dispense();
    entry.onDeadline = () => this.#loop.schedule();
    this.#loop.add(domid, enterable(entry));
    return { domain, channels, grants, entry };
  }

  #bind({ domain, channels, grants, entry }: Resident, config: DomainConfig, store: XenStore): void {
    const { domid, name } = domain;
    const { cmdline, offer } = config;
    bindDomain(domain, structuredClone({ cmdline, ...(offer === undefined ? {} : { offer }) }), {
      clock: this.#clock,
      channels,
      grants,
      physdev: new HypervisorPhysdev(this.hypervisor, domid),
      vcpus: () => vcpusOf(this.hypervisor, domid, channels, entry),
      sched: new HypervisorSched(this.hypervisor, domid, entry),
      store,
      log: (entry) => this.#write(domid, name, entry),
      report: (value) => {
        const copy: Plain = structuredClone(value);
        this.#post(() => this.reported(domid, copy));
      },
      traps: () =>
        new HypervisorTraps({
          hypervisor: this.hypervisor,
          domid,
          channels,
          entry,
          onError: (error) => this.#fault(domid, name, error),
          onCrash: (crash) => (domid === DOM0 ? this.#fault(domid, name, crash) : this.#stopped(domid, crash)),
        }),
    });
  }

  #entry(domid: Domid): Entry {
    const found = this.#domains.get(domid);
    if (found === undefined) throw new XenError('ESRCH', `there is no domain ${domid}`);
    return found;
  }

  #fault(domid: Domid, name: string, error: unknown): void {
    this.#write(domid, name, faultEntry(name, error));
  }

  #write(domid: Domid, name: string, entry: LogEntry): void {
    // A domain that is gone has nothing to say: what fails in its code now fails because it is gone.
    if (domid !== DOM0 && !this.#domains.has(domid)) return;
    this.logged({ ...entry, time: this.#clock.now(), domid, domain: name });
  }

  readonly #post = (task: () => void): void => {
    this.#posted++;
    setImmediate(() => {
      this.#posted--;
      task();
    });
  };
}
