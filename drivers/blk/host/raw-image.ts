import { closeSync, constants, fstatSync, openSync, type Stats } from 'node:fs';
import { asSector, SECTOR_SIZE, type Sector, XenError } from '../../../core/index.js';
import { DiskError } from '../disk.js';

/** How a raw image is opened. */
export interface RawDiskOptions {
  readonly mode: 'r' | 'w';
  /** Bytes of the disk's sectors: 512, which it is without it, or 4096. */
  readonly sectorSize?: number;
}

const advice: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file; check the path, or make an image with truncate -s 16M',
  ENOTDIR: 'there is no such file; check the path',
  EISDIR: 'is a directory; name a raw image file in it',
  ELOOP: 'is a symbolic link that leads nowhere; name the image file itself',
};

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : String(error);

const openFile = (path: string, mode: 'r' | 'w'): number => {
  try {
    // A FIFO would otherwise wait here for its other end.
    return openSync(path, (mode === 'w' ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NONBLOCK);
  } catch (error) {
    const code = codeOf(error);
    const denied =
      mode === 'w'
        ? `cannot be opened for writing (${code}); make it writable, or have it served read-only`
        : `cannot be read (${code}); make it readable for the user who runs this`;
    throw new DiskError(`${path}: ${advice[code] ?? denied}`);
  }
};

const kindOf = (stats: Stats): string => {
  if (stats.isDirectory()) return 'a directory';
  if (stats.isBlockDevice()) return 'a block device';
  if (stats.isCharacterDevice()) return 'a character device';
  return stats.isFIFO() ? 'a pipe' : 'no file';
};

const checkSize = (path: string, stats: Stats, sectorSize: number): void => {
  if (!stats.isFile()) throw new DiskError(`${path}: is ${kindOf(stats)}; only raw image files are served, name one`);
  if (stats.size === 0) {
    throw new DiskError(`${path}: is empty; give it a size, for example by truncate -s 16M`);
  }
  if (stats.size % sectorSize !== 0) {
    const fitting = Math.ceil(stats.size / sectorSize) * sectorSize;
    throw new DiskError(
      `${path}: its ${stats.size} bytes are no whole number of ${sectorSize}-byte sectors; extend it by truncate -s ${fitting}`,
    );
  }
};

/** A raw image file that is open: what disks over one have in common, however they read and write it. */
export class RawImage {
  readonly path: string;
  readonly sectors: Sector;
  readonly sectorSize: number;
  readonly readOnly: boolean;
  #fd: number | undefined;

  /**
   * @throws DiskError for a file that is missing, no regular file, empty, not to be read or written, or no whole number of sectors;
   * RangeError for another sector size than 512 and 4096
   */
  constructor(path: string, { mode, sectorSize = SECTOR_SIZE }: RawDiskOptions) {
    if (sectorSize !== 512 && sectorSize !== 4096) {
      throw new RangeError(`a raw disk has sectors of 512 or 4096 bytes, not ${sectorSize}`);
    }
    this.path = path;
    this.sectorSize = sectorSize;
    this.readOnly = mode === 'r';
    const fd = openFile(path, mode);
    try {
      const stats = fstatSync(fd);
      checkSize(path, stats, sectorSize);
      this.sectors = asSector(stats.size / SECTOR_SIZE);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    this.#fd = fd;
  }

  /** @throws XenError ENODEV when it was closed */
  get fd(): number {
    if (this.#fd === undefined) throw new XenError('ENODEV', `${this.path} was closed`);
    return this.#fd;
  }

  close(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) closeSync(fd);
  }

  /** What reading nothing at byte `at` means. */
  ended(at: number): XenError {
    return new XenError('EIO', `${this.path} ends at byte ${at}, where it had more when it was opened`);
  }

  /** What writing nothing at byte `at` means. */
  full(at: number): XenError {
    return new XenError('EIO', `${this.path} takes nothing at byte ${at}`);
  }
}

const none: readonly Uint8Array[] = [];

/** What is left of views after their first `done` bytes; almost always nothing. */
export const viewsAfter = (views: readonly Uint8Array[], done: number): readonly Uint8Array[] => {
  let skipped = 0;
  for (let i = 0; i < views.length; i++) {
    const view = views[i] as Uint8Array;
    if (skipped + view.length > done) return [view.subarray(done - skipped), ...views.slice(i + 1)];
    skipped += view.length;
  }
  return none;
};
