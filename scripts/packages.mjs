import { existsSync, lstatSync } from 'node:fs';
import { basename } from 'node:path';
import { at, jsonOf, NotReady, run, say, since } from './checkout.mjs';

const dependencies = (manifest) =>
  JSON.stringify([manifest.dependencies, manifest.devDependencies, manifest.optionalDependencies]);

/** npm's `os` and `cpu`: a list of names, or of names with `!` that are left out. */
const suits = (list = [], here) =>
  list.length === 0 || list.includes(here) || (list[0].startsWith('!') && !list.includes(`!${here}`));

/**
 * Whether node_modules holds what package-lock.json asks for, by the record that npm leaves there when an install has ended. An
 * optional package may be absent, since npm leaves out the binaries of other systems; one for another system says that the
 * folder came from elsewhere.
 */
export const isInstalled = () => {
  const lock = jsonOf(at('package-lock.json'));
  const have = jsonOf(at('node_modules', '.package-lock.json'));
  if (lock === undefined || have === undefined) return false;
  if (dependencies(lock.packages['']) !== dependencies(jsonOf(at('package.json')))) return false;
  return Object.entries(lock.packages).every(([path, wanted]) => {
    if (!path.startsWith('node_modules/')) return true;
    const found = have.packages[path];
    if (found === undefined) return wanted.optional === true;
    return (
      found.version === wanted.version &&
      found.integrity === wanted.integrity &&
      suits(wanted.os, process.platform) &&
      suits(wanted.cpu, process.arch) &&
      existsSync(at(path, 'package.json'))
    );
  });
};

// a user's configuration may leave out development packages, which hold the compiler
const NPM_CI = [
  'ci',
  '--include=dev',
  '--include=optional',
  '--no-audit',
  '--no-fund',
  '--no-progress',
  '--loglevel=error',
];

const npmCi = () => {
  const npm = process.env.npm_execpath; // the npm that started us, if one did
  return npm !== undefined && basename(npm) === 'npm-cli.js'
    ? run(process.execPath, [npm, ...NPM_CI], 'pipe')
    : run('npm', NPM_CI, 'pipe', { shell: process.platform === 'win32' });
};

/** @throws NotReady when npm cannot install what package-lock.json asks for */
export const install = async () => {
  // npm empties the folder that a link points to, which other checkouts may be using
  if (lstatSync(at('node_modules'), { throwIfNoEntry: false })?.isSymbolicLink()) {
    throw new NotReady('node_modules is a link and lacks what package-lock.json asks for: install where it points to');
  }
  const start = performance.now();
  say('installing packages (npm ci)');
  const { code, ended, output } = await npmCi();
  if (code !== 0) {
    process.stderr.write(output);
    throw new NotReady(`npm ci failed (${ended}); its own words are above. Mend that and start again`);
  }
  if (!isInstalled()) {
    throw new NotReady(
      'npm ci ended well, but left node_modules without what package-lock.json asks for. Try npm install',
    );
  }
  say(`installed in ${since(start)}`);
};
