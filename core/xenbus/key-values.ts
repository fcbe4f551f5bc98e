import type { StoreOperations } from '../domain/xenstore.js';
import { PeerFault } from '../errors.js';
import type { Keys } from './keys.js';
import { readIfAllowed } from './state-nodes.js';

/** The values of keys by name, before a protocol's types are put on them. */
export type AnyValues = Readonly<Record<string, unknown>>;

/** The texts of keys by name, as the store has them; undefined where there is no node. */
export type Texts = ReadonlyMap<string, string | undefined>;

/** Reads the texts of a set of keys from a directory. */
export const readTexts = async (store: StoreOperations, directory: string, keys: Keys): Promise<Texts> => {
  const texts = new Map<string, string | undefined>();
  for (const name of Object.keys(keys)) texts.set(name, await readIfAllowed(store, `${directory}/${name}`));
  return texts;
};

/** Whether two readings found the same. */
export const sameTexts = (one: Texts, other: Texts): boolean =>
  one.size === other.size && [...one].every(([name, text]) => other.get(name) === text);

/**
 * The values that texts stand for.
 * @throws PeerFault when one is missing that has no default, or is none of its key's values
 */
export const parseTexts = (directory: string, keys: Keys, texts: Texts): AnyValues => {
  const values: Record<string, unknown> = {};
  for (const [name, key] of Object.entries(keys)) {
    const text = texts.get(name);
    if (text !== undefined) values[name] = key.parse(`${directory}/${name}`, text);
    else if (key.default !== undefined) values[name] = key.default;
    else throw new PeerFault(`${directory}/${name} is missing`);
  }
  return values;
};

/** Reads a set of keys from a directory. @throws PeerFault as {@link parseTexts} */
export const readKeys = async (store: StoreOperations, directory: string, keys: Keys): Promise<AnyValues> =>
  parseTexts(directory, keys, await readTexts(store, directory, keys));

/**
 * Turns values into the texts of their keys.
 * @param who names the writer in errors
 * @throws RangeError for a value that is none of its key's; TypeError for one that is not declared
 */
export const showSome = (who: string, keys: Keys, values: AnyValues): ReadonlyMap<string, string> => {
  const texts = new Map<string, string>();
  for (const [name, value] of Object.entries(values)) {
    const key = Object.hasOwn(keys, name) ? keys[name] : undefined;
    if (key === undefined) throw new TypeError(`${who} writes the key ${name}, which its protocol does not declare`);
    if (value !== undefined) texts.set(name, key.show(`${who}/${name}`, value));
  }
  return texts;
};

/**
 * Turns values into the texts of all of the keys, defaults filled in.
 * @throws as {@link showSome}; TypeError for a key that has no value and no default
 */
export const showKeys = (who: string, keys: Keys, values: AnyValues): ReadonlyMap<string, string> => {
  const texts = showSome(who, keys, withDefaults(keys, values));
  for (const name of Object.keys(keys)) {
    if (!texts.has(name)) throw new TypeError(`${who} gives no value for the key ${name}, which has no default`);
  }
  return texts;
};

/** Writes texts into a directory, for a transaction. */
export const writing =
  (directory: string, texts: ReadonlyMap<string, string>) =>
  async (store: StoreOperations): Promise<void> => {
    for (const [name, text] of texts) await store.write(`${directory}/${name}`, text);
  };

/** The values with the defaults of the keys that have no value yet. */
export const withDefaults = (keys: Keys, values: AnyValues): AnyValues => {
  const all: Record<string, unknown> = { ...values };
  for (const [name, key] of Object.entries(keys)) all[name] ??= key.default;
  return all;
};
