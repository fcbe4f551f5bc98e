// Starts workers, bare ones or domains, all at once, and prints the time, the processor time and the memory that each took: node workers.js KIND COUNT
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { ThreadsMachine } from 'splitring/platform/threads';

const bare = new URL('bare-worker.js', import.meta.url);
const ours = new URL('../../drivers/blk/module.js', import.meta.url);
const authors = new URL('demo/backend.js', import.meta.url);

const domains = async (module: URL): Promise<(i: number) => Promise<unknown>> => {
  const machine = await ThreadsMachine.create();
  return (i) => machine.boot({ name: `backend-${i}`, module });
};

/** What must be there before any of them starts, and what starts one and waits until it runs. */
const kinds: Readonly<Record<string, () => Promise<(i: number) => Promise<unknown>>>> = {
  bare: async () => () => once(new Worker(bare), 'message'),
  domain: () => domains(ours),
  authors: () => domains(authors),
};

const [, , kind = '', count = '1'] = process.argv;
const prepare = kinds[kind];
if (prepare === undefined) throw new RangeError(`there are workers of kind ${Object.keys(kinds).join(' and ')}`);
const start = await prepare();
const each = Number(count);
const before = process.memoryUsage.rss();
const used = process.cpuUsage();
const began = performance.now();
await Promise.all(Array.from({ length: each }, (_, i) => start(i)));
const ms = (performance.now() - began) / each;
const { user, system } = process.cpuUsage(used);
const cpu = (user + system) / 1000 / each;
const mib = (process.memoryUsage.rss() - before) / each / 2 ** 20;
process.stdout.write(`${JSON.stringify({ ms, cpu, mib })}\n`);
process.exit(0);
