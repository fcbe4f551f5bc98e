import {
  Clock,
  CommandLine,
  type Domain,
  type DomainConfig,
  type Domid,
  EventChannels,
  GrantTable,
  Log,
  type LogEntry,
  Offer,
  type Plain,
  type Port,
  Reporter,
  XenStore,
} from '../../core/index.js';
import type { HypervisorEventChannels } from '../hypervisor/event-channels.js';
import type { HypervisorGrantTable } from '../hypervisor/grant-table.js';
import type { LocalClock } from './local-clock.js';
import type { Runnable, TaskQueue } from './scheduler.js';

/** Everything of a domain that the machine keeps. */
export interface LocalDomain {
  readonly domain: Domain;
  readonly config: DomainConfig;
  readonly channels: HypervisorEventChannels;
  readonly grants: HypervisorGrantTable;
  readonly queue: TaskQueue;
  /** Enters the domain when it has an upcall. */
  readonly runnable: Runnable;
  /** The domain's end of its channel to the store. */
  readonly storePort: Port;
  /** Whether the domain runs, and the store serves it. */
  introduced: boolean;
  shutdown: boolean;
}

/** What a domain's bindings need of the machine. */
export interface LocalBindings {
  readonly clock: LocalClock;
  readonly channels: EventChannels;
  readonly grants: GrantTable;
  readonly store: XenStore;
  readonly log: (domain: Domain, entry: LogEntry) => void;
  readonly report: (domid: Domid, value: Plain) => void;
}

/** Binds the tokens of core/domain in a domain of the local platform. */
export const bindLocal = (domain: Domain, config: DomainConfig, bindings: LocalBindings): void => {
  const { container } = domain;
  container.bind(Clock).toConstantValue(bindings.clock);
  container.bind(EventChannels).toConstantValue(bindings.channels);
  container.bind(GrantTable).toConstantValue(bindings.grants);
  container.bind(XenStore).toConstantValue(bindings.store);
  container.bind(Log).toConstantValue({ write: (entry) => bindings.log(domain, entry) });
  // What crosses to another domain is a copy, as it is where domains are threads.
  container.bind(Reporter).toConstantValue({
    report: (value) => bindings.report(domain.domid, structuredClone(value)),
  });
  container.bind(CommandLine).toConstantValue({ value: structuredClone(config.cmdline) });
  if (config.offer !== undefined) container.bind(Offer).toConstantValue({ values: structuredClone(config.offer) });
};
