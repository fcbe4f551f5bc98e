import { readFileSync } from 'node:fs';

/** A packet of a capture of ours, as one vif saw it. */
export interface Captured {
  /** `vif3.0-tx`, or `-rx`. */
  readonly interface: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly bytes: Uint8Array;
  /** What the ring said of it. */
  readonly comment: string;
}

/** Reads a pcapng file that `splitring` has written, with its interfaces and comments. */
export const readCaptured = (path: string): readonly Captured[] => {
  const file = readFileSync(path);
  const names: string[] = [];
  const packets: Captured[] = [];
  for (let at = 0; at + 12 <= file.length; ) {
    const type = file.readUInt32LE(at);
    const length = file.readUInt32LE(at + 4);
    if (at + length > file.length) break; // it is still written
    const options = (from: number): ReadonlyMap<number, string> => {
      const found = new Map<number, string>();
      for (let o = at + from; o + 4 <= at + length - 4; o += 4 + ((file.readUInt16LE(o + 2) + 3) & ~3))
        found.set(file.readUInt16LE(o), file.toString('utf8', o + 4, o + 4 + file.readUInt16LE(o + 2)));
      return found;
    };
    if (type === 1) names.push(options(16).get(2) ?? '');
    if (type === 6) {
      const size = file.readUInt32LE(at + 20);
      const ns = (BigInt(file.readUInt32LE(at + 12)) << 32n) | BigInt(file.readUInt32LE(at + 16));
      packets.push({
        interface: names[file.readUInt32LE(at + 8)] ?? '',
        time: Number(ns / 1000n) / 1000,
        bytes: file.subarray(at + 28, at + 28 + size),
        comment: options(28 + ((size + 3) & ~3)).get(1) ?? '',
      });
    }
    at += length;
  }
  return packets;
};
