import { SECTOR_SIZE } from '../../core/index.js';

/** 32-bit words of a sector. */
export const SECTOR_WORDS = SECTOR_SIZE / 4;

/** A well mixed number of a sector and a version (murmur3's last steps); not 0, where a xorshift would stay. */
const seedOf = (sector: number, version: number): number => {
  let x = Math.imul(sector, 0x9e3779b1) ^ Math.imul(version, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16) || 1;
};

/**
 * What a sector holds in a version: its number, the version, and 126 words that follow from both, so that any byte from elsewhere, or
 * from another time, shows. Version 0 is a sector that was never written.
 */
export const fillSector = (words: Int32Array, at: number, sector: number, version: number): void => {
  if (version === 0) {
    words.fill(0, at, at + SECTOR_WORDS);
    return;
  }
  words[at] = sector;
  words[at + 1] = version;
  let x = seedOf(sector, version);
  for (let i = at + 2; i < at + SECTOR_WORDS; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
};

/** The index of the first word that is not as {@link fillSector} makes it, from 0; -1: there is none. */
export const differsAt = (words: Int32Array, at: number, sector: number, version: number): number => {
  if (version === 0) {
    for (let i = 0; i < SECTOR_WORDS; i++) if (words[at + i] !== 0) return i;
    return -1;
  }
  if (words[at] !== (sector | 0)) return 0;
  if (words[at + 1] !== (version | 0)) return 1;
  let x = seedOf(sector, version);
  for (let i = 2; i < SECTOR_WORDS; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    if (words[at + i] !== x) return i;
  }
  return -1;
};
