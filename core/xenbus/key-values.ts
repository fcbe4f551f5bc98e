import type { StoreOperations } from '../domain/xenstore.js';
import { PeerFault } from '../errors.js';
import type { Keys } from './keys.js';

/** The values of keys by name, before a protocol's types are put on them. */
export type AnyValues = Readonly<Record<string, unknown>>;

/**
 * Reads a set of keys from a directory.
 * @throws PeerFault when one is missing that has no default, or is none of its key's values
 */
export const readKeys = async (store: StoreOperations, directory: string, keys: Keys): Promise<AnyValues> => {
  const values: Record<string, unknown> = {};
  for (const [name, key] of Object.entries(keys)) {
    const text = await store.read(`${directory}/${name}`);
    if (text !== undefined) values[name] = key.parse(`${directory}/${name}`, text);
    else if (key.default !== undefined) values[name] = key.default;
    else throw new PeerFault(`${directory}/${name} is missing`);
  }
  return values;
};

/**
 * Turns values into the texts of their keys, defaults filled in.
 * @param who names the writer in errors
 * @throws RangeError for a value that is none of its key's; TypeError for one that is not declared, or has no default and is missing
 */
export const showKeys = (who: string, keys: Keys, values: AnyValues): ReadonlyMap<string, string> => {
  for (const name of Object.keys(values)) {
    if (!Object.hasOwn(keys, name))
      throw new TypeError(`${who} writes the key ${name}, which its protocol does not declare`);
  }
  const texts = new Map<string, string>();
  for (const [name, key] of Object.entries(keys)) {
    const value = values[name] ?? key.default;
    if (value === undefined) throw new TypeError(`${who} gives no value for the key ${name}, which has no default`);
    texts.set(name, key.show(name, value));
  }
  return texts;
};

/** The values with the defaults of the keys that have no value yet. */
export const withDefaults = (keys: Keys, values: AnyValues): AnyValues => {
  const all: Record<string, unknown> = { ...values };
  for (const [name, key] of Object.entries(keys)) all[name] ??= key.default;
  return all;
};
