import { readFileSync } from 'node:fs';
import { cases } from './ring-cases.js';

/**
 * Nanoseconds of processor that this thread has had, so that others on the machine do not count, nor does the compiler's own thread;
 * where the system does not tell, time.
 */
const spent = (): number => {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]);
  } catch {
    return Number(process.hrtime.bigint());
  }
};

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
  const start = spent();
  run(n);
  console.log(((n / (spent() - start)) * 1e3).toFixed(2));
}
