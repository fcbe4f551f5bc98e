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

/** What is compared and written back at a time: the holes of a sparse image stay holes, so a full disk is no obstacle. */
const BLOCK = 512;

/**
 * Puts a part of a file back to what it was, where it is no longer; whether it was not.
 * @throws Error that names the file when it cannot
 */
export const restorePart = (path: string, part: Part, former: Uint8Array): boolean => {
  const found = readPart(path, part);
  if (Buffer.compare(found, former) === 0) return false;
  try {
    const fd = openSync(path, 'r+');
    try {
      for (let at = 0; at < part.length; at += BLOCK) {
        const block = former.subarray(at, at + BLOCK);
        if (Buffer.compare(found.subarray(at, at + BLOCK), block) === 0) continue;
        for (let done = 0; done < block.length; )
          done += writeSync(fd, block, done, block.length - done, part.offset + at + done);
      }
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `${path} still holds some of what the guest wrote in its last ${part.length} bytes, and it cannot be put back (${reason}): take a copy of yours`,
      { cause: error },
    );
  }
  return true;
};

/** The SHA-256 of bytes. */
export const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
