import { PeerFault } from '../errors.js';
import { quoted } from './quoted.js';

/** How one XenStore key is read and written: its type, its default and its bounds. */
export interface Key<T> {
  /** What a missing node means; undefined: the key must be there. */
  readonly default: T | undefined;
  /** @throws PeerFault when the text is none of this key's values */
  parse(name: string, text: string): T;
  /** @throws RangeError when the value is none of this key's */
  show(name: string, value: T): string;
}

/** A set of keys by name, as on the wire. */
export type Keys = { readonly [name: string]: Key<unknown> };

// With `& {}` the compiler shows the keys themselves, in editors and errors, in place of the type's name and arguments.
/** The values of a set of keys, by the same names. */
export type KeyValues<K> = { readonly [N in keyof K]: K[N] extends Key<infer T> ? T : never } & {};

const make = <T>(
  fallback: T | undefined,
  read: (text: string) => T | undefined,
  write: (value: T) => string,
): Key<T> => ({
  default: fallback,
  parse: (name, text) => {
    const value = read(text);
    if (value === undefined) throw new PeerFault(name, quoted(text));
    return value;
  },
  show: (name, value) => {
    const text = write(value);
    if (read(text) === undefined) throw new RangeError(`${name} cannot be ${String(value)}`);
    return text;
  },
});

/** A decimal number from `min` (0) to `max` (2^53 - 1); without a default it must be there. */
export const uint = <T extends number = number>(
  options: { readonly default?: number; readonly min?: number; readonly max?: number } = {},
): Key<T> => {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = options;
  return make<T>(
    options.default as T | undefined,
    (text) => {
      if (!/^[0-9]{1,16}$/.test(text)) return undefined;
      const value = Number(text);
      return value >= min && value <= max ? (value as T) : undefined;
    },
    String,
  );
};

/** A feature: "1" or "0", which is also what its absence means if no other default is given. Any other number counts as set, as in Linux. */
export const flag = (options: { readonly default?: boolean } = {}): Key<boolean> =>
  make<boolean>(
    options.default ?? false,
    (text) => (/^[0-9]{1,10}$/.test(text) ? Number(text) !== 0 : undefined),
    (value) => (value ? '1' : '0'),
  );

/** Any text. */
export const text = (options: { readonly default?: string } = {}): Key<string> =>
  make<string>(options.default, (value) => value, String);

/** One of a few words. */
export const oneOf = <const W extends string>(words: readonly W[], options: { readonly default?: W } = {}): Key<W> =>
  make<W>(options.default, (value) => words.find((word) => word === value), String);
