import { threadTime } from './clocks.js';

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
  const start = threadTime();
  run(n);
  console.log(((n / (threadTime() - start)) * 1e3).toFixed(4));
};
