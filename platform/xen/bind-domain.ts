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
  XenError,
  XenStore,
} from '../../core/index.js';

/** What stands behind the tokens of a domain. */
export interface XenBindings {
  readonly clock: Clock;
  readonly channels: EventChannels;
  readonly grants: GrantTable;
  readonly store: XenStore;
  readonly log: (entry: LogEntry) => void;
  readonly report: (value: Plain) => void;
}

/** What a process of a domain does not have: its kernel has it. */
const kernels = [
  [Traps, 'virtual exceptions'],
  [Vcpus, 'vCPUs'],
  [Sched, 'scheduling operations'],
  [Physdev, 'physical interrupts'],
] as const;

/** Binds the tokens of core/domain in a domain of real Xen; those that a process does not have refuse with ENOSYS when they are asked for. */
export const bindXenDomain = (
  { container }: Domain,
  { cmdline, offer }: Pick<DomainConfig, 'cmdline' | 'offer'>,
  { clock, channels, grants, store, log, report }: XenBindings,
): void => {
  container.bind(Clock).toConstantValue(clock);
  container.bind(EventChannels).toConstantValue(channels);
  container.bind(GrantTable).toConstantValue(grants);
  container.bind(XenStore).toConstantValue(store);
  container.bind(Log).toConstantValue({ write: log });
  container.bind(Reporter).toConstantValue({ report });
  container.bind(CommandLine).toConstantValue({ value: cmdline });
  if (offer !== undefined) container.bind(Offer).toConstantValue({ values: offer });
  for (const [token, what] of kernels) {
    container.bind<unknown>(token).toDynamicValue(() => {
      throw new XenError('ENOSYS', `a process in a domain of real Xen has no ${what}: its kernel has them`);
    });
  }
};
