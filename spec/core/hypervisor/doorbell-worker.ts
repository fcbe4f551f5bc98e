import { workerData } from 'node:worker_threads';
import type { Domid, Port } from '../../../core/abi/units.js';
import { blocked } from '../../../core/hypervisor/doorbell.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import type { SharedMemory } from '../../../core/hypervisor/web-assembly.js';

/** A domain in its own thread that answers each event with one, and sleeps in between; exits with 1 if an event does not come. */
const { memory, domid, port, rounds, begins } = workerData as {
  readonly memory: SharedMemory;
  readonly domid: Domid;
  readonly port: Port;
  readonly rounds: number;
  readonly begins: boolean;
};
const { eventChannels, upcalls, doorbell } = new Hypervisor(memory);
let seen = 0;
const answer = (): void => {
  seen++;
  eventChannels.send(domid, port);
};
if (begins) eventChannels.send(domid, port);
while (seen < rounds) {
  const wakes = doorbell.wakes(domid);
  if (upcalls.scan(domid, answer) > 0 || !doorbell.rest(domid, blocked)) continue;
  if (doorbell.wait(domid, wakes, 10_000) === 'timed-out') process.exit(1);
}
