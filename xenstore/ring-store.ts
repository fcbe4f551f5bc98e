import type { EventChannel } from '../core/domain/event-channels.js';
import type { Page } from '../core/domain/grant-table.js';
import { GuestRing } from './ring-page.js';
import { WireXenStore } from './wire-store.js';

/** A guest's client of the store, over its XenStore ring page and event channel (docs/misc/xenstore-ring.txt). */
export class RingXenStore extends WireXenStore {
  /**
   * @param page the domain's own ring page, which it grants as reference 1
   * @param channel the domain's end of the channel to the store; page and channel are this client's from now on
   */
  constructor(page: Page, channel: EventChannel) {
    super(new GuestRing(page, channel));
  }
}
