export { BlkBackend } from './backend.js';
export { BlockDevice } from './block-device.js';
export { type Disk, DiskError, type DiskRequest, type DiskResult, Disks } from './disk.js';
export { BlkFeatures, BlkFrontend } from './frontend.js';
export { AsyncRawDisk } from './host/async-raw-disk.js';
export { RawDisk } from './host/raw-disk.js';
export { RawDisks } from './host/raw-disks.js';
export type { RawDiskOptions } from './host/raw-image.js';
export { PageRequests } from './page-requests.js';
export { blk, vdisk } from './protocol.js';
export type { RequestPages } from './request-pages.js';
export type { FillPages, RequestDone } from './ring-requests.js';
export { REQUEST_BYTES } from './transfer.js';
export { type VbdConfig, type VbdKeys, vbdKeys } from './vbd-keys.js';
export { vdevName, vdevOf } from './vdev.js';
export {
  BLKIF_MAX_SEGMENTS_PER_REQUEST,
  blkifOp,
  blkifRequest,
  blkifResponse,
  blkifRsp,
  blkifSegment,
} from './wire.js';
