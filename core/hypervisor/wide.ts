/*
 * 64-bit numbers in two 32-bit words, the low one first. What they count, nanoseconds since the machine's boot, stays below 2^53 for
 * 104 days.
 */

/** The number in two words from `at`. */
export const wide = (words: Int32Array, at: number): number =>
  (words[at + 1] as number) * 2 ** 32 + ((words[at] as number) >>> 0);

/** Writes a number of 0 or more into two words from `at`. */
export const setWide = (words: Int32Array, at: number, value: number): void => {
  words[at] = value % 2 ** 32;
  words[at + 1] = Math.floor(value / 2 ** 32);
};
