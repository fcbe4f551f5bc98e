// npm test [-- options and files of mocha]: compiles what has changed, then runs the specs; a spec is named by its source.
import { existsSync, statSync } from 'node:fs';
import { at, run } from './checkout.mjs';
import { ready } from './ready.mjs';
import { bundleForThreads } from './thread-bundle.mjs';

/** spec/core/abi/ring.spec.ts → dist/spec/core/abi/ring.spec.js, spec/core → every spec below it; options stay. */
const compiled = (arg) => {
  const path = arg.replace(/^\.\//, '').replace(/\/$/, '');
  if (!/^spec(\/|$)/.test(path) || !existsSync(at(path))) return arg;
  return statSync(at(path)).isDirectory() ? `dist/${path}/**/*.spec.js` : `dist/${path.replace(/\.ts$/, '.js')}`;
};

const args = process.argv.slice(2);
// What follows an option may be its value, and look like a path.
const missing = args.find(
  (arg, i) => /^(\.\/)?spec\//.test(arg) && !args[i - 1]?.startsWith('-') && !existsSync(at(arg)),
);
if (missing !== undefined) {
  process.stderr.write(`splitring: there is no ${missing}; name a spec by its source, or a folder of specs\n`);
  process.exit(2);
}

await ready();
await bundleForThreads();
const mocha = at('node_modules/mocha/bin/mocha.js');
const { code } = await run(process.execPath, [mocha, ...args.map(compiled)], 'inherit');
process.exitCode = code ?? 1;
