import { workerData } from 'node:worker_threads';
import type { Domid } from '../../../core/abi/units.js';
import { Lock } from '../../../core/hypervisor/lock.js';
import { MachineMemory } from '../../../core/hypervisor/memory.js';
import type { SharedMemory } from '../../../core/hypervisor/web-assembly.js';

/** Adds to a word under the lock, by a plain load and store, as often as it is told. */
const { memory, domid, word, rounds } = workerData as {
  readonly memory: SharedMemory;
  readonly domid: Domid;
  readonly word: number;
  readonly rounds: number;
};
const machine = new MachineMemory(memory);
const lock = new Lock(machine);
for (let i = 0; i < rounds; i++) {
  lock.acquire(domid);
  machine.words[word] = (machine.words[word] as number) + 1;
  lock.release();
}
