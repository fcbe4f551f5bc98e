import type { MachineMemory } from './memory.js';
import type { SharedInfo } from './shared-info.js';

/** What an NMI is for, a bit of each (nmi.h `XENNMIREASON_*`, there `_XEN_NMIREASON_*`). */
export const nmiReason = { ioError: 0, pciSerr: 1, unknown: 2 } as const;

/** Words of shared_info.arch.nmi_reason (arch-x86/xen.h `struct arch_shared_info`), of a 64-bit and of a 32-bit guest. */
const word = { native: 3104 / 4, compat: 2324 / 4 } as const;

/** Why domains have got NMIs, in their shared_info. */
export class NmiReasons {
  readonly #words: Int32Array;
  readonly #sharedInfo: SharedInfo;

  constructor(memory: MachineMemory, sharedInfo: SharedInfo) {
    this.#words = memory.words;
    this.#sharedInfo = sharedInfo;
  }

  get(slot: number): number {
    return Atomics.load(this.#words, this.#at(slot));
  }

  /** Notes one of {@link nmiReason}. */
  add(slot: number, reason: number): void {
    Atomics.or(this.#words, this.#at(slot), 1 << reason);
  }

  #at(slot: number): number {
    return this.#sharedInfo.at(slot) + (this.#sharedInfo.isAbi32(slot) ? word.compat : word.native);
  }
}
