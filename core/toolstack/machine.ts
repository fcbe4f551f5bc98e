import { filter, firstValueFrom, map, type Observable, type Subscription } from 'rxjs';
import type { Abi } from '../abi/layout.js';
import type { Domid } from '../abi/units.js';
import type { Domain } from '../domain/domain.js';
import type { DomainConfig, Plain, Shutdown } from '../domain/domctl.js';
import type { HostInterrupt } from '../domain/host-interrupt.js';
import type { LogEntry } from '../domain/log.js';
import { XenError } from '../errors.js';
import type { debugKeys } from './debug-keys.js';
import { Toolstack } from './toolstack.js';
import { unlessGone } from './unless-gone.js';

/** A line of the log as the machine gives it out. */
export interface MachineLogEntry extends LogEntry {
  /** Milliseconds since the machine's boot. */
  readonly time: number;
  readonly domid: Domid;
  /** The domain's name. */
  readonly domain: string;
}

/** A value that a domain's program has reported. */
export interface Report {
  readonly domid: Domid;
  readonly value: Plain;
}

/** What a domain holds besides its store ring and its own memory: each number is zero when all devices are gone. */
export interface DomainLedger {
  readonly domid: Domid;
  readonly name: string;
  /** Event channels that are open. */
  readonly ports: number;
  /** Grants that are published, parked ones among them. */
  readonly grants: number;
  /** Grants of the domain that others have mapped. */
  readonly mapped: number;
  /** Pages of others that this domain has mapped. */
  readonly mappings: number;
  /** Pages handed out to the domain's code. */
  readonly pages: number;
  /** Watches in the store. */
  readonly watches: number;
  /** Transactions open in the store. */
  readonly transactions: number;
}

/** A whole machine to run domains on, whatever the platform: dom0 with its toolstack, and what comes out of the domains. */
export abstract class Machine implements AsyncDisposable {
  /** The privileged domain that the toolstack runs in. */
  abstract readonly dom0: Domain;
  /** What the domains log. */
  abstract readonly log$: Observable<MachineLogEntry>;
  /** What the domains' programs report. */
  abstract readonly reports$: Observable<Report>;
  /** Domains that end by themselves: powered off or crashed. */
  abstract readonly shutdowns$: Observable<Shutdown>;

  /**
   * A new domain whose code is the caller's own, in the caller's thread.
   * @param abi how it lays its structs out; x86_64-abi without it
   * @param vcpus how many vCPUs it has; 1 without it
   * @throws XenError as {@link Toolstack.create}
   */
  abstract guest(name: string, abi?: Abi, vcpus?: number): Promise<Domain>;
  /** What each domain but dom0 holds now; pages that its code has given back do not count. */
  abstract ledger(): Promise<readonly DomainLedger[]>;
  /** Ends what the code of all domains listens to, as if they had nothing more to do; the domains stay. */
  abstract quiesce(): void;
  /** How a domain has ended by itself; undefined for one that has not, and one that was destroyed since. */
  abstract lastShutdown(domid: Domid): Shutdown | undefined;
  /**
   * What the hypervisor prints on its console when it is sent one of the {@link debugKeys} (`xl debug-keys`), line by line.
   * @throws RangeError for a key that has no handler; XenError EOPNOTSUPP where the machine's console cannot be read
   */
  abstract debugKey(key: string): Promise<string>;
  /**
   * Takes interrupts of the host from these sources, until they complete or the subscription is ended. Which domain gets one,
   * `Physdev.mapPirq` says. @throws RangeError for a number that the host cannot have, and for one that has a source; XenError ENOSYS on a
   * platform whose host has its own
   * @param interrupts those that are bound to {@link HostInterrupt} in dom0, and have not been taken yet, without it
   */
  attach(_interrupts?: readonly HostInterrupt[]): Subscription {
    throw new XenError('ENOSYS', 'sources of interrupts, on a platform whose host has its own');
  }

  /** Resolves when nothing is left to do before the next timer. */
  abstract idle(): Promise<void>;
  /** Ends all domains, and the machine. */
  abstract [Symbol.asyncDispose](): Promise<void>;

  /** What xl would do. */
  get toolstack(): Toolstack {
    return this.dom0.get(Toolstack);
  }

  /** Makes a domain and lets it run its module. @throws when the module does not load; the domain is then gone */
  async boot(config: DomainConfig): Promise<Domid> {
    const domid = await this.toolstack.create(config);
    try {
      await this.toolstack.unpause(domid);
    } catch (error) {
      await this.toolstack.destroy(domid).catch(unlessGone);
      throw error;
    }
    return domid;
  }

  /** How a domain ends by itself, or has ended, as long as the toolstack has not destroyed it. @throws EmptyError when it never does */
  shutdownOf(domid: Domid): Promise<Shutdown> {
    const ended = this.lastShutdown(domid);
    if (ended !== undefined) return Promise.resolve(ended);
    return firstValueFrom(this.shutdowns$.pipe(filter((shutdown) => shutdown.domid === domid)));
  }

  /** What one domain's program reports. */
  reportsOf$(domid: Domid): Observable<Plain> {
    return this.reports$.pipe(
      filter((report) => report.domid === domid),
      map(({ value }) => value),
    );
  }
}
