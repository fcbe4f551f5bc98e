import { packed } from './class-text.js';
import { type Abi, layoutFor } from './layout.js';
import type { Struct } from './struct.js';

/** What `set` puts into one word. */
export interface WordText {
  /** The expression of what `set` knows of the word; undefined where all of it is left alone. */
  readonly value: string | undefined;
  /** The bits that belong to arrays, to unions or to a neighbour, and are left alone. */
  readonly kept: number;
}

/** The words of a struct as `set(v)` writes them, and the statements that come before. */
export interface SetText {
  readonly before: string;
  readonly words: readonly WordText[];
}

/**
 * @param bias bytes from the first word's beginning to the struct's
 * @param pair the member that pairs a response with its request, and what is written there; nothing if undefined
 */
export const setText = (
  of: Struct,
  abi: Abi,
  bias: number,
  pair: { readonly name: string; readonly value: string | undefined } | undefined,
): SetText => {
  const { size } = layoutFor(of, abi);
  const words = Array.from({ length: Math.ceil((bias + size) / 4) }, () => ({ terms: [] as string[], kept: 0 }));
  const before: string[] = [];
  const put = (byte: number, term: string): void => {
    words[byte >> 2]?.terms.push(term);
  };
  const keep = (from: number, to: number): void => {
    for (let byte = from; byte < to; byte++) {
      const word = words[byte >> 2];
      if (word !== undefined) word.kept |= 255 << ((byte & 3) * 8);
    }
  };
  const visit = (inner: Struct, base: number, path: string, paired: typeof pair): void => {
    for (const { name, field, offset, size: bytes } of layoutFor(inner, abi).members) {
      const byte = base + offset;
      if (field.kind === 'padding' || (name === paired?.name && paired.value === undefined)) continue;
      const own = name === paired?.name ? paired.value : undefined;
      const value = own ?? `${path}.${name}`;
      if (field.kind === 'array' || field.kind === 'overlay') keep(byte, byte + bytes);
      else if (field.kind === 'struct') visit(field, byte, value, undefined);
      else if (field.kind === 'opaque64') {
        put(byte, own ?? `${value}.lo`);
        put(byte + 4, own === undefined ? `${value}.hi` : '0');
      } else if (field.kind === 'u64') {
        const n = before.length;
        before.push(`const v${n} = ${value}, h${n} = v${n} >>> 0 === v${n} ? 0 : upper(v${n});`);
        put(byte, `v${n}`);
        put(byte + 4, `h${n}`);
      } else put(byte, packed(field.kind, value, (byte & 3) * 8));
    }
  };
  keep(0, bias);
  keep(bias + size, words.length * 4);
  visit(of, bias, 'v', pair);
  return {
    before: before.join(' '),
    words: words.map(({ terms, kept }) => {
      if (kept === -1) return { value: undefined, kept };
      const value =
        terms.length === 0 ? '0' : terms.length === 1 ? terms.join('') : terms.map((term) => `(${term})`).join(' | ');
      return { value, kept };
    }),
  };
};
