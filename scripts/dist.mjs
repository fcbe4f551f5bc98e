import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { at, jsonOf, NotReady, root, run, say, since, textOf } from './checkout.mjs';

/** The digest of the sources that dist/ was made from. */
const stamp = at('dist/.stamp');

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
export const isBuilt = () => textOf(stamp) === sourcesKey();

/**
 * Compiles into an emptied dist/, or what a deleted source left would still run. The stamp is the first to go and the last to come:
 * what a killed build leaves is never taken for whole.
 * @throws NotReady when the sources do not compile
 */
export const build = async () => {
  const start = performance.now();
  say('compiling');
  rmSync(stamp, { force: true });
  rmSync(at('dist'), { recursive: true, force: true });
  const key = sourcesKey(); // before the compiler reads them: one that is edited meanwhile makes the next start compile again
  const { code, ended } = await run(process.execPath, [at('node_modules/typescript/bin/tsc'), '-p', root], 2);
  if (code !== 0) throw new NotReady(`the sources do not compile (tsc: ${ended})`);
  const draft = `${stamp}-${process.pid}`;
  writeFileSync(draft, key);
  renameSync(draft, stamp);
  say(`compiled in ${since(start)}`);
};
