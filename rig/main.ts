// npm run test:xen [-- SCENARIO…] [--times N]: boots Xen with a Debian dom0 in QEMU, and has the scenarios run there.
import { execFileSync, spawnSync } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { boot } from './boot.js';
import { scenarioNames } from './scenario-names.js';
import { stage } from './stage.js';

/** What the rig needs of the machine that it runs on. */
const programs = ['qemu-system-x86_64', 'mmdebstrap', 'cpio', 'modprobe', 'mkfs.ext4', 'xz', 'apt-get'];

/** Exit code when nothing could be tested. */
const CANNOT = 3;

const fail = (text: string, code: number): never => {
  process.stderr.write(`splitring: ${text}\n`);
  process.exit(code);
};

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const args = process.argv.slice(2);
const timesAt = args.indexOf('--times');
const times = timesAt < 0 ? 1 : Number(args.splice(timesAt, 2)[1]);
if (!(times >= 1)) fail('--times takes a number from 1 on', 2);
const unknown = args.find((name) => !scenarioNames.includes(name));
if (unknown !== undefined) fail(`there is no scenario ${unknown}; there are ${scenarioNames.join(', ')}`, 2);
const scenarios = args.length === 0 ? scenarioNames : args;
if (process.getuid?.() !== 0)
  fail('npm run test:xen makes disks for a machine of its own, and needs root for that', CANNOT);
const missing = programs.filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
if (missing.length > 0) {
  const packages = 'qemu-system-x86 mmdebstrap cpio kmod e2fsprogs xz-utils';
  fail(`npm run test:xen needs ${missing.join(', ')}: apt-get install --no-install-recommends ${packages}`, CANNOT);
}

const root = new URL('.', import.meta.resolve('splitring/package.json')).pathname;
const cache =
  process.env.SPLITRING_RIG ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'splitring-rig');

const started = performance.now();
say(`rig in ${cache}`);
try {
  execFileSync('bash', [join(root, 'rig/build.sh'), cache, process.execPath], { stdio: 'inherit' });
  stage(root, cache);
} catch (error) {
  fail(`the rig's images cannot be made: ${error instanceof Error ? error.message : String(error)}`, CANNOT);
}
say(`step images are ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
let well = true;
for (let time = 1; time <= times; time++) {
  if (times > 1) say(`run ${time} of ${times}`);
  well = (await boot({ cache, scenarios, say })) && well;
}
process.exit(well ? 0 : 1);
