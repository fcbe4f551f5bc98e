// What dom0 runs: the scenarios that it is given, each of which prints one line.
import { readdirSync } from 'node:fs';
import { Running, run } from './dom0/shell.js';
import { blkback } from './scenarios/blkback.js';
import { destroy } from './scenarios/destroy.js';
import { disk } from './scenarios/disk.js';
import { driverDomain } from './scenarios/driver-domain.js';
import { grants } from './scenarios/grants.js';
import { hypercalls } from './scenarios/hypercalls.js';
import { net } from './scenarios/net.js';
import { netback } from './scenarios/netback.js';
import { refusals } from './scenarios/refusals.js';
import { restart } from './scenarios/restart.js';
import { rng } from './scenarios/rng.js';
import { save } from './scenarios/save.js';
import { store } from './scenarios/store.js';

/** A scenario throws what is wrong, or resolves to a line about what it saw. */
type Scenario = (step: (text: string) => void) => Promise<string>;

const scenarios: Readonly<Record<string, Scenario>> = {
  store,
  grants,
  hypercalls,
  disk,
  restart,
  destroy,
  refusals,
  save,
  rng,
  net,
  blkback,
  netback,
  'driver-domain': driverDomain,
};

/** Seconds that one may take. */
const LIMIT = 420;

const say = (text: string): void => {
  process.stdout.write(`RIG ${text}\n`);
};

/** Ends what a scenario that failed has left: guests and backends. */
const clean = async (): Promise<void> => {
  const names = (await run('xl', 'list'))
    .split('\n')
    .slice(2)
    .map((line) => line.split(/\s+/)[0] ?? '');
  for (const name of names) await run('xl', 'destroy', name).catch(() => {});
  await run('pkill', '-9', '-f', 'splitring/dist/cli/main.js').catch(() => {});
};

/** What helps to see why one failed: what our programs wrote, the store, the consoles, Xen's and Linux' messages. */
const tell = async (): Promise<void> => {
  for (const { command, lines } of Running.all)
    process.stdout.write(`--- ${command}\n${lines.slice(-40).join('\n')}\n`);
  const consoles = readdirSync('/var/log/xen/console').map((name) => `/var/log/xen/console/${name}`);
  for (const [program, ...args] of [
    ['xl', 'list'],
    ['xenstore-ls', '-fp'],
    ...consoles.map((path) => ['tail', '-n', '40', path] as const),
    ['dmesg'],
    ['xl', 'dmesg'],
  ] as const) {
    process.stdout.write(`--- ${program} ${args.join(' ')}\n${await run(program, ...args).catch(String)}\n`);
  }
};

let failed = 0;
for (const name of process.argv.slice(2)) {
  const scenario = scenarios[name];
  if (scenario === undefined) throw new Error(`there is no scenario ${name}`);
  const start = performance.now();
  const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(0)} s`;
  say(`step ${name}`);
  let limit: NodeJS.Timeout | undefined;
  try {
    const late = new Promise<never>((_, reject) => {
      limit = setTimeout(() => reject(new Error(`it is not done after ${LIMIT} s`)), LIMIT * 1000);
    });
    const summary = await Promise.race([scenario((text) => say(`step ${name}: ${text}`)), late]);
    say(`ok ${name} (${seconds()}): ${summary}`);
  } catch (error) {
    failed++;
    say(`failed ${name} (${seconds()}): ${error instanceof Error ? error.message : String(error)}`);
    process.stdout.write(`${error instanceof Error ? error.stack : ''}\n`);
    await tell();
    await clean();
  } finally {
    clearTimeout(limit);
  }
}
process.exit(failed === 0 ? 0 : 1);
