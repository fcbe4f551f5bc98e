import { existsSync, readFileSync } from 'node:fs';
import { splitring } from './backend.js';
import type { Guest } from './guest.js';
import { loadModule } from './modules.js';
import { check, run, until } from './shell.js';

/** An interface of a guest that Linux' netback serves in dom0. */
export class NetbackVif {
  readonly #guest: Guest;
  /** What dom0's kernel calls it. */
  readonly name: string;

  private constructor(guest: Guest) {
    this.#guest = guest;
    this.name = `vif${guest.domid}.0`;
  }

  /** Loads netback, with as many queues as are said. */
  static async load(queues: number): Promise<void> {
    await loadModule('xen-netback', `max_queues=${queues}`);
  }

  /** Gives the guest an interface, which has addresses in dom0 and is up there. */
  static async attach(
    guest: Guest,
    { mac, addresses, mtu }: { mac: string; addresses: readonly string[]; mtu: number },
  ): Promise<NetbackVif> {
    const vif = new NetbackVif(guest);
    await splitring('attach', guest.name, 'net', '--mac', mac, '--mtu', String(mtu), '--type', 'vif');
    await until(`${vif.name} in dom0`, () => (vif.isThere ? true : undefined), 20);
    // What xl has its script for interfaces do; Linux' netback waits for its end.
    await run('ip', 'link', 'set', vif.name, 'mtu', String(mtu), 'up');
    for (const address of addresses) await run('ip', 'addr', 'add', address, 'dev', vif.name);
    await run('xenstore-write', `${vif.directory}/hotplug-status`, 'connected');
    return vif;
  }

  get directory(): string {
    return `/local/domain/0/backend/vif/${this.#guest.domid}/0`;
  }

  get isThere(): boolean {
    return existsSync(`/sys/class/net/${this.name}`);
  }

  /** Takes it away; netback has then removed what dom0 had of it. */
  async detach(): Promise<void> {
    await splitring('detach', this.#guest.name, 'net');
    await until(`the end of ${this.name} in dom0`, () => (this.isThere ? undefined : true), 20);
  }

  /** Interrupts of its event channels, by the name that netback gave them. */
  get interrupts(): ReadonlyMap<string, number> {
    const lines = readFileSync('/proc/interrupts', 'utf8').split('\n');
    return new Map(
      lines
        .map((line) => line.trim().split(/\s+/))
        .filter((words) => words.at(-1)?.startsWith(`${this.name}-`))
        .map((words) => [(words.at(-1) ?? '').slice(this.name.length + 1), Number(words[1])]),
    );
  }
}

/** What a kernel has counted of a protocol. @param text its /proc/net/snmp; dom0's without it */
export const snmp = (
  protocol: 'Icmp' | 'Udp' | 'Tcp',
  text = readFileSync('/proc/net/snmp', 'utf8'),
): Readonly<Record<string, number>> => {
  const [names, values] = text
    .split('\n')
    .filter((line) => line.startsWith(`${protocol}: `))
    .map((line) => line.trim().split(' ').slice(1));
  check(names !== undefined && values !== undefined, `/proc/net/snmp has no ${protocol}`);
  return Object.fromEntries(names.map((name, i) => [name, Number(values[i])]));
};
