import {
  Clock,
  CommandLine,
  type Domain,
  type DomainConfig,
  EventChannels,
  GrantTable,
  Log,
  type LogEntry,
  Offer,
  Physdev,
  type Plain,
  Reporter,
  Sched,
  Traps,
  Vcpus,
  XenStore,
} from '../../core/index.js';

/** What stands behind the tokens of a domain. */
export interface DomainBindings {
  readonly clock: Clock;
  readonly channels: EventChannels;
  readonly grants: GrantTable;
  readonly physdev: Physdev;
  readonly store: XenStore;
  /** Called when the domain's code first asks for its vCPUs. */
  readonly vcpus: () => Vcpus;
  readonly sched: Sched;
  readonly log: (entry: LogEntry) => void;
  readonly report: (value: Plain) => void;
  /** Called when the domain's code first asks for its virtual exceptions, if it does. */
  readonly traps: () => Traps;
}

/** Binds the tokens of core/domain in a domain of our Xen. What it was made with is its own: whoever hands it over has copied it. */
export const bindDomain = (
  domain: Domain,
  { cmdline, offer }: Pick<DomainConfig, 'cmdline' | 'offer'>,
  { clock, channels, grants, physdev, store, vcpus, sched, log, report, traps }: DomainBindings,
): void => {
  const { container } = domain;
  container.bind(Clock).toConstantValue(clock);
  container.bind(EventChannels).toConstantValue(channels);
  container.bind(GrantTable).toConstantValue(grants);
  container.bind(Physdev).toConstantValue(physdev);
  container.bind(XenStore).toConstantValue(store);
  container.bind(Vcpus).toDynamicValue(vcpus).inSingletonScope();
  container.bind(Sched).toConstantValue(sched);
  container.bind(Traps).toDynamicValue(traps).inSingletonScope();
  container.bind(Log).toConstantValue({ write: log });
  container.bind(Reporter).toConstantValue({ report });
  container.bind(CommandLine).toConstantValue({ value: cmdline });
  if (offer !== undefined) container.bind(Offer).toConstantValue({ values: offer });
};
