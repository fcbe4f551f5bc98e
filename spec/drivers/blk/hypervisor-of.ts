import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import type { Machine } from '../../../core/toolstack/index.js';

/** The Xen under a machine of ours, for what a domain can do to its own tables without asking anybody. */
export const hypervisorOf = (machine: Machine): Hypervisor => {
  if ('hypervisor' in machine && machine.hypervisor instanceof Hypervisor) return machine.hypervisor;
  throw new Error('this machine is not one over our own Xen');
};
