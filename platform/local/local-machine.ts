import { type Observable, Subject } from 'rxjs';
import { DOMID_XEN } from '../../core/hypervisor/domains.js';
import { parked as parkedState } from '../../core/hypervisor/doorbell.js';
import { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import {
  type Abi,
  asDomid,
  asError,
  boot,
  Domain,
  type DomainConfig,
  Domctl,
  type Domid,
  errorText,
  type LogEntry,
  type Plain,
  Program,
  type Shutdown,
  XenError,
  XenStore,
} from '../../core/index.js';
import {
  type DomainLedger,
  Machine,
  type MachineLogEntry,
  type Report,
  Toolstack,
} from '../../core/toolstack/index.js';
import { DirectXenStore, GNTTAB_RESERVED_XENSTORE, RingXenStore, XenStoreServer } from '../../xenstore/index.js';
import { HypervisorEventChannels } from '../hypervisor/event-channels.js';
import { HypervisorGrantTable } from '../hypervisor/grant-table.js';
import { LocalClock } from './local-clock.js';
import { bindLocal, type LocalDomain } from './local-domain.js';
import { Scheduler, TaskQueue } from './scheduler.js';

/** How a local machine is made. */
export interface LocalMachineOptions {
  /** Decides who runs when several could; the same seed repeats a run. Default random. */
  readonly seed?: number;
  /** Whether timers wait for the host's time, or time jumps to the next timer whenever nobody can run. Default 'real'. */
  readonly clock?: 'simulated' | 'real';
  /** Bytes of memory of all domains; a multiple of 64 KiB. Default 256 MiB, taken as it is touched. */
  readonly memory?: number;
}

const DOM0 = asDomid(0);

/**
 * Our own Xen in one thread: a seeded scheduler decides which domain is entered next. Everything that the domains do goes through the
 * same hypervisor, store and rings as anywhere.
 */
export class LocalMachine extends Machine {
  /** The seed that repeats this machine's order of events. */
  readonly seed: number;
  readonly dom0: Domain;
  readonly hypervisor: Hypervisor;
  readonly #scheduler: Scheduler;
  readonly #clock: LocalClock;
  readonly #server: XenStoreServer;
  readonly #domains = new Map<Domid, LocalDomain>();
  readonly #log$ = new Subject<MachineLogEntry>();
  readonly #reports$ = new Subject<Report>();
  readonly #shutdowns$ = new Subject<Shutdown>();
  readonly #outbox: TaskQueue;
  #nextDomid = 1;
  #disposed = false;

  private constructor({ seed, clock = 'real', memory }: LocalMachineOptions) {
    super();
    this.seed = (seed ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
    this.#clock = new LocalClock(clock === 'simulated');
    this.#scheduler = new Scheduler(this.seed, this.#clock, (name, error) => this.#fault(name, error));
    const wake = (): void => this.#scheduler.wake();
    this.hypervisor = Hypervisor.create(memory === undefined ? {} : { bytes: memory }, wake);
    this.#outbox = this.#queue('machine');
    check(this.hypervisor.domains.create(DOMID_XEN, { domid: DOM0, privileged: true }), 'dom0');
    this.dom0 = new Domain(DOM0, 'dom0');
    const { channels, grants, queue } = this.#place(this.dom0);
    this.#server = new XenStoreServer({
      grants,
      channels,
      post: queue.post,
      domainInfo: (domid) => {
        const life = domid === 0 ? 'alive' : this.hypervisor.domains.lifeOf(domid);
        if (life === 'none') return undefined;
        if (life !== 'alive') return 'dying';
        return this.#domains.get(domid)?.shutdown === true ? 'shutdown' : 'running';
      },
      onFault: (domid, fault) =>
        this.#write(this.dom0, { level: 'warning', source: `store of ${domid}`, text: fault.message }),
    });
    bindLocal(
      this.dom0,
      { name: 'dom0' },
      {
        clock: this.#clock,
        channels,
        grants,
        store: new DirectXenStore(this.#server),
        log: this.#write,
        report: this.#report,
      },
    );
    this.dom0.container.bind(Domctl).toConstantValue(this.#domctl());
    this.dom0.container.bind(Toolstack).toSelf().inSingletonScope();
  }

  /** Makes a machine, with dom0 running in it and nothing else. */
  static async create(options: LocalMachineOptions = {}): Promise<LocalMachine> {
    const machine = new LocalMachine(options);
    const store = machine.dom0.get(XenStore);
    // What libxl's init-xenstore-domain leaves: dom0's own directory, and the ones that everything else lies in.
    await store.write('/local/domain/0/name', 'Domain-0');
    await store.write('/local/domain/0/domid', '0');
    await store.mkdir('/libxl');
    return machine;
  }

  override get log$(): Observable<MachineLogEntry> {
    return this.#log$.asObservable();
  }

  override get reports$(): Observable<Report> {
    return this.#reports$.asObservable();
  }

  override get shutdowns$(): Observable<Shutdown> {
    return this.#shutdowns$.asObservable();
  }

  /** Calls `listener` with the name of whoever runs next, each time: the order that the seed decides. */
  onPick(listener: (name: string) => void): void {
    this.#scheduler.onPick = listener;
  }

  override async guest(name: string, abi?: Abi): Promise<Domain> {
    const domid = await this.boot({ name, ...(abi === undefined ? {} : { abi }) });
    return this.#domain(domid).domain;
  }

  override ledger(): readonly DomainLedger[] {
    return [...this.#domains.values()].map(({ domain, grants, introduced }) => {
      const { domid, name } = domain;
      // What was parked and has been let go of since is nobody's.
      grants.reclaim(Number.MAX_SAFE_INTEGER);
      const counts = this.hypervisor.ledger(domid);
      const { unbound, interdomain } = counts.ports;
      // Every domain has one channel, one grant and one page for its store ring, which the store maps when it is introduced.
      return {
        domid,
        name,
        ports: unbound + interdomain - 1,
        grants: counts.grants - 1,
        mapped: counts.grantsInUse - (introduced ? 1 : 0),
        mappings: counts.mappings,
        pages: counts.pages - grants.counts.pooled - 1,
        ...this.#server.openBy(domid),
      };
    });
  }

  override quiesce(): void {
    for (const { domain } of this.#domains.values()) domain[Symbol.dispose]();
  }

  override idle(): Promise<void> {
    return this.#scheduler.idle();
  }

  override [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return Promise.resolve();
    this.#disposed = true;
    for (const domid of [...this.#domains.keys()]) this.#kill(domid);
    this.dom0[Symbol.dispose]();
    this.#server[Symbol.dispose]();
    this.#scheduler.stop();
    this.#log$.complete();
    this.#reports$.complete();
    this.#shutdowns$.complete();
    return Promise.resolve();
  }

  #domctl(): Domctl {
    return {
      create: (config) => Promise.resolve().then(() => this.#create(config)),
      unpause: (domid) => this.#unpause(domid),
      destroy: (domid) => Promise.resolve().then(() => this.#kill(domid)),
    };
  }

  #create(config: DomainConfig): Domid {
    const domid = asDomid(this.#nextDomid);
    const abi = config.abi ?? 'x86_64-abi';
    check(this.hypervisor.domains.create(DOM0, { domid, abi }), `domain ${domid}`);
    this.#nextDomid++;
    const domain = new Domain(domid, config.name, abi);
    const place = this.#place(domain);
    const { channels, grants } = place;
    try {
      const storeFrame = check(this.hypervisor.pages.populate(DOM0, domid, 1), `the store ring of domain ${domid}`);
      this.hypervisor.grantEntries.grantAccess(domid, GNTTAB_RESERVED_XENSTORE, DOM0, storeFrame, false);
      const storeChannel = channels.allocUnbound(DOM0);
      bindLocal(domain, config, {
        clock: this.#clock,
        channels,
        grants,
        store: new RingXenStore(grants.adopt(storeFrame), storeChannel),
        log: this.#write,
        report: this.#report,
      });
      const storePort = storeChannel.port;
      this.#domains.set(domid, { domain, config, ...place, storePort, introduced: false, shutdown: false });
    } catch (error) {
      this.#displace(place);
      this.hypervisor.destroyDomain(DOM0, domid);
      throw error;
    }
    return domid;
  }

  async #unpause(domid: Domid): Promise<void> {
    const entry = this.#domain(domid);
    if (entry.introduced) throw new XenError('EINVAL', `domain ${domid} runs already`);
    this.#server.introduce(domid, entry.storePort);
    entry.introduced = true;
    const { domain, config } = entry;
    if (config.module === undefined) return;
    const url = String(config.module);
    try {
      boot(domain, await this.#scheduler.hold(() => import(url)), url);
      if (domain.container.isBound(Program)) this.#run(domid, domain.get(Program));
    } catch (error) {
      const { message } = asError(error);
      throw new Error(message.includes(url) ? message : `${url} does not load: ${message}`, { cause: error });
    }
  }

  #run(domid: Domid, program: Program): void {
    // What it throws before it first waits is a crash as any other.
    const running = new Promise<void>((resolve) => resolve(program.run()));
    running.then(
      () => this.#stopped({ domid, reason: 'poweroff' }),
      (error: unknown) => this.#stopped({ domid, reason: 'crash', error: asError(error) }),
    );
  }

  #stopped(shutdown: Shutdown): void {
    const entry = this.#domains.get(shutdown.domid);
    if (entry === undefined) return;
    entry.shutdown = true;
    if (shutdown.error !== undefined) {
      this.#write(entry.domain, { level: 'error', source: 'program', text: `crashed: ${shutdown.error.message}` });
    }
    this.#server.checkDomains();
    this.#outbox.post(() => this.#shutdowns$.next(shutdown));
  }

  /** Ends a domain as a crash would: Xen takes everything from it first; then its code is told, which can do no more. */
  #kill(domid: Domid): void {
    const entry = this.#domain(domid);
    const { domain } = entry;
    this.#domains.delete(domid);
    this.#displace(entry);
    check(this.hypervisor.destroyDomain(DOM0, domid), `domain ${domid}`);
    try {
      domain[Symbol.dispose]();
    } catch (error) {
      this.#fault(domain.name, error);
    }
    if (!this.#disposed) this.#server.checkDomains();
  }

  /** What each domain has on this machine, dom0 too. */
  #place(domain: Domain): Pick<LocalDomain, 'channels' | 'grants' | 'queue' | 'runnable'> {
    const { domid, name } = domain;
    const channels = new HypervisorEventChannels(this.hypervisor, domid, (error) => this.#fault(name, error));
    const grants = new HypervisorGrantTable(this.hypervisor, domid);
    const { doorbell } = this.hypervisor;
    const runnable = {
      name,
      ready: () => doorbell.hasUpcall(domid),
      run: () => {
        doorbell.wake(domid);
        channels.enter();
        doorbell.rest(domid, parkedState);
      },
    };
    doorbell.rest(domid, parkedState);
    this.#scheduler.add(runnable);
    return { channels, grants, queue: this.#queue(name), runnable };
  }

  #displace({ queue, runnable }: Pick<LocalDomain, 'queue' | 'runnable'>): void {
    this.#scheduler.remove(queue);
    this.#scheduler.remove(runnable);
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
    const domain = [...this.#domains.values()].find((entry) => entry.domain.name === name)?.domain ?? this.dom0;
    const { stack } = asError(error);
    this.#write(domain, {
      level: 'error',
      source: name,
      text: errorText(error),
      ...(stack === undefined ? {} : { stack }),
    });
  }

  readonly #write = (domain: Domain, entry: LogEntry): void => {
    // A domain that is gone has nothing to say: what fails in its code now fails because it is gone.
    if (domain !== this.dom0 && !this.#domains.has(domain.domid)) return;
    this.#log$.next({ ...entry, time: this.#clock.now(), domid: domain.domid, domain: domain.name });
  };

  readonly #report = (domid: Domid, value: Plain): void => {
    this.#outbox.post(() => this.#reports$.next({ domid, value }));
  };
}

const check = (result: number, what: string): number => {
  if (result < 0) throw new XenError(-result, what);
  return result;
};
