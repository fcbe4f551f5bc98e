import { readFileSync, readlinkSync } from 'node:fs';
import type { Domid } from '../../core/abi/units.js';
import { control } from '../../core/hypervisor/layout.js';
import type { MachineMemory } from '../../core/hypervisor/memory.js';

/** A thread of this process as Linux knows it. */
export interface ThreadId {
  readonly tid: number;
  /** When it began, in ticks since boot, 32 bits of it: numbers of threads are used again. */
  readonly start: number;
}

/** The fields after the name in stat (proc_pid_stat(5)), which may hold spaces and brackets itself: `state` is the third of all. */
const STATE = 0;
const START = 22 - 3;

const statOf = (tid: number): readonly string[] => {
  const stat = readFileSync(`/proc/self/task/${tid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
};

const startOf = (stat: readonly string[]): number => Number(BigInt.asIntN(32, BigInt(stat[START] as string)));

/** The calling thread; undefined where there is no Linux /proc to ask. */
export const ownThread = (): ThreadId | undefined => {
  try {
    const tid = Number(readlinkSync('/proc/thread-self').split('/').pop());
    return { tid, start: startOf(statOf(tid)) };
  } catch {
    return undefined;
  }
};

/**
 * Whether a thread of this process has ended, found out at once, without the event loop. False where that cannot be found out:
 * only what is certain counts.
 */
export const isGone = ({ tid, start }: ThreadId): boolean => {
  try {
    const stat = statOf(tid);
    return startOf(stat) !== start || stat[STATE] === 'Z' || stat[STATE] === 'X';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ESRCH' || (code === 'ENOENT' && ownThread() !== undefined);
  }
};

/**
 * Which thread makes a domain's calls, told in its control page, so that one who waits for a lock that the domain has can see
 * whether it is waiting for a dead one. The main thread needs that: while it waits, no worker's `exit` event reaches it.
 *
 * Where there is no /proc (anything but Linux) nothing is told and nobody is gone: the main thread's wait then ends with
 * {@link StuckLock} after 3 seconds, its event loop turns, and the event arrives before others lose patience too.
 */
export class ThreadLife {
  readonly #memory: MachineMemory;

  constructor(memory: MachineMemory) {
    this.#memory = memory;
  }

  /** Tells that the calling thread makes a domain's calls, before it makes the first; says whether it could be told. */
  publish(domid: Domid): boolean {
    const slot = this.#memory.slotOf(domid);
    const thread = slot < 0 ? undefined : ownThread();
    if (thread === undefined) return false;
    const at = this.#memory.control(slot);
    Atomics.store(this.#memory.words, at + control.threadStart, thread.start);
    Atomics.store(this.#memory.words, at + control.thread, thread.tid);
    return true;
  }

  /** Whether the thread that makes a domain's calls has certainly ended. */
  isGone(domid: Domid): boolean {
    const slot = this.#memory.slotOf(domid);
    if (slot < 0) return false;
    const at = this.#memory.control(slot);
    const tid = Atomics.load(this.#memory.words, at + control.thread);
    return tid !== 0 && isGone({ tid, start: Atomics.load(this.#memory.words, at + control.threadStart) });
  }
}
