// One case of the threads suite: two domains with the driver between them, under load.
// node case.js blocking|loop OPTIONS prints as JSON what the frontend reports, and what the backend counted.
import { firstValueFrom } from 'rxjs';
import type { Domid } from '../../../core/index.js';
import { ThreadsMachine } from '../../../platform/threads/index.js';
import type { BackendReport, LoadOptions, LoadReport } from './protocol.js';

const [, , rest, text = '{}'] = process.argv;
const options = JSON.parse(text) as LoadOptions;
const machine = await ThreadsMachine.create();
machine.shutdowns$.subscribe(({ error }) => {
  throw error ?? new Error('a domain has ended before it was measured');
});
machine.log$.subscribe(({ level, domain, text: line }) => {
  if (level !== 'info') process.stderr.write(`${domain}: ${line}\n`);
});
const boot = (name: string): Promise<Domid> =>
  machine.boot({
    name,
    module: new URL(`${name}.module.js`, import.meta.url),
    cmdline: options,
    blocking: rest === 'blocking',
  });
const backend = await boot('backend');
const frontend = await boot('frontend');
// All of the backend's reports are sent at the same point of its work: what lies between two is whole.
const told: BackendReport[] = [];
machine.reportsOf$(backend).subscribe((value) => {
  told.push(value as BackendReport);
});
const reported = firstValueFrom(machine.reportsOf$(frontend));
await machine.toolstack.attach({ device: 'vbench', id: 0, frontend, backend });
const report = (await reported) as LoadReport;
const [first, last] = [told[0], told.at(-1)];
const between = (what: keyof BackendReport): number => (last?.[what] ?? 0) - (first?.[what] ?? 0);
console.log(JSON.stringify({ ...report, served: between('served'), answers: between('sends') }));
await machine[Symbol.asyncDispose]();
