export { DirectXenStore } from './direct-store.js';
export type { DomainInfo, DomainState } from './domains.js';
export { localChannelPair, type Post } from './local-channel.js';
export { GNTTAB_RESERVED_XENSTORE, ringPage } from './ring-page.js';
export { RingXenStore } from './ring-store.js';
export { XenStoreServer, type XenStoreServerOptions } from './server.js';
export type { StoreTransport } from './transport.js';
export { WireXenStore } from './wire-store.js';
