import { readFileSync } from 'node:fs';

/**
 * Nanoseconds of processor that this thread has had, so that others on the machine do not count, nor does the compiler's own thread;
 * where the system does not tell, time.
 */
export const spent = (): number => {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]);
  } catch {
    return Number(process.hrtime.bigint());
  }
};

/**
 * The main of a case's program: prints how many millions a second `run` does, or the bytes that it allocates for each.
 * @param run does about so many, and returns how many it did
 * @param mode `rate` or `alloc`; the latter needs `--expose-gc` and a young generation that no run fills
 * @param n how many to time; what comes before is for the compiler
 */
export const measureCase = (run: (n: number) => unknown, mode: string, n: number): void => {
  for (let i = 0; i < 4; i++) run(Math.min(n, 160_000));
  if (mode === 'alloc') {
    for (let i = 0; i < 40; i++) run(Math.min(n, 16_000));
    const counted = Math.min(n, 32_000);
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    run(counted);
    console.log(((process.memoryUsage().heapUsed - before) / counted).toFixed(3));
    return;
  }
  const start = spent();
  run(n);
  console.log(((n / (spent() - start)) * 1e3).toFixed(4));
};
