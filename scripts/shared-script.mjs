// What every domain's thread loads, as one script of the published package: V8 takes a code cache for a script, not for an ES module.
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { Script } from 'node:vm';
import { NotReady } from './checkout.mjs';

const SCRIPT = 'dist/chunks/splitring.cjs';
const LOADER = 'dist/chunks/splitring.js';

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

/** The chunks that modules load before they run, each behind those that it loads itself. */
const chunksOf = (entries, outputs) => {
  const order = [];
  const visit = (path, above) => {
    if (above.includes(path)) throw new NotReady(`the bundle's chunks load each other: ${[...above, path].join(', ')}`);
    if (order.includes(path)) return;
    for (const { path: to, kind, external } of outputs[path].imports) {
      if (kind === 'import-statement' && external !== true) visit(to, [...above, path]);
    }
    if (!entries.includes(path)) order.push(path);
  };
  for (const entry of entries) visit(entry, []);
  return order;
};

const ONCE = 'const $once = (make) => { let made; return () => (made ??= make()); };';

/**
 * A chunk as a function of its own, called when its first importer is evaluated. It stands in parentheses: V8 compiles it where it stands,
 * and not once more when it is called.
 */
const asFunction = ({ path, text }, keys, builtins, variables) => {
  const imported = text.replaceAll(IMPORT, (whole, names, from) => {
    if (from.startsWith('node:')) {
      if (!names?.startsWith('{')) throw new NotReady(`${path}: ${whole} cannot go into a script, import by names`);
      builtins.add(from);
      return `const ${pattern(names)} = $builtins[${JSON.stringify(from)}];`;
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
  const body = imported.replace(EXPORT, () => `return { ${made} };`);
  if (/\bimport\(/.test(body)) throw new NotReady(`${path} cannot go into a script: it imports while it runs`);
  return `const ${keys.get(path)} = $once((function () {\n${body}\n}));\n`;
};

const loader = (script, digest, builtins) => `// Runs ${posix.basename(script)}, once a thread.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
${builtins.map((name, i) => `import * as builtin${i} from ${JSON.stringify(name)};`).join('\n')}

// V8 takes a cache for another text of the same length: the text's digest tells them apart.
const key = 'splitring code cache ${digest}';
const filename = fileURLToPath(new URL(${JSON.stringify(posix.basename(script))}, import.meta.url));
const source = readFileSync(filename, 'latin1');

// How many bytes the cache has, then those: 0 while it is being made, less when there is none.
const given = getEnvironmentData(key);
const cache = () => {
  if (given === undefined) return undefined;
  const length = new Int32Array(given, 0, 1);
  Atomics.wait(length, 0, 0, 1000);
  return length[0] > 0 ? new Uint8Array(given, 4, length[0]) : undefined;
};
const cachedData = cache();
const script = new Script(source, { filename, cachedData });
const run = script.runInThisContext();
export const chunks = run({ ${builtins.map((name, i) => `${JSON.stringify(name)}: builtin${i}`).join(', ')} });

let shared = cachedData !== undefined && script.cachedDataRejected === false;

/** Lets the workers that this thread starts from now on have what V8 has compiled of the script. */
export const shareCode = () => {
  if (shared) return;
  shared = true;
  const memory = new SharedArrayBuffer(4 + 2 * source.length);
  setEnvironmentData(key, memory);
  // Made behind the start of the worker, which takes longer until it asks.
  queueMicrotask(() => {
    const code = script.createCachedData();
    const fits = 4 + code.length <= memory.byteLength;
    if (fits) new Uint8Array(memory, 4).set(code);
    const length = new Int32Array(memory, 0, 1);
    Atomics.store(length, 0, fits ? code.length : -1);
    Atomics.notify(length, 0);
  });
};

/** Where this thread has its code from: 'compiled', 'cache', or 'rejected' when V8 did not take the cache and compiled. */
export const code = cachedData === undefined ? 'compiled' : script.cachedDataRejected ? 'rejected' : 'cache';
export { key as codeKey };
`;

const LOADER_IMPORT = 'splitring loader';

/** Has the machine share the script's code with its workers. */
export const sharedCode = {
  name: 'shared code',
  setup: (build) => {
    build.onResolve({ filter: /^splitring loader$/ }, ({ path }) => ({ path, external: true }));
    build.onLoad({ filter: /platform[\\/]threads[\\/]share-code\.js$/ }, () => ({
      contents: `export { shareCode } from ${JSON.stringify(LOADER_IMPORT)};`,
    }));
  },
};

/** Moves what the modules at `entries` load into one script, and has all others take it from there. */
export const withSharedScript = (outputs, metafile, entries, variables) => {
  const order = chunksOf(entries, metafile.outputs);
  const keys = new Map(order.map((path) => [path, `$${posix.basename(path, '.js').replaceAll(/\W/g, '_')}`]));
  const texts = new Map(outputs.map(({ path, text }) => [path, text]));
  const builtins = new Set();
  const parts = order.map((path) => asFunction({ path, text: texts.get(path) }, keys, builtins, variables));
  const text = inAscii(
    `(function ($builtins) {\n'use strict';\n${ONCE}\n${parts.join('')}return { ${[...keys.values()].join(', ')} };\n})\n`,
  );
  new Script(text, { filename: SCRIPT }); // throws SyntaxError at what only a module may have
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 16);
  const rest = outputs
    .filter(({ path }) => !keys.has(path))
    .map(({ path, text: module }) => {
      const to = posix.relative(posix.dirname(path), LOADER);
      const loaderPath = JSON.stringify(to.startsWith('.') ? to : `./${to}`);
      let uses = false;
      const rewritten = module.replaceAll(IMPORT, (whole, names, from) => {
        const key = keys.get(posix.join(posix.dirname(path), from));
        if (key === undefined) return whole;
        uses = true;
        return `${names === undefined ? '' : `const ${pattern(names)} = `}$chunks.${key}();`;
      });
      const loaded = rewritten.replaceAll(JSON.stringify(LOADER_IMPORT), loaderPath);
      return { path, text: uses ? `import { chunks as $chunks } from ${loaderPath};\n${loaded}` : loaded };
    });
  return [...rest, { path: SCRIPT, text }, { path: LOADER, text: loader(SCRIPT, digest, [...builtins]) }];
};
