import { type FrontLink, SECTOR_SIZE, type Sector, XenError } from '../../core/index.js';
import { type blk, vdisk } from './protocol.js';

type Link = Pick<FrontLink<typeof blk>, 'peer' | 'device'>;

const refuse = ({ device }: Link, what: string, sector: Sector, length: number, why: string): never => {
  throw new RangeError(`${device.path}: ${what} of ${length} bytes at sector ${sector}: ${why}`);
};

/** @throws RangeError for what is not aligned to the disk's sectors, or not on the disk */
export const checkRange = (link: Link, what: string, sector: Sector, length: number): void => {
  const { peer } = link;
  const sectorSize = peer['sector-size'];
  // Both sizes are powers of two, and masks a good deal quicker than remainders; only whole numbers have bits to speak of.
  const misaligned = (sector & (sectorSize / SECTOR_SIZE - 1)) | (length & (sectorSize - 1));
  if (misaligned !== 0 || sector < 0 || Math.floor(sector) !== sector || Math.floor(length) !== length) {
    refuse(link, what, sector, length, `both must be multiples of its ${sectorSize} bytes (a sector here has 512)`);
  }
  if (!(sector + length / SECTOR_SIZE <= peer.sectors)) {
    refuse(link, what, sector, length, `it has ${peer.sectors} sectors of 512 bytes`);
  }
};

/** @throws XenError EROFS when the disk is read-only */
export const checkWritable = ({ peer, device }: Link, sector: Sector): void => {
  if ((peer.info & vdisk.readonly) !== 0) throw new XenError('EROFS', `${device.path}: write to sector ${sector}`);
};
