// What the specs' domains load in their threads, and the command in its process: the published bundle, with the specs' own
// modules in it, in a folder of its own. Without it each thread loads and compiles some three hundred modules, which takes
// several times as long as all that a spec does.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, posix } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bundleInto } from './bundle.mjs';
import { at, jsonOf, NotReady, say, since } from './checkout.mjs';
import { exclusively } from './lock.mjs';

const folder = 'dist/.threads';
const index = join(folder, 'index.json');

/** A file as it was when it was bundled: `tsc` alone may write it anew. */
const changedAt = (path) => (existsSync(at(path)) ? statSync(at(path)).mtimeMs : 0);

const isCurrent = () => {
  const { inputs } = jsonOf(at(index)) ?? {};
  return inputs !== undefined && Object.entries(inputs).every(([path, time]) => changedAt(path) === time);
};

const filesBelow = (dir) =>
  readdirSync(at(dir), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesBelow(`${dir}/${entry.name}`) : [`${dir}/${entry.name}`],
  );

/**
 * The modules that the specs boot domains from, which are called so or named by a URL, and the machines that they have the command run. It
 * runs from the bundle too.
 */
const specModules = () => {
  const files = ['dist/spec', 'dist/bench'].flatMap(filesBelow).filter((path) => path.endsWith('.js'));
  const named = files.flatMap((path) =>
    [...readFileSync(at(path), 'utf8').matchAll(/import\.meta\.resolve\('(\.[^']+\.js)'\)/g)].map(([, to]) =>
      posix.join(posix.dirname(path), to),
    ),
  );
  const called = files.filter((path) => /\.module\.js$|\/machines\/[^/]+\.js$/.test(path));
  return [...new Set([...called, ...named])].filter((path) => existsSync(at(path))).sort();
};

/** Boots a domain of the bundle, and keeps what V8 has made of its code. */
const cacheOf = async (url) => {
  const { ThreadsMachine } = await import(new URL('dist/platform/threads/index.js', url).href);
  const { threadCode } = await import(new URL('dist/chunks/splitring.js', url).href);
  const machine = await ThreadsMachine.create({ memory: 2 ** 24 });
  await machine.boot({ name: 'first', module: new URL('dist/drivers/blk/module.js', url) });
  await machine[Symbol.asyncDispose]();
  return new Uint8Array(threadCode().code.cache);
};

const make = async () => {
  const start = performance.now();
  rmSync(at(folder), { recursive: true, force: true });
  try {
    const modules = specModules();
    mkdirSync(at(folder), { recursive: true });
    const { inputs, inScript } = await bundleInto(at(folder), modules);
    symlinkSync(at('examples'), at(folder, 'examples')); // its machines look for their images beside its package.json
    const url = pathToFileURL(`${at(folder)}/`);
    const inFiles = Object.fromEntries(modules.map((path) => [path, new URL(path, url).href]));
    const times = Object.fromEntries(inputs.map((path) => [path, changedAt(path)]));
    writeFileSync(at(folder, 'cache'), await cacheOf(url));
    writeFileSync(at(index), JSON.stringify({ inputs: times, modules: { ...inFiles, ...inScript } }));
    say(`bundled for threads in ${since(start)}`);
  } catch (error) {
    if (!(error instanceof NotReady)) throw error;
    say(`domains' threads load modules one by one: ${error.message}`);
  }
};

/** Makes the bundle if there is none of what is compiled now. Where it cannot be made, threads load modules, and it says why. */
export const bundleForThreads = async () => {
  if (!existsSync(at('dist/spec')) || isCurrent()) return;
  await exclusively(
    at('.ready-lock'),
    () => say('waiting for another process to make this checkout ready'),
    async () => {
      if (!isCurrent()) await make();
    },
  );
};
