import { cases } from './ring-cases.js';

const [, , name = '', mode = 'rate', scale = '1'] = process.argv;
const run = cases[name]?.();
if (run === undefined) throw new RangeError(`no case ${name}`);
const n = 3_200_000 * Number(scale);
run(n / 10);
run(n / 10);
if (mode === 'alloc') {
  for (let i = 0; i < 40; i++) run(32_000);
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  run(32_000);
  console.log(((process.memoryUsage().heapUsed - before) / 32_000).toFixed(3));
} else {
  const start = process.hrtime.bigint();
  run(n);
  console.log(((n / Number(process.hrtime.bigint() - start)) * 1e3).toFixed(2));
}
