import { type Observable, Subject, Subscription } from 'rxjs';
import { DOM0 } from '../../core/abi/units.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { control } from '../../core/hypervisor/layout.js';
import { shutdownReason } from '../../core/hypervisor/sched.js';
import {
  type DomainConfig,
  Domctl,
  type Domid,
  errorText,
  HostInterrupt,
  Log,
  type Plain,
  type Shutdown,
  XenError,
  XenStore,
} from '../../core/index.js';
import {
  asDebugKey,
  type DebugKey,
  keysHelp,
  Machine,
  type MachineLogEntry,
  type Report,
  Toolstack,
} from '../../core/toolstack/index.js';
import type { DomainInfo } from '../../xenstore/index.js';

/** What any machine over our own Xen can be made with. */
export interface HypervisorMachineOptions {
  /** Sources of the host's interrupts, as for {@link HypervisorMachine.attach}. Default none. */
  readonly interrupts?: readonly HostInterrupt[];
}

/** A machine's own calls behind {@link Domctl}. */
export interface DomainCalls {
  readonly create: (config: DomainConfig) => Domid;
  /** Lets a domain that was made run its module. */
  readonly start: (domid: Domid) => Promise<void>;
  /** Whether a domain was started; @throws XenError ESRCH */
  readonly isStarted: (domid: Domid) => boolean;
  /** A domain that had shut down goes on. */
  readonly resumed: (domid: Domid) => void;
  readonly destroy: (domid: Domid) => void | Promise<void>;
}

/** What the machines over our own Xen have in common: where what comes out of the domains is heard, and what dom0 is furnished with. */
export abstract class HypervisorMachine extends Machine {
  abstract readonly hypervisor: Hypervisor;
  readonly #log$ = new Subject<MachineLogEntry>();
  readonly #reports$ = new Subject<Report>();
  readonly #shutdowns$ = new Subject<Shutdown>();
  readonly #interrupts = new Map<number, HostInterrupt>();
  readonly #sources = new Subscription();

  override get log$(): Observable<MachineLogEntry> {
    return this.#log$.asObservable();
  }

  override get reports$(): Observable<Report> {
    return this.#reports$.asObservable();
  }

  override get shutdowns$(): Observable<Shutdown> {
    return this.#shutdowns$.asObservable();
  }

  /** What a domain is called; undefined when there is none, or none any more. */
  protected abstract nameOf(domid: Domid): string | undefined;

  override async debugKey(key: string): Promise<string> {
    const nameOf = (domid: Domid): string | undefined => this.nameOf(domid);
    const handlers: Readonly<Record<DebugKey, () => string>> = {
      e: () => this.hypervisor.eventDump.text(nameOf),
      g: () => this.hypervisor.grantDump.text(nameOf),
      h: keysHelp,
    };
    return handlers[asDebugKey(key)]();
  }

  /** As {@link Machine.attach}, in this thread. When a source ends, its line is down; one that fails is logged. */
  override attach(interrupts: readonly HostInterrupt[] = this.#bound()): Subscription {
    const all = new Subscription();
    this.#sources.add(all);
    try {
      for (const interrupt of interrupts) all.add(this.#attach(interrupt));
    } catch (error) {
      // Who is refused gets no way to end those before it.
      all.unsubscribe();
      throw error;
    }
    return all;
  }

  #bound(): readonly HostInterrupt[] {
    const { container } = this.dom0;
    const bound = container.isBound(HostInterrupt) ? container.getAll(HostInterrupt) : [];
    return bound.filter((interrupt) => this.#interrupts.get(interrupt.irq) !== interrupt);
  }

  #attach(interrupt: HostInterrupt): Subscription {
    const { irq, trigger, line$ } = interrupt;
    const { pirqs } = this.hypervisor;
    if (this.#interrupts.has(irq)) throw new RangeError(`host interrupt ${irq} has a source already: end that first`);
    pirqs.setTrigger(irq, trigger);
    this.#interrupts.set(irq, interrupt);
    const subscription = new Subscription(() => {
      this.#interrupts.delete(irq);
      pirqs.setLine(irq, false);
    });
    subscription.add(
      line$.subscribe({
        next: (asserted) => pirqs.setLine(irq, asserted),
        error: (error) => {
          const text = `the source of host interrupt ${irq} failed: ${errorText(error)}`;
          this.dom0.get(Log).write({ level: 'error', source: 'interrupts', text });
          subscription.unsubscribe();
        },
        complete: () => subscription.unsubscribe(),
      }),
    );
    return subscription;
  }

  protected logged(entry: MachineLogEntry): void {
    this.#log$.next(entry);
  }

  protected reported(domid: Domid, value: Plain): void {
    this.#reports$.next({ domid, value });
  }

  protected hasShutDown(shutdown: Shutdown): void {
    this.#shutdowns$.next(shutdown);
  }

  /** Nothing more comes out of any domain. */
  protected complete(): void {
    this.#sources.unsubscribe();
    this.#log$.complete();
    this.#reports$.complete();
    this.#shutdowns$.complete();
  }

  /** What the store asks of the hypervisor, and of the machine, which knows who has shut down. */
  protected readonly domainInfo: DomainInfo = (domid) => {
    const life = domid === 0 ? 'alive' : this.hypervisor.domains.lifeOf(domid);
    if (life === 'none') return undefined;
    if (life !== 'alive') return 'dying';
    return this.lastShutdown(domid) === undefined ? 'running' : 'shutdown';
  };

  /** Lets dom0 make and unmake domains. */
  protected privilege({ create, start, isStarted, resumed, destroy }: DomainCalls): void {
    const { sched, memory } = this.hypervisor;
    const isPaused = (domid: Domid): boolean =>
      memory.words[memory.control(memory.slotOf(domid)) + control.pauseCount] !== 0;
    const domctl: Domctl = {
      create: (config) => Promise.resolve().then(() => create(config)),
      unpause: async (domid) => {
        if (!isStarted(domid) && !isPaused(domid)) await start(domid);
        else orThrow(sched.unpause(DOM0, domid), `XEN_DOMCTL_unpausedomain of domain ${domid}: is it paused?`);
      },
      pause: async (domid) => orThrow(sched.pause(DOM0, domid), `XEN_DOMCTL_pausedomain of domain ${domid}`),
      shutdown: async (domid, reason) => {
        const result = sched.remoteShutdown(DOM0, domid, shutdownReason[reason]);
        orThrow(result, `SCHEDOP_remote_shutdown of domain ${domid} as ${reason}`);
      },
      resume: async (domid) => {
        orThrow(sched.resume(DOM0, domid), `XEN_DOMCTL_resumedomain of domain ${domid}`);
        resumed(domid);
      },
      destroy: (domid) => Promise.resolve().then(() => destroy(domid)),
    };
    this.dom0.container.bind(Domctl).toConstantValue(domctl);
    this.dom0.container.bind(Toolstack).toSelf().inSingletonScope();
  }

  /** What libxl's init-xenstore-domain leaves: dom0's own directory, and the ones that everything else lies in. */
  protected async furnishStore(): Promise<void> {
    const store = this.dom0.get(XenStore);
    await store.write('/local/domain/0/name', 'Domain-0');
    await store.write('/local/domain/0/domid', '0');
    await store.mkdir('/libxl');
  }
}

const orThrow = (result: number, what: string): void => {
  if (result < 0) throw new XenError(-result, what);
};
