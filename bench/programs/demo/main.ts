// Boots a guest and a backend, has one request answered, and ends.
import { connection, type FrontLink, frontend } from 'splitring';
import { LocalMachine } from 'splitring/platform/local';
import { echo } from './echo.js';

@frontend(echo)
class EchoFrontend {
  connect({ ring }: FrontLink<typeof echo>) {
    return (value: number): Promise<number> =>
      ring.request(
        (req) => req.set({ value }),
        (rsp) => rsp.value,
      );
  }
}

const machine = await LocalMachine.create({ seed: 1, memory: 4 * 2 ** 20 });
const guest = await machine.guest('guest');
const backend = await machine.boot({ name: 'backend', module: new URL('backend.js', import.meta.url) });
await machine.toolstack.attach({ device: 'echo', id: 0, frontend: guest.domid, backend });
const ask = await connection(guest, EchoFrontend);
if ((await ask(42)) !== 42) throw new Error('the backend answered otherwise than it was asked');
await machine[Symbol.asyncDispose]();
