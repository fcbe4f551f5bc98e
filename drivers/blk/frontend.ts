import { type FrontLink, frontend } from '../../core/index.js';
import { BlockDevice } from './block-device.js';
import { blk } from './protocol.js';

/** A guest's end of a disk of class `vbd`. */
@frontend(blk)
export class BlkFrontend {
  connect(link: FrontLink<typeof blk>): BlockDevice {
    return new BlockDevice(link);
  }
}
