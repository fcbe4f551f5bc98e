import { inject, optional } from 'inversify';
import { type FrontendValues, type FrontLink, type FrontNegotiation, frontend } from '../../core/index.js';
import { BlockDevice } from './block-device.js';
import { blk } from './protocol.js';

/** What a guest's disks do without, if its module binds it. */
export abstract class BlkFeatures {
  /** Whether the backend is let keep pages mapped (`feature-persistent`; blkfront's module parameter of that name); yes without it. */
  abstract readonly persistent: boolean;
}

/** A guest's end of a disk of class `vbd`. */
@frontend(blk)
export class BlkFrontend {
  readonly #persistent: boolean;

  constructor(@inject(BlkFeatures) @optional() features?: BlkFeatures) {
    this.#persistent = features?.persistent ?? true;
  }

  /** Persistent grants are offered whether the backend has said that it can or not: Linux says so only when it connects. */
  negotiate(_negotiation: FrontNegotiation<typeof blk>): FrontendValues<typeof blk> {
    return { 'feature-persistent': this.#persistent };
  }

  connect(link: FrontLink<typeof blk>): BlockDevice {
    return new BlockDevice(link);
  }
}
