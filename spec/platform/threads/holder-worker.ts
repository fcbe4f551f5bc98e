import { workerData } from 'node:worker_threads';
import type { Domid } from '../../../core/abi/units.js';
import { Lock } from '../../../core/hypervisor/lock.js';
import { MachineMemory } from '../../../core/hypervisor/memory.js';
import type { SharedMemory } from '../../../core/hypervisor/web-assembly.js';
import { ThreadLife } from '../../../platform/threads/thread-life.js';

/** A domain that takes the lock, if it is to, says so by a word, and never lets go. */
const { memory, domid, locks, word } = workerData as {
  readonly memory: SharedMemory;
  readonly domid: Domid;
  readonly locks: boolean;
  readonly word: number;
};
const machine = new MachineMemory(memory);
const told = new ThreadLife(machine).publish(domid);
if (locks) new Lock(machine).acquire(domid);
Atomics.store(machine.words, word, told ? 1 : 2);
Atomics.notify(machine.words, word);
for (;;);
