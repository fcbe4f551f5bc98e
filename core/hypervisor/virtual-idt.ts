import type { GuestMemory } from './guest-memory.js';
import type { VcpuContext } from './vcpu-context.js';

/** An entry of the virtual IDT (arch-x86/xen.h `struct trap_info`). */
export interface TrapInfo {
  /** 0 … 255. */
  readonly vector: number;
  /** Bits 0 and 1 are the privilege that may enter by a software interrupt (`TI_GET_DPL`), bit 2 masks events on entry (`TI_SET_IF`). */
  readonly flags: number;
  /** The code selector; a 64-bit guest's kernel is entered in Xen's flat segment whatever this says. */
  readonly cs: number;
  /** The handler. An array of these ends at the first whose address is 0. */
  readonly address: bigint;
}

/** `struct trap_info` of a 64-bit and of a 32-bit guest: offsets and size in bytes. */
export const trapInfo = {
  native: { vector: 0, flags: 1, cs: 2, address: 8, size: 16 },
  compat: { vector: 0, flags: 1, cs: 2, address: 4, size: 8 },
} as const;

/** `TI_GET_DPL` */
export const trapDpl = (flags: number): number => flags & 3;
/** `TI_GET_IF` */
export const trapMasks = (flags: number): boolean => (flags & 4) !== 0;

/** Whether all bits of an address from bit 47 on are alike, as x86-64 demands. */
export const isCanonical = (address: bigint): boolean =>
  (address >= 0n && address < 1n << 47n) || (address >= (1n << 64n) - (1n << 47n) && address < 1n << 64n);

/** A selector with at least the privilege of a guest's kernel: ring 1 for 32 bits, ring 3 for 64 (`fixup_guest_code_selector`). */
export const fixUpSelector = (abi32: boolean, selector: number): number => {
  const rpl = abi32 ? 1 : 3;
  return (selector & 3) >= rpl ? selector & 0xffff : (selector & 0xfffc) | rpl;
};

const { native, compat } = trapInfo;

/** The virtual IDTs: 256 entries in Xen's own layout, whatever the guest's. */
export class VirtualIdts {
  readonly #view: DataView;

  constructor(memory: GuestMemory) {
    this.#view = memory.view;
  }

  /** An entry as it counts now; all zero where none was set. */
  get({ table }: VcpuContext, vector: number): TrapInfo {
    return this.#native(table + vector * native.size);
  }

  set({ table }: VcpuContext, { vector, flags, cs, address }: TrapInfo): void {
    const at = table + vector * native.size;
    this.#view.setUint8(at + native.vector, vector);
    this.#view.setUint8(at + native.flags, flags);
    this.#view.setUint16(at + native.cs, cs, true);
    this.#view.setBigUint64(at + native.address, address, true);
  }

  /** Empties all entries, or one. */
  clear({ table }: VcpuContext, vector?: number): void {
    const first = vector === undefined ? 0 : vector * native.size;
    const end = vector === undefined ? 256 * native.size : first + native.size;
    for (let at = table + first; at < table + end; at += 8) this.#view.setBigUint64(at, 0n, true);
  }

  /** An entry as a guest has written it, read once; at a place that holds it whole. */
  read(abi32: boolean, at: number): TrapInfo {
    if (!abi32) return this.#native(at);
    return {
      vector: this.#view.getUint8(at + compat.vector),
      flags: this.#view.getUint8(at + compat.flags),
      cs: this.#view.getUint16(at + compat.cs, true),
      address: BigInt(this.#view.getUint32(at + compat.address, true)),
    };
  }

  #native(at: number): TrapInfo {
    return {
      vector: this.#view.getUint8(at + native.vector),
      flags: this.#view.getUint8(at + native.flags),
      cs: this.#view.getUint16(at + native.cs, true),
      address: this.#view.getBigUint64(at + native.address, true),
    };
  }
}
