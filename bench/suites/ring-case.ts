import { threadTime } from '../lib/clocks.js';
import { cases } from './ring-cases.js';

const [, , name = '', mode = 'rate', scale = '1'] = process.argv;
const run = cases[name]?.();
if (run === undefined) throw new RangeError(`no case ${name}`);
// Long enough that the clock's ticks do not matter; what comes before is for the compiler.
const n = 8_000_000 * Number(scale);
for (let i = 0; i < 4; i++) run(320_000);
if (mode === 'alloc') {
  for (let i = 0; i < 40; i++) run(32_000);
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  run(32_000);
  console.log(((process.memoryUsage().heapUsed - before) / 32_000).toFixed(3));
} else {
  const start = threadTime();
  run(n);
  console.log(((n / (threadTime() - start)) * 1e3).toFixed(2));
}
