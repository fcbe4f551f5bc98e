import type { Domid } from '../../../core/abi/units.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';

/** One call that may be cut short: who makes it, what must be there before, and the call. */
export interface Scene {
  readonly name: string;
  readonly caller: Domid;
  readonly prepare: (hypervisor: Hypervisor) => () => void;
}
