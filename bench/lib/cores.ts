import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** On one core all threads of a row take turns; with two, each of two has its own. */
export type Cores = 1 | 2;

/** Whether a program is there, and runs. */
export const runs = (program: string, ...args: readonly string[]): boolean =>
  spawnSync(program, args, { stdio: 'ignore' }).status === 0;

const hasTaskset = runs('taskset', '-c', '0', 'true');

/** Why nothing is pinned here; undefined where it is. */
export const unpinned: string | undefined = hasTaskset
  ? undefined
  : 'taskset is not installed: rows for one core run wherever the system puts them';

/** The command that goes before a program, so that it and its threads run on so many cores. */
export const pinning = (cores: Cores): readonly string[] =>
  !hasTaskset ? [] : cores === 1 ? ['taskset', '-c', '0'] : ['taskset', '-c', '0,1'];

/** How often, and how many milliseconds apart, the machine is looked at before it is called busy. */
const LOOKS = 25;
const APART = 10;
/** Others that run, on the average of the looks, from which on two cores are not free. */
const BUSY = 0.2;

/** Threads that run or could run now, as /proc/loadavg counts them; NaN where there is no such file. */
const runnable = (): number => {
  try {
    return Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[3]?.split('/')[0]);
  } catch {
    return Number.NaN;
  }
};

/** How many others run at this time, on the average of a quarter of a second; NaN where the system does not tell. */
export const others = (): number => {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  let sum = 0;
  for (let i = 0; i < LOOKS; i++) {
    // The one that looks is counted, too.
    sum += runnable() - 1;
    Atomics.wait(pause, 0, 0, APART);
  }
  return sum / LOOKS;
};

/** Why a row for two cores cannot be measured now; undefined when both are free. */
export const notTwoCores = (): string | undefined => {
  if (availableParallelism() < 2) return 'one core';
  const busy = others();
  return busy > BUSY ? `machine busy (${busy.toFixed(1)} others run)` : undefined;
};
