// One case of the storm suite: node case.js backend|store|guest bursts|even MS prints as JSON the victim's rates without and with the
// storm, what is left of them, and how many events a second were raised.
import { firstValueFrom } from 'rxjs';
import { type Domid, XenStore } from '../../../core/index.js';
import { vbdKeys, vdevOf } from '../../../drivers/blk/index.js';
import { ThreadsMachine } from '../../../platform/threads/index.js';
import { median, ratios } from '../../lib/measure.js';
import {
  ORDER,
  type Order,
  type Pace,
  type Progress,
  type Raised,
  type Storm,
  type VictimCommandLine,
  type Weather,
} from './protocol.js';

/** Rounds of three windows, one of each weather, each round beginning with another; the first is not counted. */
const ROUNDS = 6;
const weathers: readonly Weather[] = ['calm', 'decoy', 'storm'];

const [, , storm, pace, text] = process.argv as unknown as readonly [string, string, Storm, Pace, string];
const ms = Number(text);
const machine = await ThreadsMachine.create();
machine.log$.subscribe(({ domain, level, text: line }) => {
  if (level !== 'info') process.stderr.write(`${domain}: ${line}\n`);
});
const boot = (of: string, module: string, cmdline: VictimCommandLine | string): Promise<Domid> =>
  machine.boot({ name: of, module: new URL(`${module}.module.js`, import.meta.url), cmdline });
const attach = (frontend: Domid, backend: Domid, vdev: string): Promise<void> =>
  machine.toolstack.attach({
    device: 'vbd',
    id: vdevOf(vdev),
    frontend,
    backend,
    keys: vbdKeys({ vdev, params: '', mode: 'w' }),
  });

const backend = await boot('backend', 'backend', '');
const victim = await boot('victim', 'victim', { disk: storm === 'store' ? undefined : vdevOf('xvda') });
let stormer: Domid;
if (storm === 'guest') {
  stormer = await boot('rogue', 'backend', '');
  await attach(victim, stormer, 'xvdb');
} else {
  stormer = await boot('stormer', 'stormer', storm);
  await attach(stormer, backend, 'xvda');
}
if (storm !== 'store') await attach(victim, backend, 'xvda');

let progress: Progress | undefined;
machine.reportsOf$(victim).subscribe((value) => {
  progress = value as Progress;
});
const now = async (): Promise<Progress> => {
  progress = undefined;
  return progress ?? ((await firstValueFrom(machine.reportsOf$(victim))) as Progress);
};
const sleep = (time: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, time));
const rateOver = async (work: () => Promise<unknown>): Promise<number> => {
  const before = await now();
  await work();
  const after = await now();
  return ((after.done - before.done) / (after.at - before.at)) * 1000;
};
const store = machine.dom0.get(XenStore);
const raised: number[] = [];
const order = async (given: Order): Promise<void> => {
  const ended = firstValueFrom(machine.reportsOf$(stormer));
  await store.write(`/local/domain/${stormer}/${ORDER}`, JSON.stringify(given));
  const told = (await ended) as Raised;
  if (given.weather === 'storm') raised.push((told.raised / told.ms) * 1000);
};

await now();
const rates: Readonly<Record<Weather, number[]>> = { calm: [], decoy: [], storm: [] };
for (let count = 0; count < (1 + ROUNDS) * weathers.length; count++) {
  const round = Math.floor(count / weathers.length);
  const weather = weathers[(count + round) % weathers.length] as Weather;
  const rate = await rateOver(() => (weather === 'calm' ? sleep(ms) : order({ weather, pace, ms, count })));
  if (round > 0) rates[weather].push(rate);
}
const left = (of: Weather): number => median(ratios(rates.storm, rates[of]));
console.log(
  JSON.stringify({
    rate: median(rates.storm),
    ofCalm: left('calm'),
    ofDecoy: left('decoy'),
    raised: median(raised),
  }),
);
await machine[Symbol.asyncDispose]();
