import type { Domid } from '../abi/units.js';
import type { Domains } from './domains.js';
import type { MachineMemory } from './memory.js';
import { type Ports, peerPortOf, peerSlotOf, portState, remoteOf, stateOf } from './ports.js';
import type { SharedInfo } from './shared-info.js';

/** What the toolstack calls a domain; undefined for one that it does not know. */
export type NameOf = (domid: Domid) => string | undefined;

/** A port's state as Xen numbers it inside (sched.h `ECS_*`): a reserved port comes before those that EVTCHNOP_status tells apart. */
const ecs = (state: number): number => (state === portState.reserved ? 1 : state + 1);

const bit = (is: boolean): string => (is ? '1' : '0');

/**
 * What Xen's debug key `e` prints (event_channel.c `dump_evtchn_info`), with the owner's name behind, which our Xen is told. It takes no
 * lock, so that it tells of a machine that is stuck, too; each port is a snapshot of its own.
 */
export class EventDump {
  readonly #memory: MachineMemory;
  readonly #domains: Domains;
  readonly #ports: Ports;
  readonly #sharedInfo: SharedInfo;

  constructor(memory: MachineMemory, domains: Domains, ports: Ports, sharedInfo: SharedInfo) {
    this.#memory = memory;
    this.#domains = domains;
    this.#ports = ports;
    this.#sharedInfo = sharedInfo;
  }

  /** The ports of every domain, by domid, in lines. */
  lines(nameOf: NameOf): readonly string[] {
    const slots = this.#domains
      .slots()
      .filter((slot) => this.#memory.slotOf(this.#domains.domid(slot)) === slot)
      .sort((a, b) => this.#domains.domid(a) - this.#domains.domid(b));
    return ["'e' pressed -> dumping event-channel info", ...slots.flatMap((slot) => this.#linesOf(slot, nameOf))];
  }

  /** `domain_dump_evtchn_info` */
  #linesOf(slot: number, nameOf: NameOf): readonly string[] {
    const domid = this.#domains.domid(slot);
    const name = nameOf(domid);
    const behind = name === undefined ? '' : ` (${name})`;
    const lines = [`Event channel information for domain ${domid}:${behind}`, 'Polling vCPUs: {}', '    port [p/m/s]'];
    for (let port = 1; port < this.#ports.valid(slot); port++) {
      const word = this.#ports.get(slot, port);
      if (stateOf(word) !== portState.free) lines.push(this.#lineOf(slot, port, word) + behind);
    }
    return lines;
  }

  #lineOf(slot: number, port: number, word: number): string {
    const info = this.#sharedInfo;
    const page = info.at(slot);
    const abi32 = info.isAbi32(slot);
    const vcpu = this.#ports.vcpu(slot, port);
    const bits = [
      info.isPending(page, port),
      info.isMasked(page, abi32, port),
      info.isSelected(info.infoIn(page, vcpu), abi32, port),
    ].map(bit);
    const state = stateOf(word);
    return `    ${String(port).padStart(4)} [${bits.join('/')}]: s=${ecs(state)} n=${vcpu} x=0${this.#boundTo(state, word)}`;
  }

  #boundTo(state: number, word: number): string {
    switch (state) {
      case portState.unbound:
        return ` d=${remoteOf(word)}`;
      case portState.interdomain:
        return ` d=${this.#domains.domid(peerSlotOf(word))} p=${peerPortOf(word)}`;
      case portState.pirq:
        return ` p=${word >>> 3}`;
      case portState.virq:
        return ` v=${word >>> 3}`;
      default:
        return '';
    }
  }
}
