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
  type Plain,
  Reporter,
  XenStore,
} from '../../core/index.js';

/** What stands behind the tokens that a domain's code has on every platform, in a domain of its own or in a process of one. */
export interface ProcessBindings {
  readonly clock: Clock;
  readonly channels: EventChannels;
  readonly grants: GrantTable;
  readonly store: XenStore;
  readonly log: (entry: LogEntry) => void;
  readonly report: (value: Plain) => void;
}

/** Binds those tokens. What the domain was made with is its own: whoever hands it over has copied it. */
export const bindProcess = (
  { container }: Domain,
  { cmdline, offer }: Pick<DomainConfig, 'cmdline' | 'offer'>,
  { clock, channels, grants, store, log, report }: ProcessBindings,
): void => {
  container.bind(Clock).toConstantValue(clock);
  container.bind(EventChannels).toConstantValue(channels);
  container.bind(GrantTable).toConstantValue(grants);
  container.bind(XenStore).toConstantValue(store);
  container.bind(Log).toConstantValue({ write: log });
  container.bind(Reporter).toConstantValue({ report });
  container.bind(CommandLine).toConstantValue({ value: cmdline });
  if (offer !== undefined) container.bind(Offer).toConstantValue({ values: offer });
};
