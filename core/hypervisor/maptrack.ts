import type { Domid } from '../abi/units.js';
import { type Frames, frameKind } from './frames.js';
import { control, QUADS_SHIFT, quadAt, slotPage } from './layout.js';
import type { MachineMemory } from './memory.js';

/** Word offsets in a maptrack entry. Flags and the granter's slot are one word: it is 0, or the entry says all of a mapping. */
export const mapping = { flagsAndSlot: 0, ref: 1, frame: 2, next: 3 } as const;

const SLOT = 8;
const FLAGS = 0xff;

/** The map flags in a mapping's first word. */
export const flagsOf = (word: number): number => word & FLAGS;
/** The granter's slot in a mapping's first word. */
export const granterOf = (word: number): number => word >>> SLOT;

/**
 * Each domain's own record of what it has mapped (grant_table.c `struct grant_mapping`): the one truth about mappings, from which
 * pins, in-use bits and frame counts can be made anew. The lock is held, so stores are plain; their order is what a death leaves.
 */
export class Maptrack {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #frames: Frames;

  constructor(memory: MachineMemory, frames: Frames) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#frames = frames;
  }

  /** Handles that a slot's table has room for. */
  count(slot: number): number {
    return (this.#words[this.#memory.control(slot) + control.maptrackFrames] as number) << QUADS_SHIFT;
  }

  /** The first word of the entry of a handle that maps something, or 0. */
  find(slot: number, handle: number): number {
    const at = this.#memory.control(slot);
    const count = (this.#words[at + control.maptrackFrames] as number) << QUADS_SHIFT;
    if (handle >>> 0 >= count) return 0;
    const entry = quadAt(this.#words, at + slotPage.maptrackFrameList, handle);
    return this.#words[entry] === 0 ? 0 : entry;
  }

  /** Whether a free handle is there, the table growing if need be; else there is no space. */
  reserve(slot: number): boolean {
    const at = this.#memory.control(slot);
    if (this.#words[at + control.freeHandle] !== 0) return true;
    return (this.#words[at + control.freshHandle] as number) < this.count(slot) || this.#grow(slot);
  }

  /** Records a mapping under a free handle; {@link reserve} has said that there is one. */
  add(slot: number, flags: number, granter: number, ref: number, frame: number): number {
    const words = this.#words;
    const at = this.#memory.control(slot);
    const free = words[at + control.freeHandle] as number;
    const handle = free === 0 ? (words[at + control.freshHandle] as number) : free - 1;
    const entry = quadAt(words, at + slotPage.maptrackFrameList, handle);
    words[entry + mapping.ref] = ref;
    words[entry + mapping.frame] = frame;
    if (free === 0) words[at + control.freshHandle] = handle + 1;
    else words[at + control.freeHandle] = words[entry + mapping.next] as number;
    words[entry] = flagsOf(flags) | (granter << SLOT);
    return handle;
  }

  /** Changes which halves of a mapping are left. */
  keep(entry: number, flags: number): void {
    this.#words[entry] = ((this.#words[entry] as number) & ~FLAGS) | flags;
  }

  /** Ends a mapping: its handle is free. */
  remove(slot: number, handle: number, entry: number): void {
    const words = this.#words;
    const free = this.#memory.control(slot) + control.freeHandle;
    words[entry] = 0;
    words[entry + mapping.next] = words[free] as number;
    words[free] = handle + 1;
  }

  #grow(slot: number): boolean {
    const words = this.#words;
    const at = this.#memory.control(slot);
    const have = words[at + control.maptrackFrames] as number;
    if (have >= (words[at + control.maxMaptrackFrames] as number)) return false;
    const place = at + slotPage.maptrackFrameList + have;
    if (words[place] === 0) {
      const frame = this.#frames.takeTable(words[at + control.domid] as Domid, frameKind.table);
      if (frame < 0) return false;
      Atomics.store(words, place, frame);
    }
    Atomics.store(words, at + control.maptrackFrames, have + 1);
    return true;
  }
}
