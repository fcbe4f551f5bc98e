import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { header } from '../../../core/hypervisor/layout.js';

/**
 * Runs `calls`, and `others` each time that they let the lock go, as other threads' calls would come; how often that was. What
 * `others` does itself is not counted.
 */
export const betweenLocks = (hypervisor: Hypervisor, others: (time: number) => void, calls: () => void): number => {
  const { words } = hypervisor.memory;
  const { exchange } = Atomics;
  let times = 0;
  let inside = false;
  Atomics.exchange = ((array: Int32Array, at: number, value: number) => {
    const result = exchange(array, at, value);
    if (array === words && at === header.lock && !inside) {
      inside = true;
      others(times++);
      inside = false;
    }
    return result;
  }) as typeof Atomics.exchange;
  try {
    calls();
  } finally {
    Atomics.exchange = exchange;
  }
  return times;
};
