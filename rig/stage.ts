import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Modules that run in the rig besides what is published. */
const MORE = [
  'dist/rig/dom0.js',
  ...['rng', 'disk', 'net-host', 'net-switch'].map((guest) => `dist/rig/guests/${guest}.js`),
  'dist/examples/rng/backend.js',
];

/** Packages that the published package does not have built in; koffi without its sources. */
const PACKAGES = ['commander', 'koffi'];

/**
 * Puts this project, as it would be published, onto a disk for dom0, with what is to be added to a guest that has Node.
 * @param root the checkout, compiled
 */
export const stage = (root: string, cache: string): void => {
  const folder = join(cache, 'stage');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'node_modules/@koromix'), { recursive: true });
  execFileSync(process.execPath, [join(root, 'scripts/bundle.mjs'), folder, ...MORE]);
  for (const name of PACKAGES) {
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), {
      recursive: true,
      filter: (path) => !/\/koffi\/(vendor|doc)(\/|$)/.test(path),
    });
  }
  for (const name of readdirSync(join(root, 'node_modules/@koromix'))) {
    cpSync(join(root, 'node_modules/@koromix', name), join(folder, 'node_modules/@koromix', name), { recursive: true });
  }
  const guest = join(cache, 'guest');
  rmSync(guest, { recursive: true, force: true });
  mkdirSync(guest);
  cpSync(folder, join(guest, 'splitring'), { recursive: true });
  const pack = `cd ${guest} && find . | cpio --quiet -o -H newc > ${folder}/guest-splitring.cpio`;
  execFileSync('bash', ['-c', pack]);
  cpSync(join(root, 'rig'), join(folder, 'rig'), { recursive: true, filter: (path) => !path.endsWith('.ts') });
  const image = join(cache, 'boot/splitring.ext4');
  execFileSync('bash', [
    '-c',
    `rm -f ${image} && truncate -s 64M ${image} && mkfs.ext4 -q -F -O ^has_journal -m 0 -d ${folder} ${image}`,
  ]);
};
