import { type Domid, PAGE_SIZE } from '../abi/units.js';
import type { Frames } from './frames.js';
import type { MachineMemory } from './memory.js';

/** The guest address of a byte of one of a domain's own pages. */
export const guestAddressOf = (frame: number, offset = 0): bigint => BigInt(frame * PAGE_SIZE + offset);

/**
 * A domain's address space, as far as calls copy from and to it: each of its own pages lies at its frame number times 4096, and
 * nothing else lies anywhere. It stands for the page tables of a PV guest. Whatever is not there faults.
 */
export class GuestMemory {
  /** The whole memory, for what {@link at} has found. */
  readonly view: DataView;
  readonly #frames: Frames;
  readonly #end: bigint;

  constructor(memory: MachineMemory, frames: Frames) {
    this.view = new DataView(memory.memory.buffer);
    this.#frames = frames;
    this.#end = BigInt(memory.frames) * BigInt(PAGE_SIZE);
  }

  /** Where in the machine's memory `bytes` bytes at a guest's address lie, or -1: they are not all in pages of its own. */
  at(domid: Domid, address: bigint, bytes: number): number {
    if (address < 0n || address + BigInt(bytes) > this.#end) return -1;
    const first = Number(address);
    const last = Math.floor((first + bytes - 1) / PAGE_SIZE);
    for (let frame = Math.floor(first / PAGE_SIZE); frame <= last; frame++) {
      if (!this.#frames.isPage(frame, domid)) return -1;
    }
    return first;
  }

  /** Writes values side by side, of 64 bits each, or of their lower 32; at a place that {@link at} has found. */
  write(at: number, values: readonly bigint[], bits: 64 | 32): void {
    values.forEach((value, i) => {
      if (bits === 64) this.view.setBigUint64(at + i * 8, value, true);
      else this.view.setUint32(at + i * 4, Number(BigInt.asUintN(32, value)), true);
    });
  }
}
