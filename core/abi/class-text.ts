import type { ScalarKind } from './fields.js';
import { scalarSize } from './layout.js';

/** The text of a class that is generated for one struct, and what it refers to by name. */
export class ClassText {
  /** Statements of the constructor. */
  readonly fields: string[] = [];
  /** Methods and accessors. */
  readonly members: string[] = [];
  readonly scope: Record<string, unknown> = { upper, wide, beyond };
  readonly #name: string;
  readonly #parameters: string;

  constructor(name: string, parameters: string) {
    this.#name = name;
    this.#parameters = parameters;
  }

  /** Makes a class of it. The text comes from declared structs only, whose names `struct` has checked. */
  compile(): unknown {
    const body = `'use strict'; return class ${this.#name} { constructor(${this.#parameters}) { ${this.fields.join(' ')} }\n${this.members.join('\n')}\n};`;
    return new Function(...Object.keys(this.scope), body)(...Object.values(this.scope));
  }
}

/** The bits of a number of some bytes at some place of a word. */
export const maskOf = (bytes: number, shift: number): number => (bytes === 4 ? -1 : ((1 << (8 * bytes)) - 1) << shift);

/** An expression of a value's bits where they lie in their word. */
export const packed = (kind: ScalarKind, value: string, shift: number): string => {
  const bytes = scalarSize[kind];
  if (bytes === 4) return value;
  // Nothing lies above the highest bytes of a word, so these need no mask.
  if (shift + 8 * bytes === 32) return `${value} << ${shift}`;
  const masked = `${value} & ${maskOf(bytes, 0)}`;
  return shift === 0 ? masked : `(${masked}) << ${shift}`;
};

/** An expression of the value that lies in a word. */
export const unpacked = (kind: ScalarKind, word: string, shift: number): string => {
  const bits = 8 * scalarSize[kind];
  const above = 32 - shift - bits;
  if (kind === 'u32') return `${word} >>> 0`;
  if (kind === 'i32') return word;
  if (kind.startsWith('i')) return above === 0 ? `${word} >> ${shift}` : `${word} << ${above} >> ${shift + above}`;
  if (above === 0) return `${word} >>> ${shift}`;
  return shift === 0 ? `${word} & ${maskOf(bits / 8, 0)}` : `${word} >>> ${shift} & ${maskOf(bits / 8, 0)}`;
};

/** An expression of a word with a value put into it. */
export const replaced = (kind: ScalarKind, word: string, value: string, shift: number): string => {
  const mask = maskOf(scalarSize[kind], shift);
  return mask === -1 ? value : `${word} & ${~mask} | ${packed(kind, value, shift)}`;
};

/** The upper word of a 64-bit value; the text calls it for what does not fit the lower word. */
const upper = (value: number): number => {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`a 64-bit member takes whole numbers from 0 to 2^53 - 1, not ${value}`);
  }
  return value / 4294967296;
};

/** A 64-bit value whose upper word is not zero. */
const wide = (lo: number, hi: number): number =>
  hi >>> 21 === 0 ? (lo >>> 0) + hi * 4294967296 : Number.POSITIVE_INFINITY;

const beyond = (what: string, i: number, length: number): never => {
  throw new RangeError(`${what}[${i}] is beyond its ${length} elements`);
};
