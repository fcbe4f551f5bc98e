import type { Domid } from '../abi/units.js';

/**
 * Why Xen crashes a domain for what a vCPU of its did (`domain_crash`); the domain alone. That vCPU takes nothing any more; who is told
 * so shuts the domain down, as sched.h's SHUTDOWN_crash.
 */
export class DomainCrash extends Error {
  override readonly name = 'DomainCrash';

  constructor(
    readonly domid: Domid,
    readonly vcpu: number,
    why: string,
  ) {
    super(`domain ${domid}, vCPU ${vcpu}: ${why}`);
  }
}
