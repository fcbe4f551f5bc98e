import { inject, injectable, optional } from 'inversify';
import { CommandLine, type Plain, SECTOR_SIZE } from '../../../core/index.js';
import { type Disk, type DiskRequest, Disks } from '../disk.js';
import { RawDisk } from './raw-disk.js';

/** Bytes that a domain's command line gives its disks' sectors: `{ sectorSize: 4096 }`. */
const sectorSizeOf = (cmdline: Plain): number => {
  if (typeof cmdline !== 'object' || !('sectorSize' in cmdline)) return SECTOR_SIZE;
  const { sectorSize } = cmdline;
  if (typeof sectorSize !== 'number')
    throw new TypeError('sectorSize on the command line of a block domain is a number');
  return sectorSize;
};

/** Disks that are raw image files: `params` is the path. */
@injectable()
export class RawDisks extends Disks {
  readonly #sectorSize: number;

  /** @param commandLine may say `{ sectorSize: 4096 }`; 512 without it */
  constructor(@inject(CommandLine) @optional() commandLine?: CommandLine) {
    super();
    this.#sectorSize = sectorSizeOf(commandLine?.value);
  }

  open({ params, mode }: DiskRequest): Disk {
    return new RawDisk(params, { mode, sectorSize: this.#sectorSize });
  }
}
