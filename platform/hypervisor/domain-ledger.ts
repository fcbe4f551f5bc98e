import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import type { Domain } from '../../core/index.js';
import type { DomainLedger } from '../../core/toolstack/index.js';
import type { XenStoreServer } from '../../xenstore/index.js';

/**
 * What a domain holds besides its store ring: one channel, one grant and one page, which the store maps once it is introduced.
 * @param pooled pages that its code has given back and that are kept for reuse
 */
export const domainLedger = (
  hypervisor: Hypervisor,
  server: XenStoreServer,
  { domid, name }: Pick<Domain, 'domid' | 'name'>,
  { pooled, introduced }: { readonly pooled: number; readonly introduced: boolean },
): DomainLedger => {
  const counts = hypervisor.ledger(domid);
  const { unbound, interdomain } = counts.ports;
  return {
    domid,
    name,
    ports: unbound + interdomain - 1,
    grants: counts.grants - 1,
    mapped: counts.grantsInUse - (introduced ? 1 : 0),
    mappings: counts.mappings,
    pages: counts.pages - pooled - 1,
    ...server.openBy(domid),
  };
};
