// A process whose domain does not yield for a second and a half: what the watchdog's spec starts.
import { Vcpus } from '../../../core/index.js';
import { LocalMachine } from '../../../platform/local/index.js';

const machine = await LocalMachine.create({ seed: 1, clock: 'simulated', memory: 8 << 20, watchdog: 0.5 });
const hung = await machine.guest('hung');
await hung
  .get(Vcpus)
  .vcpu(0)
  .run(() => {
    for (const end = performance.now() + 1500; performance.now() < end; );
  });
await machine[Symbol.asyncDispose]();
