import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cleanup } from 'splitring';
import type { Progress } from 'splitring/machine';
import type { Part } from './scratch.js';

/**
 * The image that comes along, 1 MiB: lines of 32 bytes, each of which says where it lies, so that a byte in the wrong place shows.
 * The line at byte 32 is "splitring disk.img, at 0x000020\n".
 */
export const smallImage = new URL('examples/disk/disk.img', import.meta.resolve('splitring/package.json'));

/** A copy of the small image that can be written to, and is gone in the end. @throws when there is no room for it */
export const temporaryCopy = (cleanup: Cleanup): string => {
  try {
    const folder = mkdtempSync(join(tmpdir(), 'splitring-'));
    cleanup.add(() => rmSync(folder, { recursive: true, force: true }));
    const copy = join(folder, 'disk.img');
    copyFileSync(smallImage, copy);
    chmodSync(copy, 0o600); // the original may be installed read-only
    return copy;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(
      `no temporary copy can be made (${why}): set TMPDIR to a folder with room, or name an image with --disk`,
    );
  }
};

const CHUNK = 1024 * 1024;

/** A file's SHA-256, read here on the host and not through any disk. */
export const sumOfFile = async (path: string, progress?: Progress): Promise<string> => {
  const hash = createHash('sha256');
  const file = await open(path);
  try {
    const buffer = new Uint8Array(CHUNK);
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(buffer, 0, CHUNK, at);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
      progress?.update(at);
    }
  } finally {
    await file.close();
  }
  return hash.digest('hex');
};

/** A part of a file, as it is on the host. */
export const readPart = (path: string, { offset, length }: Part): Uint8Array => {
  const bytes = new Uint8Array(length);
  const fd = openSync(path, 'r');
  try {
    for (let done = 0; done < length; ) {
      const got = readSync(fd, bytes, done, length - done, offset + done);
      if (got === 0)
        throw new Error(`${path} ends at byte ${offset + done}, where it had more: leave it alone meanwhile`);
      done += got;
    }
  } finally {
    closeSync(fd);
  }
  return bytes;
};

/** Puts a part of a file back to what it was, if it is no longer; whether it was not. */
export const restorePart = (path: string, part: Part, former: Uint8Array): boolean => {
  if (Buffer.compare(readPart(path, part), former) === 0) return false;
  const fd = openSync(path, 'r+');
  try {
    for (let done = 0; done < part.length; )
      done += writeSync(fd, former, done, part.length - done, part.offset + done);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  return true;
};

/** The SHA-256 of bytes. */
export const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
