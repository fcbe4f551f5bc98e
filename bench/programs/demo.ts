// Boots a guest and a backend of vrng, has one request answered, and ends.
import { connection } from 'splitring';
import { LocalMachine } from 'splitring/platform/local';
import { RngFrontend } from '../../examples/rng/frontend.js';

const machine = await LocalMachine.create({ seed: 1 });
const guest = await machine.guest('guest');
const module = new URL('../../examples/rng/backend.js', import.meta.url);
const backend = await machine.boot({ name: 'backend', module });
await machine.toolstack.attach({ device: 'vrng', id: 0, frontend: guest.domid, backend });
const device = await connection(guest, RngFrontend);
if ((await device.read(32)).length !== 32) throw new Error('the backend answered with fewer bytes than were asked for');
await machine[Symbol.asyncDispose]();
