import type { Domid, Port } from '../abi/units.js';
import type { EventChannelOps } from './event-channels.js';
import { vcpuWord } from './layout.js';
import type { MachineMemory } from './memory.js';
import { portsOf2Level, type SharedInfo } from './shared-info.js';
import type { Vcpus } from './vcpus.js';

/** Handles one event in its domain. It must not throw. It may close, mask and bind any port, its own included. */
export type Deliver = (port: Port) => void;

const lowestBit = (bits: number): number => 31 - Math.clz32(bits & -bits);

/**
 * The guest's side of the 2-level ABI: finds what is pending and has it handled, as Linux's `evtchn_2l_handle_events` does. Each
 * scan begins after the port at which the last one ended, so a port that is always pending starves none.
 */
export class Upcalls {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #sharedInfo: SharedInfo;
  readonly #vcpus: Vcpus;
  readonly #events: EventChannelOps;

  constructor(memory: MachineMemory, sharedInfo: SharedInfo, vcpus: Vcpus, events: EventChannelOps) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#sharedInfo = sharedInfo;
    this.#vcpus = vcpus;
    this.#events = events;
  }

  /**
   * Delivers the pending, unmasked events that notify a vCPU of the domain, at most `limit` of them; what is left stays pending, with
   * the upcall. An event raised by a handler waits for the next upcall. Returns how many were delivered.
   *
   * A word of ports can hold others' events too, also one that was selected here before its port was moved: those are left to the vCPU
   * that their port notifies, which is told of them if it was not (Linux keeps a mask of each CPU's ports, `cpu_evtchn_mask`).
   */
  scan(domid: Domid, deliver: Deliver, limit: number = Number.POSITIVE_INFINITY, vcpu = 0): number {
    const slot = this.#memory.callerOf(domid);
    if (slot < 0) return 0;
    const info = this.#sharedInfo;
    const page = info.at(slot);
    const abi32 = info.isAbi32(slot);
    const shift = abi32 ? 5 : 6;
    const at = info.infoOf(slot, vcpu);
    const next = this.#vcpus.word(slot, vcpu) + vcpuWord.scanNext;
    const only = this.#vcpus.count(slot) > 1 ? vcpu : -1;

    // The upcall goes first, then the selector, then the bits: in any other order an event that comes between is lost.
    info.clearUpcall(at);
    let low = info.takeSelector(at, abi32, 0);
    let high = abi32 ? 0 : info.takeSelector(at, abi32, 1);
    const last = portsOf2Level(abi32) - 1;
    let from = this.#words[next] as number;
    let delivered = 0;
    while ((low !== 0 || high !== 0) && delivered < limit) {
      const word = nextWord(low, high, from >>> shift);
      const first = word << shift;
      // The word in which the scan begins is looked at twice: its later ports now, all of it at the end.
      const begin = word === from >>> shift ? from : first;
      const end = (word + 1) << shift;
      delivered += this.#scanPorts(slot, page, abi32, begin, end, deliver, limit - delivered, next, only);
      if (begin === first && delivered < limit) {
        if (word < 32) low &= ~(1 << word);
        else high &= ~(1 << (word - 32));
      }
      from = end & last;
    }
    if (low !== 0 || high !== 0) {
      if (low !== 0) info.reselect(at, abi32, 0, low);
      if (high !== 0) info.reselect(at, abi32, 1, high);
      info.setUpcall(at);
    }
    return delivered;
  }

  /** @param only the vCPU whose ports these must be; -1 where there is one only */
  #scanPorts(
    slot: number,
    page: number,
    abi32: boolean,
    from: number,
    to: number,
    deliver: Deliver,
    limit: number,
    next: number,
    only: number,
  ): number {
    const info = this.#sharedInfo;
    const last = portsOf2Level(abi32) - 1;
    let delivered = 0;
    let port = from;
    while (port < to && delivered < limit) {
      // Read again for each event: a handler may have masked or closed the ports after it.
      const bits = info.deliverable(page, abi32, port >>> 5) & (-1 << (port & 31));
      if (bits === 0) {
        port = (port | 31) + 1;
        continue;
      }
      port = (port & ~31) | lowestBit(bits);
      if (only >= 0 && this.#events.handsOn(slot, only, port)) {
        port++;
        continue;
      }
      info.clearPending(page, port);
      this.#words[next] = (port + 1) & last;
      deliver(port as Port);
      delivered++;
      port++;
    }
    return delivered;
  }
}

/** The first set bit of 64 at or after `from`, from the beginning again after the last; there is one. */
const nextWord = (low: number, high: number, from: number): number => {
  if (from < 32) {
    const bits = low & (-1 << from);
    if (bits !== 0) return lowestBit(bits);
    if (high !== 0) return 32 + lowestBit(high);
  } else {
    const bits = high & (-1 << (from - 32));
    if (bits !== 0) return 32 + lowestBit(bits);
  }
  return low !== 0 ? lowestBit(low) : 32 + lowestBit(high);
};
