import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { at, jsonOf, NotReady, root, run, say, since, textOf } from './checkout.mjs';

const dist = at('dist');
/** In dist/: the digest of the sources that it was made from. */
const STAMP = '.stamp';
/** Where a build puts its files until all are there; git and Biome ignore it. */
const DRAFT = '.dist-';

const sourcesBelow = (dir, excluded) =>
  readdirSync(at(dir), { withFileTypes: true }).flatMap((entry) => {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory()) return excluded.includes(path) ? [] : sourcesBelow(path, excluded);
    return /\.[cm]?ts$/.test(entry.name) ? [path] : [];
  });

/** A digest of all that decides what dist/ holds: the sources, how they are compiled, and the packages that they use. */
const sourcesKey = () => {
  const { include, exclude = [] } = jsonOf(at('tsconfig.json'));
  const sources = include.filter((dir) => existsSync(at(dir))).flatMap((dir) => sourcesBelow(dir, exclude));
  const hash = createHash('sha256');
  for (const file of ['package.json', 'package-lock.json', 'tsconfig.json', ...sources.sort()]) {
    const bytes = readFileSync(at(file));
    hash.update(`${file} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex');
};

/** Whether dist/ was made from the sources as they are now. */
export const isBuilt = () => textOf(at('dist', STAMP)) === sourcesKey();

/**
 * Compiles into a new folder that becomes dist/ when it is whole: what a deleted source left is gone, a build that is killed leaves
 * dist/ as it was, and a compiler that outlives its killed build writes where nobody looks.
 * @throws NotReady when the sources do not compile
 */
export const build = async () => {
  const start = performance.now();
  say('compiling');
  for (const name of readdirSync(root)) if (name.startsWith(DRAFT)) rmSync(at(name), { recursive: true, force: true });
  const draft = at(`${DRAFT}${process.pid}`);
  mkdirSync(draft);
  const key = sourcesKey(); // before the compiler reads them: one that is edited meanwhile makes the next start compile again
  const tsc = at('node_modules/typescript/bin/tsc');
  const { code, ended } = await run(process.execPath, [tsc, '-p', root, '--outDir', draft], 2);
  if (code !== 0) {
    rmSync(draft, { recursive: true });
    throw new NotReady(`the sources do not compile (tsc: ${ended})`);
  }
  writeFileSync(`${draft}/${STAMP}`, key);
  if (existsSync(dist)) renameSync(dist, `${draft}-old`);
  renameSync(draft, dist);
  rmSync(`${draft}-old`, { recursive: true, force: true });
  say(`compiled in ${since(start)}`);
};
