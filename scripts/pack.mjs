// What npm runs around `npm pack` and `npm publish`, which take the files of the checkout itself.
//   node scripts/pack.mjs bundle    compiles, then puts the bundle in the place of the modules in dist/
//   node scripts/pack.mjs restore   compiles again; fails if what was packed was not the whole bundle
import './node-version.mjs';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { bundle } from './bundle.mjs';
import { at, jsonOf, NotReady, say } from './checkout.mjs';
import { exclusively } from './lock.mjs';
import { ready } from './ready.mjs';

/** In dist/ while it holds the bundle: what it consists of, and a digest. */
const marker = at('dist/.bundle');

const digestOf = (paths) => {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(`${path}\n`).update(existsSync(at(path)) ? readFileSync(at(path)) : 'none');
  return hash.digest('hex');
};

const stands = () => {
  const packed = jsonOf(marker);
  return packed !== undefined && packed.digest === digestOf(packed.paths);
};

const steps = {
  bundle: async () => {
    await ready();
    await exclusively(
      at('.ready-lock'),
      () => say('waiting for another process to make this checkout ready'),
      async () => {
        const paths = await bundle();
        writeFileSync(marker, JSON.stringify({ paths, digest: digestOf(paths) }));
      },
    );
  },
  restore: async () => {
    const whole = stands();
    rmSync(marker, { force: true });
    await ready();
    if (!whole)
      throw new NotReady('dist/ was compiled anew while it was packed: what was packed is not whole, pack again');
  },
};

try {
  const step = steps[process.argv[2]];
  if (step === undefined) throw new NotReady(`scripts/pack.mjs takes ${Object.keys(steps).join(' or ')}`);
  await step();
} catch (error) {
  if (!(error instanceof NotReady)) throw error;
  say(error.message);
  process.exitCode = 1;
}
