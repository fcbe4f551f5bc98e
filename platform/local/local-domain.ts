import type { Domain, DomainConfig, Shutdown } from '../../core/index.js';
import type { HypervisorEventChannels } from '../hypervisor/event-channels.js';
import type { HypervisorGrantTable } from '../hypervisor/grant-table.js';
import type { GuestEntry } from '../hypervisor/guest-entry.js';
import type { StoreRingPlace } from '../hypervisor/store-ring.js';
import type { LocalVcpu } from './local-vcpu.js';
import type { TaskQueue } from './scheduler.js';

/** Everything of a domain that the machine keeps. */
export interface LocalDomain {
  readonly domain: Domain;
  readonly config: DomainConfig;
  readonly channels: HypervisorEventChannels;
  readonly grants: HypervisorGrantTable;
  readonly queue: TaskQueue;
  /** How its vCPUs are entered. */
  readonly entry: GuestEntry;
  /** Each enters its vCPU when that is to run. */
  readonly vcpus: readonly LocalVcpu[];
  /** The domain's own end of its line to the store. */
  readonly store: StoreRingPlace;
  /** Whether the domain runs, and the store serves it. */
  introduced: boolean;
  /** How it has ended by itself. */
  shutdown: Shutdown | undefined;
}
