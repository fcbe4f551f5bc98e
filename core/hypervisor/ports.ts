import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import { type Frames, frameKind } from './frames.js';
import { control, life, PAIRS_SHIFT, PORTS_PER_BUCKET, pairAt } from './layout.js';
import type { MachineMemory } from './memory.js';
import { portsOf2Level, type SharedInfo } from './shared-info.js';

/** What a port is, numbered as EVTCHNOP_status reports it (event_channel.h `EVTCHNSTAT_*`); reserved ports report as closed. */
export const portState = { free: 0, unbound: 1, interdomain: 2, pirq: 3, virq: 4, ipi: 5, reserved: 7 } as const;

const STATE = 7;
const ARGUMENT = 3;
const PEER_PORT = 11;
const PEER_SLOT = 0xff;
const PEER_PORT_MASK = 0x1ffff;
const DOMID = 0xffff;

/**
 * In the word of an unbound or interdomain port: Xen itself takes its events, so its domain can neither send nor close it
 * (event_channel.c `consumer_is_xen`).
 */
export const XEN_CONSUMER = 1 << 30;
/** In the word of an interdomain port: its other end is one of those. */
export const XEN_PEER = 1 << 29;
/** What a sender distinguishes ports by. */
export const SEND_KIND = STATE | XEN_CONSUMER | XEN_PEER;

/** The state in a port's word. */
export const stateOf = (port: number): number => port & STATE;
/** The domid that an unbound port is reserved for. */
export const remoteOf = (port: number): Domid => ((port >>> ARGUMENT) & DOMID) as Domid;
/** The slot of an interdomain port's other end. A slot keeps its domain as long as a port names it. */
export const peerSlotOf = (port: number): number => (port >>> ARGUMENT) & PEER_SLOT;
/** The port of an interdomain port's other end. */
export const peerPortOf = (port: number): number => (port >>> PEER_PORT) & PEER_PORT_MASK;
/** The word of an unbound or interdomain port without what it says of Xen. */
export const plainPort = (port: number): number => port & ~(XEN_CONSUMER | XEN_PEER);

/** Whether its domain may use a port for events: one that is neither free nor reserved, nor Xen's own (event.h `evtchn_usable`). */
export const isUsable = (port: number): boolean => {
  const state = port & STATE;
  return state !== portState.free && state !== portState.reserved && (port & XEN_CONSUMER) === 0;
};

/** The word of a port that waits for `remote`. */
export const unboundPort = (remote: number): number => portState.unbound | ((remote & 0xffff) << ARGUMENT);
/** The word of a port whose other end is `port` of the domain in `slot`. */
export const interdomainPort = (slot: number, port: number): number =>
  portState.interdomain | (slot << ARGUMENT) | (port << PEER_PORT);
/** The word of a port that is bound to a virtual interrupt. */
export const virqPort = (virq: number): number => portState.virq | (virq << ARGUMENT);
/** The word of a port that is bound to a physical interrupt, as its domain numbers it. */
export const pirqPort = (pirq: number): number => portState.pirq | (pirq << ARGUMENT);
/** The number of the interrupt that a port is bound to, virtual or physical. */
export const irqOf = (port: number): number => port >>> ARGUMENT;

/**
 * The port tables of all slots. A port's state, with what it is bound to, is one word: so every step of the state machine is one
 * store, and only a pair of ports can be found half changed. The second word names the vCPU that is notified.
 */
export class Ports {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #frames: Frames;
  readonly #sharedInfo: SharedInfo;

  constructor(memory: MachineMemory, frames: Frames, sharedInfo: SharedInfo) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#frames = frames;
    this.#sharedInfo = sharedInfo;
  }

  /** Ports of a slot that have an entry (`port_is_valid`). */
  valid(slot: number): number {
    return this.#words[this.#memory.control(slot) + control.validPorts] as number;
  }

  /** The word of a port, or a free one's where there is no entry. */
  get(slot: number, port: number): number {
    return port >>> 0 < this.valid(slot) ? (this.#words[this.#entry(slot, port)] as number) : portState.free;
  }

  /** The vCPU that a valid port notifies. */
  vcpu(slot: number, port: number): number {
    return this.#words[this.#entry(slot, port) + 1] as number;
  }

  /** Changes a valid port's word. */
  set(slot: number, port: number, word: number): void {
    Atomics.store(this.#words, this.#entry(slot, port), word);
  }

  /** Gives a valid, free port its word and the vCPU that it notifies. */
  bind(slot: number, port: number, word: number, vcpu: number): void {
    const entry = this.#entry(slot, port);
    this.#words[entry + 1] = vcpu;
    Atomics.store(this.#words, entry, word);
  }

  /** Has a bound port notify another vCPU from its next event on. */
  setVcpu(slot: number, port: number, vcpu: number): void {
    Atomics.store(this.#words, this.#entry(slot, port) + 1, vcpu);
  }

  /** The lowest free port, or -ENOSPC, -ENOMEM; -EINVAL in a domain that dies. */
  lowestFree(slot: number): number {
    const words = this.#words;
    const at = this.#memory.control(slot);
    if (words[at + control.life] !== life.alive) return -errno.EINVAL;
    const valid = words[at + control.validPorts] as number;
    let port = words[at + control.freePortHint] as number;
    while (port < valid && words[this.#entry(slot, port)] !== portState.free) port++;
    words[at + control.freePortHint] = port;
    const abi32 = this.#sharedInfo.isAbi32(slot);
    if (port > (words[at + control.maxPort] as number) || port >= portsOf2Level(abi32)) return -errno.ENOSPC;
    return port < valid || this.#grow(slot) ? port : -errno.ENOMEM;
  }

  /** Gives a port back: PENDING goes, the guest's MASK stays (`evtchn_free`). */
  free(slot: number, port: number): void {
    const words = this.#words;
    const entry = this.#entry(slot, port);
    Atomics.store(words, entry, portState.free);
    words[entry + 1] = 0;
    this.#sharedInfo.clearPending(this.#sharedInfo.at(slot), port);
    const hint = this.#memory.control(slot) + control.freePortHint;
    if (port < (words[hint] as number)) words[hint] = port;
  }

  /** The first bucket of a new domain's table, with port 0 reserved for ever (`evtchn_init`); false when memory is short. */
  init(slot: number): boolean {
    if (!this.#grow(slot)) return false;
    this.set(slot, 0, portState.reserved);
    this.#words[this.#memory.control(slot) + control.freePortHint] = 1;
    return true;
  }

  #entry(slot: number, port: number): number {
    return pairAt(this.#words, this.#memory.control(slot) + control.portFrameList, port);
  }

  #grow(slot: number): boolean {
    const words = this.#words;
    const at = this.#memory.control(slot);
    const valid = words[at + control.validPorts] as number;
    const place = at + control.portFrameList + (valid >>> PAIRS_SHIFT);
    if (words[place] === 0) {
      const frame = this.#frames.takeTable(words[at + control.domid] as Domid, frameKind.table);
      if (frame < 0) return false;
      Atomics.store(words, place, frame);
    }
    Atomics.store(words, at + control.validPorts, valid + PORTS_PER_BUCKET);
    return true;
  }
}
