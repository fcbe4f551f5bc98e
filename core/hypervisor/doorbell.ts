import type { Domid } from '../abi/units.js';
import { control, life } from './layout.js';
import type { MachineMemory } from './memory.js';
import type { SharedInfo } from './shared-info.js';
import type { Vcpus } from './vcpus.js';

/** What a domain's thread does, as those who raise events see it. */
export const running = 0;
/** The thread sleeps in {@link Doorbell.wait}; whoever raises an event notifies it. */
export const blocked = 1;
/** The thread is in its event loop, or the scheduler has put the domain by; whoever raises an event calls the platform's ring. */
export const parked = 2;

/** Called in the thread that raised an event, for a domain that was parked. It must not enter the domain: only see that it will be. */
export type Ring = (domid: Domid) => void;

/**
 * How a domain without anything to do learns of an event. Each raise that begins an upcall exchanges `state` with running:
 * whoever finds it set, and only that one, counts `wake` up and rings. A raise may come late, for a domain that is gone: then who
 * has the slot now is rung for, if its state was taken; so a ring for a domain that does not rest, or is no more, does no harm.
 */
export class Doorbell {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #sharedInfo: SharedInfo;
  readonly #vcpus: Vcpus;
  readonly #ring: Ring;
  #holds = 0;
  /** The slots that are to be kicked when nothing holds any more. */
  readonly #held: number[] = [];

  constructor(memory: MachineMemory, sharedInfo: SharedInfo, vcpus: Vcpus, ring: Ring) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#sharedInfo = sharedInfo;
    this.#vcpus = vcpus;
    this.#ring = ring;
  }

  /** Wakes the domain in a slot, if it does not run. */
  kick(slot: number): void {
    const words = this.#words;
    const at = this.#memory.control(slot);
    if (this.#memory.code.load((at + control.state) * 4) === running) return;
    if (this.#holds > 0) {
      if (!this.#held.includes(slot)) this.#held.push(slot);
      return;
    }
    const state = Atomics.exchange(words, at + control.state, running);
    if (state === running) return;
    Atomics.add(words, at + control.wake, 1);
    if (state === blocked) Atomics.notify(words, at + control.wake);
    else if (state === parked) this.#ring(words[at + control.domid] as Domid);
  }

  /**
   * From now on until {@link release}, which has to come before this thread rests, this thread's kicks wait: on a shared processor, who is
   * woken runs at once, and would find half of what it is woken for. One that dies meanwhile leaves domains unkicked, as one that dies
   * inside a kick does: recovery kicks all.
   */
  hold(): void {
    this.#holds++;
  }

  /** Ends what {@link hold} began; at the last the domains are kicked. */
  release(): void {
    if (--this.#holds > 0) return;
    for (let slot = this.#held.pop(); slot !== undefined; slot = this.#held.pop()) this.kick(slot);
  }

  /** Wakes the domain in a slot whatever its state says: a caller may have died between changing it and ringing. */
  kickAnyway(slot: number): void {
    const at = this.#memory.control(slot);
    Atomics.add(this.#words, at + control.wake, 1);
    Atomics.store(this.#words, at + control.state, running);
    Atomics.notify(this.#words, at + control.wake);
    if (this.#words[at + control.life] === life.alive) this.#ring(this.#words[at + control.domid] as Domid);
  }

  /** Wakes a domain's thread, whatever its state, though no event has come: it has mail by other ways. */
  nudge(domid: Domid): void {
    const slot = this.#memory.slotOf(domid);
    if (slot >= 0) this.kickAnyway(slot);
  }

  /** The kicks that a resting domain has got: read it before looking for work, and give it to {@link wait}. */
  wakes(domid: Domid): number {
    const slot = this.#memory.slotOf(domid);
    return slot < 0 ? 0 : Atomics.load(this.#words, this.#memory.control(slot) + control.wake);
  }

  /**
   * Whether any vCPU of the domain is to be entered: evtchn_upcall_pending set and evtchn_upcall_mask clear, or else attention asked
   * for; and up, and not paused.
   */
  hasUpcall(domid: Domid): boolean {
    const slot = this.#memory.slotOf(domid);
    if (slot < 0) return false;
    const page = this.#sharedInfo.at(slot);
    const attention = this.#vcpus.attention(slot);
    if ((attention !== 0 || this.#sharedInfo.hasUpcall(page)) && this.#isDue(slot, page, attention, 0)) return true;
    const count = this.#vcpus.count(slot);
    for (let vcpu = 1; vcpu < count; vcpu++) {
      if (this.#isDue(slot, page, attention, vcpu)) return true;
    }
    return false;
  }

  /** Whether one vCPU of the domain is to be entered. */
  hasUpcallOn(domid: Domid, vcpu: number): boolean {
    const slot = this.#memory.slotOf(domid);
    if (slot < 0 || !this.#vcpus.has(slot, vcpu)) return false;
    return this.#isDue(slot, this.#sharedInfo.at(slot), this.#vcpus.attention(slot), vcpu);
  }

  #isDue(slot: number, page: number, attention: number, vcpu: number): boolean {
    return (
      ((attention & (1 << vcpu)) !== 0 || this.#sharedInfo.hasUpcall(this.#sharedInfo.infoIn(page, vcpu))) &&
      this.#vcpus.mayRun(slot, vcpu)
    );
  }

  /**
   * Declares that the domain's thread is about to sleep; false, and nothing declared, if an upcall came meanwhile. No wake-up is
   * lost: a raise before this call is seen by it, and one after it rings.
   */
  rest(domid: Domid, state: typeof blocked | typeof parked): boolean {
    const slot = this.#memory.slotOf(domid);
    if (slot < 0) return true;
    Atomics.store(this.#words, this.#memory.control(slot) + control.state, state);
    if (!this.hasUpcall(domid)) return true;
    this.wake(domid);
    return false;
  }

  /** Declares that the domain is put by, whatever waits for it: whoever puts it by looks for that itself. */
  park(domid: Domid): void {
    const slot = this.#memory.slotOf(domid);
    if (slot >= 0) Atomics.store(this.#words, this.#memory.control(slot) + control.state, parked);
  }

  /** Declares that the domain's thread runs. */
  wake(domid: Domid): void {
    const slot = this.#memory.slotOf(domid);
    if (slot >= 0) Atomics.store(this.#words, this.#memory.control(slot) + control.state, running);
  }

  /**
   * Sleeps, after {@link rest} as blocked, until a kick since `wakes` was read (`ok`; `not-equal` if it came before this call), or
   * for `ms` milliseconds.
   */
  wait(domid: Domid, wakes: number, ms?: number): 'ok' | 'not-equal' | 'timed-out' {
    const slot = this.#memory.slotOf(domid);
    if (slot < 0) return 'not-equal';
    const woken = Atomics.wait(this.#words, this.#memory.control(slot) + control.wake, wakes, ms);
    this.wake(domid);
    return woken;
  }
}
