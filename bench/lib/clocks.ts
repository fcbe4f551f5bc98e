import { readFileSync } from 'node:fs';

/**
 * Nanoseconds of processor that the main thread has had: what others on the machine take does not count, nor does the compiler's own
 * thread. For what one thread does alone; where the system does not tell, it is {@link wallTime}.
 */
export const threadTime = (): number => {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]);
  } catch {
    return wallTime();
  }
};

/** Nanoseconds of time: for what several threads do together, where waiting counts. */
export const wallTime = (): number => Number(process.hrtime.bigint());

/** Nanoseconds that core 0 has had nothing to do, in steps of 10 ms; NaN where the system does not tell. */
const idleTime = (): number => {
  try {
    const [, , , , idle, waiting] = (/^cpu0 .*/m.exec(readFileSync('/proc/stat', 'utf8'))?.[0] ?? '').split(' ');
    return (Number(idle) + Number(waiting)) * 1e7;
  } catch {
    return Number.NaN;
  }
};

/** Nanoseconds of processor that all threads of this process have had. */
const processTime = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1e3;
};

/**
 * Nanoseconds that core 0 was this process's, or nobody's: for threads that are pinned to it. It is time without what others took
 * of the core; where the system does not tell, it is time.
 */
export const coreTime = (): number => {
  const idle = idleTime();
  return Number.isNaN(idle) ? wallTime() : processTime() + idle;
};

/** Which clock a case of several threads is measured by: that of the core that they share, or time. */
export type ClockName = 'core' | 'wall';

/** Nanoseconds, exact, and as what can be asked for often: it decides when a case has run long enough. */
export interface CaseClock {
  exact(): number;
  rough(): number;
}

const clocks: Readonly<Record<ClockName, CaseClock>> = {
  core: { exact: coreTime, rough: processTime },
  wall: { exact: wallTime, rough: wallTime },
};

/** The clock of that name. @throws RangeError when there is none */
export const clockOf = (name: string | undefined): CaseClock => {
  const clock = Object.entries(clocks).find(([its]) => its === name)?.[1];
  if (clock === undefined) throw new RangeError(`a case is measured by the clock core or wall, not by ${name}`);
  return clock;
};
