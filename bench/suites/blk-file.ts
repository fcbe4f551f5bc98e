import { randomFillSync } from 'node:crypto';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Where files are in memory for certain: one on a disk may leave it at any time. */
const TMPFS = '/dev/shm';
const CHUNK = 8 << 20;

/** A file of random bytes in memory, for as long as `work` runs; where there is no room for it, undefined and the reason. */
export const withRandomFile = <T>(
  bytes: number,
  work: (file: string | undefined, missing: string | undefined) => T,
): T => {
  if (!existsSync(TMPFS)) return work(undefined, `there is no ${TMPFS}, a file system in memory`);
  const { bavail, bsize } = statfsSync(TMPFS);
  // As much again is left to whoever else needs it.
  if (bavail * bsize < 2 * bytes) {
    return work(undefined, `${TMPFS} has ${(bavail * bsize) >>> 20} MiB left, and ${(2 * bytes) >>> 20} are wanted`);
  }
  const folder = mkdtempSync(join(TMPFS, 'splitring-bench-'));
  try {
    const file = join(folder, 'disk.img');
    const fd = openSync(file, 'w');
    const chunk = new Uint8Array(CHUNK);
    for (let left = bytes; left > 0; left -= CHUNK) writeSync(fd, randomFillSync(chunk), 0, Math.min(CHUNK, left));
    closeSync(fd);
    return work(file, undefined);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
