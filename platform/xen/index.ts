export { type OpenStore, openStore, type StoreWay } from './open-store.js';
export { sweep$ } from './sweep.js';
export { toolstackOf } from './toolstack-of.js';
export { XenUnavailable } from './unavailable.js';
export { XenDomain, type XenDomainOptions, type XenHoldings } from './xen-domain.js';
