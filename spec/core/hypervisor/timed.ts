import type { Domid } from '../../../core/abi/units.js';
import type { DomainOptions } from '../../../core/hypervisor/domains.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { MachineMemory } from '../../../core/hypervisor/memory.js';
import { addDomain, dom0, dom1, dom2 } from './machine.js';

/** A small machine whose time is set by hand. */
export interface TimedMachine {
  readonly hypervisor: Hypervisor;
  /** Domids that were rung for. */
  readonly rung: Domid[];
  /** System time in nanoseconds. */
  now: number;
}

/** The wall-clock time at which it boots: a second and a half after 2^32 seconds. */
export const BOOT_TIME = 2 ** 32 * 1000 + 1500;

/** A machine with a privileged domain 0 and guests 1 and 2. */
export const timedMachine = (options: Omit<DomainOptions, 'domid'> = {}): TimedMachine => {
  const rung: Domid[] = [];
  const machine = { now: 5_000_000_000 };
  const hypervisor = new Hypervisor(
    MachineMemory.create({ bytes: 2 * 2 ** 20, domains: 8 }),
    (domid) => rung.push(domid),
    undefined,
    { systemTime: () => machine.now, bootTime: BOOT_TIME },
  );
  addDomain(hypervisor, dom0, { privileged: true });
  for (const domid of [dom1, dom2]) addDomain(hypervisor, domid, options);
  return Object.assign(machine, { hypervisor, rung });
};
