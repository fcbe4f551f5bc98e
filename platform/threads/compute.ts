import type { Domid } from '../../core/abi/units.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import type { Vcpus } from '../../core/index.js';
import type { HypervisorEventChannels } from '../hypervisor/event-channels.js';
import type { GuestEntry } from '../hypervisor/guest-entry.js';
import type { Spend } from '../hypervisor/vcpu.js';
import { HypervisorVcpus } from '../hypervisor/vcpus.js';

/** Milliseconds of computing between two turns of the event loop, in which events are delivered. */
const PORTION_MS = 1;

/** How a domain's code spends CPU time where it has a thread: the thread computes, until the vCPU has run for so long. */
export const computing = (hypervisor: Hypervisor, domid: Domid, entry: GuestEntry): Spend => {
  const slot = hypervisor.memory.slotOf(domid);
  return async (vcpu, ns) => {
    const received = (): number => hypervisor.runstates.received(slot, vcpu, hypervisor.time.systemTime());
    const release = entry.hold(vcpu);
    try {
      for (const end = received() + ns; received() < end; ) {
        const portion = performance.now() + Math.min(PORTION_MS, (end - received()) / 1e6);
        while (performance.now() < portion);
        entry.expire();
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      release();
    }
  };
};

/**
 * The vCPUs of a domain whose code asks for them. From now on the domain's runstates are kept: they tell what its thread's loop knows. A
 * vCPU runs from its entry until the thread rests, and is blocked then, though callbacks of Node's own event loop run; what the host gives
 * to others meanwhile is not told.
 */
export const vcpusOf = (
  hypervisor: Hypervisor,
  domid: Domid,
  channels: HypervisorEventChannels,
  entry: GuestEntry,
): Vcpus => {
  entry.account();
  return new HypervisorVcpus(hypervisor, domid, channels, entry, computing(hypervisor, domid, entry));
};
