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
