import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { Domain, type LogEntry, type Plain } from '../../core/index.js';
import { RingXenStore } from '../../xenstore/ring-store.js';
import { bindDomain } from '../hypervisor/bind-domain.js';
import { HypervisorEventChannels } from '../hypervisor/event-channels.js';
import { faultEntry } from '../hypervisor/fault-entry.js';
import { HypervisorGrantTable } from '../hypervisor/grant-table.js';
import { GuestEntry } from '../hypervisor/guest-entry.js';
import { HostClock } from '../hypervisor/host-clock.js';
import { HypervisorPhysdev } from '../hypervisor/physdev.js';
import { HypervisorSched } from '../hypervisor/sched.js';
import { HypervisorTraps } from '../hypervisor/traps.js';
import { vcpusOf } from './compute.js';
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
  /** Told of a trap that nobody handles. */
  readonly crashed: (crash: Error) => void;
}

/** A domain in the thread that it runs in. */
export interface House {
  readonly domain: Domain;
  readonly entry: GuestEntry;
  readonly grants: HypervisorGrantTable;
}

/** Makes what a domain's code finds in its thread. */
export const houseDomain = (
  hypervisor: Hypervisor,
  { domid, name, abi, cmdline, offer, storeFrame, storePort, boot }: HousedData,
  { linger, log, report, crashed }: HouseOptions,
): House => {
  const clock = new HostClock(boot);
  const write = (entry: LogEntry): void => log(entry, clock.now());
  const domain = new Domain(domid, name, abi);
  const onError = (error: unknown): void => write(faultEntry(name, error));
  const channels = new HypervisorEventChannels(hypervisor, domid, onError, linger);
  const grants = new HypervisorGrantTable(hypervisor, domid);
  const entry = new GuestEntry(hypervisor, domid, channels, onError);
  entry.dispense();
  bindDomain(
    domain,
    { cmdline, ...(offer === undefined ? {} : { offer }) },
    {
      clock,
      channels,
      grants,
      physdev: new HypervisorPhysdev(hypervisor, domid),
      vcpus: () => vcpusOf(hypervisor, domid, channels, entry),
      sched: new HypervisorSched(hypervisor, domid, entry),
      store: new RingXenStore(grants.adopt(storeFrame), channels.adopt(storePort)),
      log: write,
      report,
      traps: () => new HypervisorTraps({ hypervisor, domid, channels, entry, onError, onCrash: crashed }),
    },
  );
  return { domain, entry, grants };
};
