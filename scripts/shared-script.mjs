// What every domain's thread loads, as one script of the published package: V8 takes a code cache for a script, not for an ES module.
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { Script } from 'node:vm';
import { NotReady } from './checkout.mjs';

const SCRIPT = 'dist/chunks/splitring.cjs';
const LOADER = 'dist/chunks/splitring.js';
const WORKER = 'dist/platform/threads/worker.js';
const BOOTSTRAP = 'dist/platform/threads/worker.cjs';

const IMPORT = /^import (?:(\{[^}]*\}|\* as [\w$]+|[\w$]+) from )?"([^"]+)";$/gm;
const EXPORT = /^export \{([^}]*)\};$/m;

const namesIn = (braces) =>
  braces
    .replace(/[{}]/g, '')
    .split(',')
    .map((each) => each.trim().split(' as '))
    .filter(([name]) => name !== '');

/** `{ A, B as C }` of an import, as a pattern. */
const pattern = (braces) =>
  `{ ${namesIn(braces)
    .map((names) => names.join(': '))
    .join(', ')} }`;

/** Only comments are not ASCII: esbuild escapes the rest. V8 holds such a text in half of the memory, and Node reads it quicker. */
const inAscii = (text) =>
  text.replaceAll(/[\u0080-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** Modules and the chunks that they load, each behind those that it loads itself. */
const chunksOf = (entries, outputs) => {
  const order = [];
  const visit = (path, above) => {
    if (above.includes(path)) throw new NotReady(`the bundle's chunks load each other: ${[...above, path].join(', ')}`);
    if (order.includes(path)) return;
    for (const { path: to, kind, external } of outputs[path].imports) {
      if (kind === 'import-statement' && external !== true) visit(to, [...above, path]);
    }
    order.push(path);
  };
  for (const entry of entries) visit(entry, []);
  return order;
};

const ONCE = 'const $once = (make) => { let made; return () => (made ??= make()); };';

/**
 * A chunk as a function of its own, called when its first importer is evaluated. It stands in parentheses: V8 compiles it where it stands,
 * and not once more when it is called.
 */
const asFunction = ({ path, text }, keys, variables) => {
  const imported = text.replaceAll(IMPORT, (whole, names, from) => {
    if (from.startsWith('node:')) {
      if (!names?.startsWith('{')) throw new NotReady(`${path}: ${whole} cannot go into a script, import by names`);
      return `const ${pattern(names)} = $builtin(${JSON.stringify(from)});`;
    }
    const key = keys.get(posix.join(posix.dirname(path), from));
    if (key === undefined) throw new NotReady(`${path}: ${whole} cannot go into a script`);
    return names === undefined ? `${key}();` : `const ${pattern(names)} = ${key}();`;
  });
  const exported = namesIn(EXPORT.exec(imported)?.[1] ?? '');
  const changed = exported.find(
    ([name]) =>
      variables.has(name) && new RegExp(`^\\s.*(?<![.\\w$])${name.replaceAll('$', '\\$')} = `, 'm').test(text),
  );
  if (changed !== undefined)
    throw new NotReady(
      `${path} exports the variable ${changed[0]}, and changes it: what a script shares stays as it is`,
    );
  const made = exported.map(([own, name]) => (name === undefined ? own : `${name}: ${own}`)).join(', ');
  const returning = imported.replace(EXPORT, () => `return { ${made} };`);
  // The worker imports by whole URLs, so it does not matter from where.
  const body = path === WORKER ? returning.replaceAll(/\bimport\(/g, '$import(') : returning;
  if (/(?<!\$)\bimport\(/.test(body)) throw new NotReady(`${path} cannot go into a script: it imports while it runs`);
  return `const ${keys.get(path)} = $once((function () {\n${body}\n}));\n`;
};

// What runs the script in a thread. Node's modules are asked for one by one: `import` has Node make a module of all that they export.
const RUN = `script.runInThisContext()(process.getBuiltinModule, (url) => import(url))`;

/** The first file of a domain's thread: takes the script from the machine's thread, and the code that V8 has made of it there. */
const bootstrap = (digest) => `// The thread of a domain: what \`new Worker\` starts.
'use strict';
const { Script } = require('node:vm');
const { workerData } = require('node:worker_threads');

const shared = workerData?.code;
if (shared === undefined) throw new Error('this file is a domain\\u2019s thread: a ThreadsMachine starts it');
const { filename, text, modules, cache } = shared;

// How many bytes the cache has, then those: 0 while it is being made, less when there is none.
const length = new Int32Array(cache, 0, 1);
Atomics.wait(length, 0, 0, 1000);
const cachedData = length[0] > 0 ? new Uint8Array(cache, 4, length[0]) : undefined;
const script = new Script(Buffer.from(text).latin1Slice(), { filename, cachedData });
const chunks = script.runInThisContext()(process.getBuiltinModule, async (url) => {
  const own = modules[url] ?? url;
  return Object.hasOwn(chunks, own) ? chunks[own]() : import(own);
});
const code = cachedData === undefined ? 'compiled' : script.cachedDataRejected ? 'rejected' : 'cache';
globalThis[Symbol.for('splitring ${digest}')] = { chunks, code, shared };
chunks.${keyOf(WORKER)}();
`;

const loader = (script, digest, modules) => `// Runs ${posix.basename(script)}, once a thread.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';

const compile = () => {
  const filename = fileURLToPath(new URL(${JSON.stringify(posix.basename(script))}, import.meta.url));
  const source = readFileSync(filename, 'latin1');
  const script = new Script(source, { filename });
  const chunks = ${RUN};
  return { chunks, code: 'compiled', compiled: { filename, source, script } };
};

// A domain's thread has run the script already.
const thread = globalThis[Symbol.for('splitring ${digest}')] ?? compile();
export const { chunks } = thread;

// What threads are handed by one that has compiled; a domain's thread hands on what it was handed itself.
const share = ({ filename, source }) => {
  const text = new SharedArrayBuffer(source.length);
  Buffer.from(text).latin1Write(source);
  const modules = Object.fromEntries(
    Object.entries(${JSON.stringify(modules)}).map(([path, key]) => [new URL(path, import.meta.url).href, key]),
  );
  return { filename, text, modules, cache: new SharedArrayBuffer(4 + 2 * source.length) };
};

let { shared } = thread;

/** What a domain's thread begins with. */
export const threadCode = () => {
  shared ??= share(thread.compiled);
  return { entry: new URL('../platform/threads/worker.cjs', import.meta.url), code: shared };
};

let sharing = thread.compiled !== undefined;

/** Lets the threads that have begun, and those that will, have what V8 has compiled of the script when it has rehearsed. */
export const shareCode = (rehearse) => {
  if (!sharing) return;
  sharing = false;
  const length = new Int32Array(shared.cache, 0, 1);
  let bytes = -1;
  try {
    rehearse();
  } catch {
    // There is less in the cache then. What is amiss, if only memory, will be told by the first domain that it keeps from running.
  }
  const code = thread.compiled.script.createCachedData();
  if (4 + code.length <= shared.cache.byteLength) {
    new Uint8Array(shared.cache, 4).set(code);
    bytes = code.length;
  }
  Atomics.store(length, 0, bytes);
  Atomics.notify(length, 0);
};

/** Where this thread has its code from: 'compiled', 'cache', or 'rejected' when V8 did not take the cache and compiled. */
export const { code } = thread;
`;

const LOADER_IMPORT = 'splitring loader';

/** Has the machine share the script's code with its workers. */
export const sharedCode = {
  name: 'shared code',
  setup: (build) => {
    build.onResolve({ filter: /^splitring loader$/ }, ({ path }) => ({ path, external: true }));
    build.onLoad({ filter: /platform[\\/]threads[\\/]thread-code\.js$/ }, () => ({
      contents: `export { shareCode, threadCode } from ${JSON.stringify(LOADER_IMPORT)};`,
    }));
  },
};

/** A module of dist/ has its path for a key, a chunk its name. */
const keyOf = (path) => `$${path.replace(/^dist\/(chunks\/)?|\.js$/g, '').replaceAll(/\W/g, '_')}`;

/** By which keys the script has modules of dist/, of which the worker is none to be imported. */
export const keysOf = (entries) =>
  Object.fromEntries(entries.filter((path) => path !== WORKER).map((path) => [path, keyOf(path)]));

/** The same, by where they lie from another file. */
const keysFrom = (from, entries) =>
  Object.fromEntries(
    Object.entries(keysOf(entries)).map(([path, key]) => [posix.relative(posix.dirname(from), path), key]),
  );

/** What is left of a module whose code is in the script: what it exports. */
const facade = (text, key, loaderPath) => {
  const names = namesIn(EXPORT.exec(text)?.[1] ?? '').map((each) => each.at(-1));
  const made = names.map((name, i) => `${name}: $${i}`).join(', ');
  const exported = names.map((name, i) => `$${i} as ${name}`).join(', ');
  return `import { chunks as $chunks } from ${loaderPath};\nconst { ${made} } = $chunks.${key}();\nexport { ${exported} };\n`;
};

/** Moves the modules at `entries` and what they load into one script, and has all others take it from there. */
export const withSharedScript = (outputs, metafile, entries, variables) => {
  const order = chunksOf(entries, metafile.outputs);
  const keys = new Map(order.map((path) => [path, keyOf(path)]));
  const texts = new Map(outputs.map(({ path, text }) => [path, text]));
  const parts = order.map((path) => asFunction({ path, text: texts.get(path) }, keys, variables));
  const text = inAscii(
    `(function ($builtin, $import) {\n'use strict';\n${ONCE}\n${parts.join('')}return { ${[...keys.values()].join(', ')} };\n})\n`,
  );
  new Script(text, { filename: SCRIPT }); // throws SyntaxError at what only a module may have
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 16);
  const loaderFrom = (path) => {
    const to = posix.relative(posix.dirname(path), LOADER);
    return JSON.stringify(to.startsWith('.') ? to : `./${to}`);
  };
  const rest = outputs
    .filter(({ path }) => !keys.has(path))
    .map(({ path, text: module }) => {
      let uses = false;
      const rewritten = module.replaceAll(IMPORT, (whole, names, from) => {
        const key = keys.get(posix.join(posix.dirname(path), from));
        if (key === undefined) return whole;
        uses = true;
        return `${names === undefined ? '' : `const ${pattern(names)} = `}$chunks.${key}();`;
      });
      const loaded = rewritten.replaceAll(JSON.stringify(LOADER_IMPORT), loaderFrom(path));
      return { path, text: uses ? `import { chunks as $chunks } from ${loaderFrom(path)};\n${loaded}` : loaded };
    });
  const modules = entries.filter((path) => path !== WORKER);
  const facades = modules.map((path) => ({ path, text: facade(texts.get(path), keys.get(path), loaderFrom(path)) }));
  return [
    ...rest,
    ...facades,
    { path: SCRIPT, text },
    { path: LOADER, text: loader(SCRIPT, digest, keysFrom(LOADER, entries)) },
    { path: BOOTSTRAP, text: bootstrap(digest) },
  ];
};
