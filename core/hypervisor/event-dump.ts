import type { Domid } from '../abi/units.js';
import type { Domains } from './domains.js';
import type { NameOf } from './grant-dump.js';
import type { MachineMemory } from './memory.js';
import type { PirqTable } from './pirq-table.js';
import type { Pollers } from './pollers.js';
import {
  irqOf,
  isUsable,
  type Ports,
  peerPortOf,
  peerSlotOf,
  portState,
  remoteOf,
  stateOf,
  XEN_CONSUMER,
} from './ports.js';
import type { SharedInfo } from './shared-info.js';

/** A port's state as Xen numbers it inside (sched.h `ECS_*`): a reserved port comes before those that EVTCHNOP_status tells apart. */
const ecs = (state: number): number => (state === portState.reserved ? 1 : state + 1);

const bit = (is: boolean): string => (is ? '1' : '0');

/** The bits of a mask as ranges, as printk prints a bitmap (`%*pbl`): `0-2,5`. */
const asList = (mask: number): string => {
  const ranges: string[] = [];
  for (let first = 0; first < 32; first++) {
    if ((mask & (1 << first)) === 0) continue;
    let last = first;
    while (last < 31 && (mask & (1 << (last + 1))) !== 0) last++;
    ranges.push(first === last ? `${first}` : `${first}-${last}`);
    first = last;
  }
  return ranges.join(',');
};

/**
 * Debug key `e` of Xen's console: each domain's ports with their states (event_channel.c `dump_evtchn_info`), and behind them the names of
 * their owner and of whom it reaches. It takes no lock, so that it tells of a machine that is stuck, too; each port is a snapshot of
 * its own.
 */
export class EventDump {
  readonly #memory: MachineMemory;
  readonly #domains: Domains;
  readonly #ports: Ports;
  readonly #sharedInfo: SharedInfo;
  readonly #pollers: Pollers;
  readonly #pirqs: PirqTable;

  constructor(parts: {
    readonly memory: MachineMemory;
    readonly domains: Domains;
    readonly ports: Ports;
    readonly sharedInfo: SharedInfo;
    readonly pollers: Pollers;
    readonly pirqs: PirqTable;
  }) {
    this.#memory = parts.memory;
    this.#domains = parts.domains;
    this.#ports = parts.ports;
    this.#sharedInfo = parts.sharedInfo;
    this.#pollers = parts.pollers;
    this.#pirqs = parts.pirqs;
  }

  /**
   * What Xen prints, line by line, domains in the order of their numbers, zombies too. Of a port: PENDING, MASK and the selector bit that
   * it shares with its neighbours; s, the state; n, the vCPU that is notified; x, 1 where Xen itself is the consumer; then what it is bound to.
   * @param nameOf domains' names; the owner's stands behind each port, and an arrow and the name of the other end. Without a name it is `d1`
   */
  text(nameOf: NameOf = () => undefined): string {
    const name = (domid: Domid): string => nameOf(domid) ?? `d${domid}`;
    const slots = this.#domains
      .slots()
      .filter((slot) => this.#memory.slotOf(this.#domains.domid(slot)) === slot)
      .sort((a, b) => this.#domains.domid(a) - this.#domains.domid(b));
    const lines = ["'e' pressed -> dumping event-channel info"];
    for (const slot of slots) this.#print(slot, name, lines);
    return `${lines.join('\n')}\n`;
  }

  /** `domain_dump_evtchn_info` */
  #print(slot: number, name: (domid: Domid) => string, lines: string[]): void {
    const domid = this.#domains.domid(slot);
    lines.push(
      `Event channel information for domain ${domid}:  ${name(domid)}`,
      `Polling vCPUs: {${asList(this.#pollers.mask(slot))}}`,
      '    port [p/m/s]',
    );
    for (let port = 1; port < this.#ports.valid(slot); port++) {
      const word = this.#ports.get(slot, port);
      if (stateOf(word) === portState.free) continue;
      const peer = this.#peer(word);
      const to = peer === undefined ? '' : ` -> ${name(peer)}`;
      lines.push(`${this.#lineOf(slot, port, word)}  ${name(domid)}${to}`);
    }
  }

  #lineOf(slot: number, port: number, word: number): string {
    const info = this.#sharedInfo;
    const page = info.at(slot);
    const abi32 = info.isAbi32(slot);
    const vcpu = this.#ports.vcpu(slot, port);
    const usable = isUsable(word);
    const bits = [
      usable && info.isPending(page, port),
      !usable || info.isMasked(page, abi32, port),
      info.isSelected(info.infoIn(page, vcpu), abi32, port),
    ].map(bit);
    const state = stateOf(word);
    return `    ${String(port).padStart(4)} [${bits.join('/')}]: s=${ecs(state)} n=${vcpu} x=${bit((word & XEN_CONSUMER) !== 0)}${this.#boundTo(slot, word)}`;
  }

  #boundTo(slot: number, word: number): string {
    switch (stateOf(word)) {
      case portState.unbound:
        return ` d=${this.#peer(word)}`;
      case portState.interdomain:
        return ` d=${this.#peer(word)} p=${peerPortOf(word)}`;
      case portState.pirq:
        return ` p=${irqOf(word)} i=${this.#pirqs.notedIrq(slot, irqOf(word))}`;
      case portState.virq:
        return ` v=${irqOf(word)}`;
      default:
        return '';
    }
  }

  /** The domain that a port reaches, or waits for. */
  #peer(word: number): Domid | undefined {
    switch (stateOf(word)) {
      case portState.unbound:
        return remoteOf(word);
      case portState.interdomain:
        return this.#domains.domid(peerSlotOf(word));
      default:
        return undefined;
    }
  }
}
