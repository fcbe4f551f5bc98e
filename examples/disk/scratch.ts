/** A part of a disk, in bytes; a type and no interface, so that it may cross to a domain as Plain. */
export type Part = {
  readonly offset: number;
  readonly length: number;
};

const SCRATCH = 1024 * 1024;

/** The end of a disk, where the guest may write: 1 MiB, of a small disk a quarter, whole sectors and at least one. */
export const scratchOf = (bytes: number, sectorSize: number): Part => {
  const sectors = Math.max(1, Math.floor(Math.min(SCRATCH, bytes / 4) / sectorSize));
  return { offset: bytes - sectors * sectorSize, length: sectors * sectorSize };
};

/** Bytes of which none is what it was, each changed by where it lies: what lands in a wrong place differs too. */
export const scrambled = (bytes: Uint8Array): Uint8Array =>
  bytes.map((byte, at) => byte ^ (1 | (at * 37 + (at >> 9) * 101)));
