import { control, slotPage, VCPU_WORDS } from './layout.js';
import type { MachineMemory } from './memory.js';

/** The virtual processors of all slots, and where their words lie. */
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

  /** The first word of a vCPU (layout.ts `vcpuWord`). */
  word(slot: number, vcpu: number): number {
    return this.#memory.control(slot) + slotPage.vcpus + vcpu * VCPU_WORDS;
  }
}
