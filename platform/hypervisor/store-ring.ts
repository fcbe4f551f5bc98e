import { DOM0, type Domid, type Port } from '../../core/abi/units.js';
import { XenError } from '../../core/errors.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { GNTTAB_RESERVED_XENSTORE } from '../../xenstore/index.js';

/** A domain's own end of its line to the store. */
export interface StoreRingPlace {
  readonly frame: number;
  readonly port: Port;
}

/**
 * Gives a new domain what it reaches the store by, as the domain builder does: a page, granted to dom0 as reference 1, and a port that dom0 may
 * bind. @throws XenError ENOMEM, ENOSPC
 */
export const buildStoreRing = (hypervisor: Hypervisor, domid: Domid): StoreRingPlace => {
  const frame = checked(hypervisor.pages.populate(DOM0, domid, 1), `the store ring of domain ${domid}`);
  hypervisor.grantEntries.grantAccess(domid, GNTTAB_RESERVED_XENSTORE, DOM0, frame, false);
  const port = checked(hypervisor.eventChannels.allocUnbound(DOM0, domid, DOM0), `the store port of domain ${domid}`);
  return { frame, port: port as Port };
};

/** A call's result. @throws XenError for one that says -errno */
export const checked = (result: number, what: string): number => {
  if (result < 0) throw new XenError(-result, what);
  return result;
};
