// The device class `vbd`: a paravirtual disk (blkif.h, xen-vbd-interface(7)).
import { flag, type Key, oneOf, protocol, ring, type Sector, text, uint, type Vdev } from '../../core/index.js';
import { blkifRequest, blkifResponse, blkifRsp } from './wire.js';

/** The bits of the key `info` (blkif.h `VDISK_*`). */
export const vdisk = { cdrom: 1, removable: 2, readonly: 4 } as const satisfies Readonly<Record<string, number>>;

/** Sectors of a page, 0 to 7: what `first_sect` and `last_sect` count, whatever the disk's sector-size (blkif.h). */
export const SECTORS_PER_PAGE = 8;

/** A power of two from 512 to a page's 4096 bytes, since no segment holds more. */
const sectorSize = (fallback?: number): Key<number> => {
  const bytes = uint({ min: 512, max: 4096, ...(fallback === undefined ? {} : { default: fallback }) });
  const power = oneOf(['512', '1024', '2048', '4096']);
  return {
    default: bytes.default,
    parse: (name, value) => Number(power.parse(name, value)),
    show: (name, value) => bytes.show(name, Number(power.parse(name, String(value)))),
  };
};

/** What a frontend and a backend of class `vbd` agree on. */
export const blk = protocol({
  device: 'vbd',
  ring: ring({ request: blkifRequest, response: blkifResponse, id: 'id' }),
  keys: {
    toolstack: {
      backend: {
        params: text(), // which disk: for a raw image, its path
        mode: oneOf(['r', 'w']),
        type: text({ default: 'phy' }),
        dev: text({ default: '' }), // the frontend's name for it
        'device-type': oneOf(['disk', 'cdrom'], { default: 'disk' }),
        removable: flag(),
        bootable: flag(),
        script: text({ default: '' }),
        'discard-enable': flag(),
        'direct-io-safe': flag(),
      },
      frontend: {
        'virtual-device': uint<Vdev>({ max: 0xffffffff }),
        'device-type': oneOf(['disk', 'cdrom'], { default: 'disk' }),
      },
    },
    frontend: {
      Initialised: { 'feature-persistent': flag() },
    },
    backend: {
      // Linux writes its features with Connected; they are read again then.
      InitWait: { 'feature-flush-cache': flag(), 'feature-persistent': flag() },
      Connected: {
        sectors: uint<Sector>(), // 512 bytes each, always
        'sector-size': sectorSize(), // bytes; what requests are aligned to
        'physical-sector-size': uint({ default: 512, min: 512 }), // bytes; a hint
        info: uint({ default: 0, max: 0xffffffff }), // bits of vdisk
      },
    },
  },
  refuse: (rsp, _errno, req) => {
    rsp.operation = req.operation;
    rsp.status = blkifRsp.error;
  },
  repeatable: true,
});
