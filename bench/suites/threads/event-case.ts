// Events there and back between two domains, through any of so many channels.
// node event-case.js blocking|loop CHANNELS MILLISECONDS prints the times there and back in microseconds as JSON.
import { firstValueFrom } from 'rxjs';
import { asDomid, type Port } from '../../../core/index.js';
import { ThreadsMachine } from '../../../platform/threads/index.js';
import type { PingOptions } from './ping.module.js';

const [, , rest, channels = '1', length = '300'] = process.argv;
const blocking = rest === 'blocking';
const machine = await ThreadsMachine.create();
machine.log$.subscribe(({ level, domain, text }) => {
  if (level !== 'info') process.stderr.write(`${domain}: ${text}\n`);
});
const module = new URL('ping.module.js', import.meta.url);
// The domain that pings is the second one.
const echoOptions: PingOptions = { role: 'echo', remote: asDomid(2), channels: Number(channels) };
const ready = firstValueFrom(machine.reports$);
const echo = await machine.boot({ name: 'echo', module, cmdline: echoOptions, blocking });
const ports = (await ready).value as readonly Port[];
const pingOptions: PingOptions = { role: 'ping', remote: echo, ports, length: Number(length) };
const reported = firstValueFrom(machine.reports$);
await machine.boot({ name: 'ping', module, cmdline: pingOptions, blocking });
console.log(JSON.stringify((await reported).value));
await machine[Symbol.asyncDispose]();
