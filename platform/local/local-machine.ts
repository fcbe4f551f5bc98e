import { DOMID_XEN } from '../../core/hypervisor/domains.js';
import { parked as parkedState } from '../../core/hypervisor/doorbell.js';
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
} from '../../core/index.js';
import type { DomainLedger } from '../../core/toolstack/index.js';
import { DirectXenStore, RingXenStore, XenStoreServer } from '../../xenstore/index.js';
import { bindDomain } from '../hypervisor/bind-domain.js';
import { domainLedger } from '../hypervisor/domain-ledger.js';
import { HypervisorEventChannels } from '../hypervisor/event-channels.js';
import { faultEntry } from '../hypervisor/fault-entry.js';
import { HypervisorGrantTable } from '../hypervisor/grant-table.js';
import { GuestEntry } from '../hypervisor/guest-entry.js';
import { HypervisorMachine } from '../hypervisor/hypervisor-machine.js';
import { shutdownOf } from '../hypervisor/shutdown-of.js';
import { startDomain } from '../hypervisor/start-domain.js';
import { buildStoreRing, checked } from '../hypervisor/store-ring.js';
import { LocalClock } from './local-clock.js';
import type { LocalDomain } from './local-domain.js';
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
export class LocalMachine extends HypervisorMachine {
  /** The seed that repeats this machine's order of events. */
  readonly seed: number;
  readonly dom0: Domain;
  readonly hypervisor: Hypervisor;
  readonly #scheduler: Scheduler;
  readonly #clock: LocalClock;
  readonly #server: XenStoreServer;
  readonly #domains = new Map<Domid, LocalDomain>();
  readonly #outbox: TaskQueue;
  #nextDomid = 1;
  #disposed = false;

  private constructor({ seed, clock = 'real', memory }: LocalMachineOptions) {
    super();
    this.seed = (seed ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
    this.#clock = new LocalClock(clock === 'simulated');
    this.#scheduler = new Scheduler(this.seed, this.#clock, (name, error) => this.#fault(name, error));
    const wake = (): void => this.#scheduler.wake();
    this.hypervisor = Hypervisor.create(
      memory === undefined ? {} : { bytes: memory },
      wake,
      undefined,
      this.#clock.source,
    );
    this.#outbox = this.#queue('machine');
    checked(this.hypervisor.domains.create(DOMID_XEN, { domid: DOM0, privileged: true }), 'dom0');
    this.dom0 = new Domain(DOM0, 'dom0');
    const { channels, grants, queue } = this.#place(this.dom0);
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
        store: new DirectXenStore(this.#server),
        log: (entry) => this.#write(this.dom0, entry),
        report: (value) => this.#report(DOM0, value),
      },
    );
    this.privilege({
      create: (config) => this.#create(config),
      unpause: (domid) => this.#unpause(domid),
      destroy: (domid) => this.#kill(domid),
    });
  }

  /** Makes a machine, with dom0 running in it and nothing else. */
  static async create(options: LocalMachineOptions = {}): Promise<LocalMachine> {
    const machine = new LocalMachine(options);
    await machine.furnishStore();
    return machine;
  }

  override lastShutdown(domid: Domid): Shutdown | undefined {
    return this.#domains.get(domid)?.shutdown;
  }

  /** Calls `listener` with the name of whoever runs next, each time: the order that the seed decides. */
  onPick(listener: (name: string) => void): void {
    this.#scheduler.onPick = listener;
  }

  override async guest(name: string, abi?: Abi): Promise<Domain> {
    const domid = await this.boot({ name, ...(abi === undefined ? {} : { abi }) });
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

  override [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return Promise.resolve();
    this.#disposed = true;
    for (const domid of [...this.#domains.keys()]) this.#kill(domid);
    this.dom0[Symbol.dispose]();
    this.#server[Symbol.dispose]();
    this.#scheduler.stop();
    this.complete();
    return Promise.resolve();
  }

  #create(config: DomainConfig): Domid {
    const domid = asDomid(this.#nextDomid);
    const abi = config.abi ?? 'x86_64-abi';
    checked(this.hypervisor.domains.create(DOM0, { domid, abi }), `domain ${domid}`);
    this.#nextDomid++;
    const domain = new Domain(domid, config.name, abi);
    const place = this.#place(domain);
    const { channels, grants } = place;
    try {
      const store = buildStoreRing(this.hypervisor, domid);
      // What crosses to another domain is a copy, as it is where domains are threads.
      const { cmdline, offer } = config;
      bindDomain(domain, structuredClone({ cmdline, ...(offer === undefined ? {} : { offer }) }), {
        clock: this.#clock,
        channels,
        grants,
        store: new RingXenStore(grants.adopt(store.frame), channels.adopt(store.port)),
        log: (entry) => this.#write(domain, entry),
        report: (value) => this.#report(domid, value),
      });
      this.#domains.set(domid, { domain, config, ...place, store, introduced: false, shutdown: undefined });
    } catch (error) {
      this.#displace(place);
      this.hypervisor.destroyDomain(DOM0, domid);
      throw error;
    }
    return domid;
  }

  async #unpause(domid: Domid): Promise<void> {
    const { domain, config, store, introduced } = this.#domain(domid);
    if (introduced) throw new XenError('EINVAL', `domain ${domid} runs already`);
    this.#server.introduce(domid, store.port);
    this.#domain(domid).introduced = true;
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
    if (entry === undefined) return;
    const { domain, config } = entry;
    const shutdown = shutdownOf({ domid, name: domain.name, module: config.module }, error);
    entry.shutdown = shutdown;
    if (error !== undefined) {
      this.#write(domain, { level: 'error', source: 'program', text: `crashed: ${error.message}` });
    }
    this.#server.checkDomains();
    this.#outbox.post(() => this.hasShutDown(shutdown));
  }

  /** Ends a domain as a crash would: Xen takes everything from it first; then its code is told, which can do no more. */
  #kill(domid: Domid): void {
    const entry = this.#domain(domid);
    const { domain } = entry;
    this.#domains.delete(domid);
    this.#displace(entry);
    checked(this.hypervisor.destroyDomain(DOM0, domid), `domain ${domid}`);
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
  #place(domain: Domain): Pick<LocalDomain, 'channels' | 'grants' | 'queue' | 'runnable'> {
    const { domid, name } = domain;
    const channels = new HypervisorEventChannels(this.hypervisor, domid, (error) => this.#fault(name, error));
    const grants = new HypervisorGrantTable(this.hypervisor, domid);
    const { doorbell } = this.hypervisor;
    const entry = new GuestEntry(this.hypervisor, domid, channels);
    const runnable = {
      name,
      ready: () => doorbell.hasUpcall(domid),
      run: () => {
        doorbell.wake(domid);
        entry.enterAll();
        entry.leaveAll();
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
    this.#write(domain, faultEntry(name, error));
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
