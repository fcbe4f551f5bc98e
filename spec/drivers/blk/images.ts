import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Image files in a temporary folder; made at the first, gone with `remove`. */
export class Images {
  #folder: string | undefined;
  #count = 0;

  /** The path of a new image of `sectors` times 512 bytes, no two sectors of which are alike. */
  make(sectors: number): string {
    this.#folder ??= mkdtempSync(join(tmpdir(), 'blk-'));
    const path = join(this.#folder, `${this.#count++}.img`);
    writeFileSync(path, pattern(sectors));
    return path;
  }

  remove(): void {
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true });
    this.#folder = undefined;
  }
}

/** What a new image holds: each sector begins with its own number. */
export const pattern = (sectors: number): Uint8Array => {
  const bytes = new Uint8Array(sectors * 512);
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; i < words.length; i++) words[i] = i % 128 === 0 ? i / 128 : i * 0x9e3779b1;
  return bytes;
};

export const contentOf = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

/** The sectors in which two images differ: a readable form of their comparison. */
export const differing = (found: Uint8Array, expected: Uint8Array): readonly number[] => {
  if (found.length !== expected.length) throw new Error(`${found.length} bytes instead of ${expected.length}`);
  const sectors: number[] = [];
  for (let at = 0; at < found.length; at += 512) {
    if (Buffer.compare(found.subarray(at, at + 512), expected.subarray(at, at + 512)) !== 0) sectors.push(at / 512);
  }
  return sectors;
};
