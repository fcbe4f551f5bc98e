import { readFile } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { workerData } from 'node:worker_threads';
import { asDomid } from '../../../core/abi/units.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import type { SharedMemory } from '../../../core/hypervisor/web-assembly.js';
import { HypervisorEventChannels } from '../../../platform/hypervisor/event-channels.js';
import { DomainLoop } from '../../../platform/threads/domain-loop.js';

/** A loop that blocks, with something in its way; notes how often it looked for mail, and whether what was under way has come. */
const { memory, scenario, notes } = workerData as {
  readonly memory: SharedMemory;
  readonly scenario: 'mail' | 'timer' | 'file';
  readonly notes: Int32Array;
};
const domid = asDomid(1);
const hypervisor = new Hypervisor(memory);
let looks = 0;
const loop = new DomainLoop(hypervisor.doorbell, {
  blocking: true,
  hasMail: () => {
    notes[0] = ++looks;
    return scenario === 'mail' && looks <= 3;
  },
});
const done = (): void => {
  notes[1] = 1;
  loop.schedule();
};
if (scenario === 'timer') setTimeout(done, 20);
if (scenario === 'file') readFile(fileURLToPath(import.meta.url), done);
loop.add(domid, new HypervisorEventChannels(hypervisor, domid, () => {}));
