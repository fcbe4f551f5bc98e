import { existsSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What a domain's thread begins with. */
export interface ThreadCode {
  /** The file that it runs. */
  readonly entry: URL;
  /** What that is handed, to come to its code sooner. */
  readonly code: unknown;
}

/** What `npm test` has bundled for the threads of its domains (scripts/thread-bundle.mjs). */
interface BundleIndex {
  /** The modules that it was made of, and when they were written, ms. */
  readonly inputs: Readonly<Record<string, number>>;
  /** Modules that domains boot from: their keys in the script, or where they are in the bundle. */
  readonly modules: Readonly<Record<string, string>>;
}

interface Bundle {
  readonly folder: URL;
  readonly modules: Readonly<Record<string, string>>;
}

const root = import.meta.resolve('splitring/package.json');
const inCheckout = (path: string): URL => new URL(path, root);

const isWritten = (file: URL, time: number): boolean => existsSync(file) && statSync(file).mtimeMs === time;

/** The bundle that `npm test` has made of a checkout, unless there is none, or one of other modules than are compiled now. */
export const currentBundle = (checkout: string | URL = root): Bundle | undefined => {
  const folder = new URL('dist/.threads/', checkout);
  const index = new URL('index.json', folder);
  if (!existsSync(index)) return undefined;
  const { inputs, modules } = JSON.parse(readFileSync(index, 'utf8')) as BundleIndex;
  const isCurrent = Object.entries(inputs).every(([path, time]) => isWritten(new URL(path, checkout), time));
  return isCurrent ? { folder, modules } : undefined;
};

const shared = (bytes: Uint8Array): SharedArrayBuffer => {
  const memory = new SharedArrayBuffer(bytes.length);
  new Uint8Array(memory).set(bytes);
  return memory;
};

/** What threads begin with, and the modules that they find there. */
interface Prepared {
  readonly worker: ThreadCode;
  readonly modules: Readonly<Record<string, string>>;
}

const prepare = (bundle: Bundle | undefined): Prepared | undefined => {
  if (bundle === undefined) return undefined;
  const { folder } = bundle;
  const modules = Object.fromEntries(
    Object.entries(bundle.modules).map(([path, place]) => [inCheckout(path).href, place]),
  );
  const script = new URL('dist/chunks/splitring.cjs', folder);
  const code = {
    filename: fileURLToPath(script),
    text: shared(readFileSync(script)),
    modules,
    cache: shared(readFileSync(new URL('cache', folder))),
  };
  return { worker: { entry: new URL('dist/platform/threads/worker.cjs', folder), code }, modules };
};

let prepared: Prepared | undefined | 'not looked for' = 'not looked for';

/**
 * What the thread of a domain of this module begins with. In a checkout that is a module, for which Node has no code cache; `npm test`
 * makes a bundle, which modules that are in it are loaded from. The published package has one script in the place of all that a thread
 * loads, and functions that hand it over in the place of these two.
 */
export const threadCode = (module: string): ThreadCode => {
  if (prepared === 'not looked for') prepared = prepare(currentBundle());
  if (prepared !== undefined && Object.hasOwn(prepared.modules, module)) return prepared.worker;
  return { entry: inCheckout('dist/platform/threads/worker.js'), code: undefined };
};

/**
 * Spares the threads that have begun, and those that will, the compilation of what this thread has run so far.
 * @param rehearse runs what a domain's thread will run; called the first time, and not where there is nothing to share
 */
export const shareCode = (_rehearse: () => void): void => {};
