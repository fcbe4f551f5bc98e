/** The keys that a machine's hypervisor takes on its console, with what Xen says of each (keyhandler.c). */
export const debugKeys = {
  e: 'dump evtchn info',
  g: 'print grant table usage',
  h: 'show this message',
} as const;

/** One of the {@link debugKeys}. */
export type DebugKey = keyof typeof debugKeys;

const isDebugKey = (key: string): key is DebugKey => Object.hasOwn(debugKeys, key);

/** A key that there is a handler for. @throws RangeError for any other, naming those that there are */
export const asDebugKey = (key: string): DebugKey => {
  if (isDebugKey(key)) return key;
  const known = Object.entries(debugKeys).map(([name, does]) => `${name} (${does})`);
  throw new RangeError(`there is no debug key ${JSON.stringify(key)}; there are ${known.join(', ')}`);
};

/** What Xen prints for `h`: its keys (keyhandler.c `show_handlers`). */
export const keysHelp = (): string => {
  const keys = Object.entries(debugKeys).map(
    ([key, does]) => ` key '${key}' (ascii '${key.charCodeAt(0).toString(16)}') => ${does}\n`,
  );
  return `'h' pressed -> showing installed handlers\n${keys.join('')}`;
};
