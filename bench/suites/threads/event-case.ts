// Events there and back between two domains, through any of so many channels.
// node event-case.js blocking|loop CHANNELS TRIPS prints the times there and back in microseconds as JSON.
import { firstValueFrom } from 'rxjs';
import { control } from '../../../core/hypervisor/layout.js';
import { asDomid, type DomainConfig, type Domid, type Port } from '../../../core/index.js';
import { ThreadsMachine } from '../../../platform/threads/index.js';
import type { PingOptions } from './ping.module.js';

const [, , rest, channels = '1', trips = '20000'] = process.argv;
const blocking = rest === 'blocking';
const machine = await ThreadsMachine.create();
machine.shutdowns$.subscribe(({ error }) => {
  throw error ?? new Error('a domain has ended before it was measured');
});
machine.log$.subscribe(({ level, domain, text }) => {
  if (level !== 'info') process.stderr.write(`${domain}: ${text}\n`);
});
/** Boots a domain that may have as many ports as the 2-level ABI knows (xl.cfg's `max_event_channels`). */
const boot = async (config: DomainConfig): Promise<Domid> => {
  const domid = await machine.toolstack.create(config);
  const { memory } = machine.hypervisor;
  memory.words[memory.control(memory.slotOf(domid)) + control.maxPort] = 4095;
  await machine.toolstack.unpause(domid);
  return domid;
};
const module = new URL('ping.module.js', import.meta.url);
// The domain that pings is the second one.
const echoOptions: PingOptions = { role: 'echo', remote: asDomid(2), channels: Number(channels) };
const ready = firstValueFrom(machine.reports$);
const echo = await boot({ name: 'echo', module, cmdline: echoOptions, blocking });
const ports = (await ready).value as readonly Port[];
const pingOptions: PingOptions = { role: 'ping', remote: echo, ports, trips: Number(trips) };
const reported = firstValueFrom(machine.reports$);
await boot({ name: 'ping', module, cmdline: pingOptions, blocking });
console.log(JSON.stringify((await reported).value));
await machine[Symbol.asyncDispose]();
