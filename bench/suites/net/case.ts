// One case of the net suite: a guest with two interfaces on one bridge. node case.js blocking|loop OPTIONS prints frames a second.
import type { Plain } from '../../../core/index.js';
import { vifKeys } from '../../../drivers/net/index.js';
import { ThreadsMachine } from '../../../platform/threads/index.js';
import { reportedRate } from '../../lib/reported-rate.js';

const [, , rest, text = '{}'] = process.argv;
const options = JSON.parse(text) as Plain;
const machine = await ThreadsMachine.create();
const blocking = rest === 'blocking';
const backend = await machine.boot({
  name: 'backend',
  module: new URL('../../../drivers/net/module.js', import.meta.url),
  blocking,
});
const guest = await machine.boot({
  name: 'guest',
  module: new URL('guest.module.js', import.meta.url),
  cmdline: options,
  blocking,
});
const rate = reportedRate(machine, guest);
for (const devid of [0, 1]) {
  const keys = vifKeys({ devid, mac: `00:16:3e:00:00:0${devid + 1}` });
  await machine.toolstack.attach({ device: 'vif', id: devid, frontend: guest, backend, keys });
}
console.log((await rate).toFixed(0));
await machine[Symbol.asyncDispose]();
process.exit();
