import type { Doorbell } from './doorbell.js';
import { control, vcpuWord } from './layout.js';
import type { MachineMemory } from './memory.js';
import type { Vcpus } from './vcpus.js';

/** The vCPUs that wait in SCHEDOP_poll, as who raises an event sees them. It takes no lock. */
export class Pollers {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #vcpus: Vcpus;
  readonly #doorbell: Doorbell;

  constructor(memory: MachineMemory, vcpus: Vcpus, doorbell: Doorbell) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#vcpus = vcpus;
    this.#doorbell = doorbell;
  }

  /** Whether any vCPU of a slot's domain polls. */
  any(slot: number): boolean {
    return this.mask(slot) !== 0;
  }

  /**
   * Wakes who polls the port: those that poll it alone, and any that polls several or none, which may be woken for nothing
   * (event_channel.h `evtchn_check_pollers`). The last step of raising an event, for masked ports too.
   */
  wake(slot: number, port: number): void {
    let mask = this.mask(slot);
    for (; mask !== 0; mask &= mask - 1) {
      const vcpu = 31 - Math.clz32(mask & -mask);
      const polled = this.#words[this.#vcpus.word(slot, vcpu) + vcpuWord.pollPort] as number;
      if (polled <= 0 || polled === port) this.unblock(slot, vcpu);
    }
  }

  /** Ends a vCPU's poll, if it polls, and has it entered (core.c `vcpu_unblock`). */
  unblock(slot: number, vcpu: number): void {
    if (!this.stop(slot, vcpu)) return;
    this.#vcpus.attend(slot, vcpu);
    this.#doorbell.kick(slot);
  }

  /** Ends a vCPU's poll; whether it polled. */
  stop(slot: number, vcpu: number): boolean {
    const at = this.#memory.control(slot) + control.pollMask;
    const bit = 1 << vcpu;
    if (((this.#words[at] as number) & bit) === 0 || (Atomics.and(this.#words, at, ~bit) & bit) === 0) return false;
    this.#words[this.#vcpus.word(slot, vcpu) + vcpuWord.pollPort] = 0;
    return true;
  }

  /** A bit for each vCPU of a slot's domain that polls (sched.h `poll_mask`). */
  mask(slot: number): number {
    // A plain load: who raises an event has set PENDING, and then loaded MASK atomically, behind which this stays.
    return this.#words[this.#memory.control(slot) + control.pollMask] as number;
  }

  /** Has every vCPU of a slot entered that waits, for nothing perhaps: who was about to wake it may have died. */
  wakeAll(slot: number): void {
    for (let vcpu = 0; vcpu < this.#vcpus.count(slot); vcpu++) {
      if (this.#vcpus.isBlocked(slot, vcpu)) this.#vcpus.attend(slot, vcpu);
    }
  }

  /** Notes that a vCPU polls one port, or -1: several, or none in particular. */
  start(slot: number, vcpu: number, port: number): void {
    Atomics.store(this.#words, this.#vcpus.word(slot, vcpu) + vcpuWord.pollPort, port);
    Atomics.or(this.#words, this.#memory.control(slot) + control.pollMask, 1 << vcpu);
  }
}
