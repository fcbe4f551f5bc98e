import type { Domid } from '../../core/abi/units.js';
import { XenError } from '../../core/errors.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';

/**
 * The domain that an adapter makes calls for. A domid is used again after its domain's end, and what the old domain left
 * behind in this thread must not touch the new one.
 */
export class OwnDomain {
  readonly #incarnation: number;

  /** @throws RangeError when there is no such domain */
  constructor(
    readonly hypervisor: Hypervisor,
    readonly domid: Domid,
  ) {
    this.#incarnation = hypervisor.domains.incarnation(domid);
    if (this.#incarnation === 0) throw new RangeError(`domain ${domid} does not exist: create it first`);
  }

  /** Whether the domain has been destroyed, be there another of its number or not. */
  get isGone(): boolean {
    return this.hypervisor.domains.incarnation(this.domid) !== this.#incarnation;
  }

  /** This, for a call that needs the domain. @throws XenError ESRCH when it has been destroyed */
  get alive(): this {
    if (this.isGone) throw new XenError('ESRCH', `domain ${this.domid} has been destroyed`);
    return this;
  }
}
