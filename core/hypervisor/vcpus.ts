import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import { control, SHUTTING_DOWN, slotPage, VCPU_WORDS, vcpuFlag, vcpuWord } from './layout.js';
import type { MachineMemory } from './memory.js';

/** The virtual processors of all slots, where their words lie, and whether they may run. */
export class Vcpus {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;

  constructor(memory: MachineMemory) {
    this.#memory = memory;
    this.#words = memory.words;
  }

  /** How many a slot's domain has. */
  count(slot: number): number {
    return this.#words[this.#memory.control(slot) + control.vcpus] as number;
  }

  /** Whether a slot's domain has a vCPU of that number. */
  has(slot: number, vcpu: number): boolean {
    return vcpu >>> 0 === vcpu && vcpu < this.count(slot);
  }

  /** The slot of a caller that has a vCPU of that number; -ESRCH no such domain, -ENOENT no such vCPU. */
  find(caller: Domid, vcpu: number): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    return this.has(slot, vcpu) ? slot : -errno.ENOENT;
  }

  /** The first word of a vCPU (layout.ts `vcpuWord`). */
  word(slot: number, vcpu: number): number {
    return this.#memory.control(slot) + slotPage.vcpus + vcpu * VCPU_WORDS;
  }

  /** The vCPUs of a new domain: the first is up, the others wait for VCPUOP_initialise and VCPUOP_up. */
  init(slot: number): void {
    this.#words[this.word(slot, 0) + vcpuWord.flags] = vcpuFlag.initialised | vcpuFlag.up;
  }

  /** Whether a vCPU is up (VCPUOP_is_up). */
  isUp(slot: number, vcpu: number): boolean {
    return ((this.#words[this.word(slot, vcpu) + vcpuWord.flags] as number) & vcpuFlag.up) !== 0;
  }

  /**
   * Whether nothing keeps a vCPU from running: it is up, neither it nor its domain is paused, and the domain is not shut down
   * (sched.h `vcpu_runnable`, but for blocking).
   */
  mayRun(slot: number, vcpu: number): boolean {
    const at = this.#memory.control(slot);
    const word = this.word(slot, vcpu);
    return (
      this.#memory.code.load((at + control.pauseCount) * 4) === 0 &&
      ((this.#words[at + control.shutdown] as number) & SHUTTING_DOWN) === 0 &&
      ((this.#words[word + vcpuWord.flags] as number) & vcpuFlag.up) !== 0
    );
  }

  /** Whether more than an upcall waits for a vCPU: attention was asked for, or it is blocked. */
  isSpecial(slot: number, vcpu: number): boolean {
    return (this.attention(slot) & (1 << vcpu)) !== 0 || this.isBlocked(slot, vcpu);
  }

  /** Whether a vCPU waits for an event: by SCHEDOP_block or SCHEDOP_poll. */
  isBlocked(slot: number, vcpu: number): boolean {
    return ((this.#words[this.word(slot, vcpu) + vcpuWord.flags] as number) & vcpuFlag.blocked) !== 0;
  }

  /** Sets or clears bits of a vCPU's flags. Only the domain's own thread does so. */
  setFlag(slot: number, vcpu: number, flag: number, on: boolean): void {
    const at = this.word(slot, vcpu) + vcpuWord.flags;
    const flags = this.#words[at] as number;
    this.#words[at] = on ? flags | flag : flags & ~flag;
  }

  /** Asks for a vCPU to be entered though it may have no upcall; who does so kicks its domain next. */
  attend(slot: number, vcpu: number): void {
    Atomics.or(this.#words, this.#memory.control(slot) + control.attention, 1 << vcpu);
  }

  /** The vCPUs, a bit for each, that are to be entered though they may have no upcall. */
  attention(slot: number): number {
    return this.#memory.code.load((this.#memory.control(slot) + control.attention) * 4);
  }

  /** Takes a vCPU's bit of {@link attention}; whether it was set. */
  takeAttention(slot: number, vcpu: number): boolean {
    const bit = 1 << vcpu;
    if ((this.attention(slot) & bit) === 0) return false;
    return (Atomics.and(this.#words, this.#memory.control(slot) + control.attention, ~bit) & bit) !== 0;
  }
}
