import { inject, injectable, optional } from 'inversify';
import { CommandLine, type Plain, SECTOR_SIZE } from '../../../core/index.js';
import { type Disk, type DiskRequest, Disks } from '../disk.js';
import { AsyncRawDisk } from './async-raw-disk.js';
import { RawDisk } from './raw-disk.js';

/** What a domain's command line says of its disks: `{ sectorSize: 4096, io: 'async' }`. */
interface DiskSettings {
  readonly sectorSize: number;
  readonly io: 'sync' | 'async';
}

const settingsOf = (cmdline: Plain): DiskSettings => {
  const { sectorSize = SECTOR_SIZE, io = 'sync' } = {
    ...(typeof cmdline === 'object' ? (cmdline as { readonly [key: string]: Plain }) : {}),
  };
  if (typeof sectorSize !== 'number')
    throw new TypeError('sectorSize on the command line of a block domain is a number');
  if (io !== 'sync' && io !== 'async')
    throw new TypeError("io on the command line of a block domain is 'sync' or 'async'");
  return { sectorSize, io };
};

/** Disks that are raw image files: `params` is the path. */
@injectable()
export class RawDisks extends Disks {
  readonly #settings: DiskSettings;

  /** @param commandLine may say `sectorSize`, 512 without it; and `io`, `'sync'` without it */
  constructor(@inject(CommandLine) @optional() commandLine?: CommandLine) {
    super();
    this.#settings = settingsOf(commandLine?.value);
  }

  open({ params, mode }: DiskRequest): Disk {
    const { sectorSize, io } = this.#settings;
    return io === 'async' ? new AsyncRawDisk(params, { mode, sectorSize }) : new RawDisk(params, { mode, sectorSize });
  }
}
