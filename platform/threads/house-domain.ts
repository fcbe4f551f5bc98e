import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { Domain, type LogEntry, type Plain } from '../../core/index.js';
import { RingXenStore } from '../../xenstore/ring-store.js';
import { bindDomain } from '../hypervisor/bind-domain.js';
import { HypervisorEventChannels } from '../hypervisor/event-channels.js';
import { faultEntry } from '../hypervisor/fault-entry.js';
import { HypervisorGrantTable } from '../hypervisor/grant-table.js';
import { HostClock } from './host-clock.js';
import type { DomainThreadData } from './messages.js';

/** What of a domain is told to its thread as data. */
export type HousedData = Pick<
  DomainThreadData,
  'domid' | 'name' | 'abi' | 'cmdline' | 'offer' | 'storeFrame' | 'storePort' | 'boot'
>;

/** Where a domain's own words go, and how its rings look out for more. */
export interface HouseOptions {
  readonly linger: (isThere: () => boolean) => boolean;
  readonly log: (entry: LogEntry, time: number) => void;
  readonly report: (value: Plain) => void;
}

/** A domain in the thread that it runs in. */
export interface House {
  readonly domain: Domain;
  readonly channels: HypervisorEventChannels;
  readonly grants: HypervisorGrantTable;
}

/** Makes what a domain's code finds in its thread. */
export const houseDomain = (
  hypervisor: Hypervisor,
  { domid, name, abi, cmdline, offer, storeFrame, storePort, boot }: HousedData,
  { linger, log, report }: HouseOptions,
): House => {
  const clock = new HostClock(boot);
  const write = (entry: LogEntry): void => log(entry, clock.now());
  const domain = new Domain(domid, name, abi);
  const channels = new HypervisorEventChannels(hypervisor, domid, (error) => write(faultEntry(name, error)), linger);
  const grants = new HypervisorGrantTable(hypervisor, domid);
  bindDomain(
    domain,
    { cmdline, ...(offer === undefined ? {} : { offer }) },
    {
      clock,
      channels,
      grants,
      store: new RingXenStore(grants.adopt(storeFrame), channels.adopt(storePort)),
      log: write,
      report,
    },
  );
  return { domain, channels, grants };
};
