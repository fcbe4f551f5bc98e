import type { XenStoreServer } from './server.js';
import { WireXenStore } from './wire-store.js';

/** The client of a program that runs in the store's own domain, dom0: the same messages, over a page within the program. */
export class DirectXenStore extends WireXenStore {
  constructor(server: XenStoreServer) {
    super(server.open());
  }
}
