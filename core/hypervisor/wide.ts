import type { MachineMemory } from './memory.js';

/**
 * Times in the machine's memory: nanoseconds since its boot, each a double in two words from an even one. So a time is read and written
 * at once, and exact for 104 days. What a guest reads has Xen's form, and is written elsewhere.
 */
export const timesOf = (memory: MachineMemory): Float64Array => new Float64Array(memory.memory.buffer);

/** The time in two words from `at`. */
export const wide = (times: Float64Array, at: number): number => times[at >>> 1] as number;

/** Writes a time into two words from `at`. */
export const setWide = (times: Float64Array, at: number, value: number): void => {
  times[at >>> 1] = value;
};

/** The low word of a number of 64 bits. */
export const lowWord = (value: number): number => value - Math.floor(value / 2 ** 32) * 2 ** 32;
/** The high word of a number of 64 bits. */
export const highWord = (value: number): number => Math.floor(value / 2 ** 32);
