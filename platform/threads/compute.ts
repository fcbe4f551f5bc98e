import type { Domid } from '../../core/abi/units.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import type { GuestEntry } from '../hypervisor/guest-entry.js';
import type { Spend } from '../hypervisor/vcpu.js';

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
