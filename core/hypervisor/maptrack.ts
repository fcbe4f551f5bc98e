import type { Domid } from '../abi/units.js';
import { type Frames, frameKind } from './frames.js';
import { control, MAPTRACK_PER_FRAME, PAGE_WORDS, slotPage } from './layout.js';
import type { MachineMemory } from './memory.js';

/** Word offsets in a maptrack entry. Flags and the granter's slot are one word: it is 0, or the entry says all of a mapping. */
const field = { flagsAndSlot: 0, ref: 1, frame: 2, next: 3 } as const;

const SLOT = 8;
const FLAGS = 0xff;

/**
 * Each domain's own record of what it has mapped (grant_table.c `struct grant_mapping`): the one truth about mappings, from which
 * pins, in-use bits and frame counts can be made anew. The lock is held.
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
    return (this.#words[this.#memory.control(slot) + control.maptrackFrames] as number) * MAPTRACK_PER_FRAME;
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
    const entry = this.#entry(slot, handle);
    words[entry + field.ref] = ref;
    words[entry + field.frame] = frame;
    if (free === 0) words[at + control.freshHandle] = handle + 1;
    else words[at + control.freeHandle] = words[entry + field.next] as number;
    Atomics.store(words, entry + field.flagsAndSlot, (flags & FLAGS) | (granter << SLOT));
    return handle;
  }

  /** The map flags of a handle, 0 for one that maps nothing. */
  flags(slot: number, handle: number): number {
    return handle >>> 0 < this.count(slot) ? (this.#words[this.#entry(slot, handle)] as number) & FLAGS : 0;
  }

  granter(slot: number, handle: number): number {
    return (this.#words[this.#entry(slot, handle)] as number) >>> SLOT;
  }

  ref(slot: number, handle: number): number {
    return this.#words[this.#entry(slot, handle) + field.ref] as number;
  }

  frame(slot: number, handle: number): number {
    return this.#words[this.#entry(slot, handle) + field.frame] as number;
  }

  /** Changes which halves of a mapping are left; with neither, the handle is free. */
  setFlags(slot: number, handle: number, flags: number, mapped: boolean): void {
    const words = this.#words;
    const entry = this.#entry(slot, handle);
    if (mapped) {
      Atomics.store(words, entry, ((words[entry] as number) & ~FLAGS) | flags);
      return;
    }
    const free = this.#memory.control(slot) + control.freeHandle;
    Atomics.store(words, entry, 0);
    words[entry + field.next] = words[free] as number;
    words[free] = handle + 1;
  }

  /** Makes the list of free handles anew. */
  relink(slot: number): void {
    const words = this.#words;
    const at = this.#memory.control(slot);
    let free = 0;
    for (let handle = (words[at + control.freshHandle] as number) - 1; handle >= 0; handle--) {
      const entry = this.#entry(slot, handle);
      if (words[entry] !== 0) continue;
      words[entry + field.next] = free;
      free = handle + 1;
    }
    words[at + control.freeHandle] = free;
  }

  #entry(slot: number, handle: number): number {
    const list = this.#memory.control(slot) + slotPage.maptrackFrameList;
    const frame = this.#words[list + Math.trunc(handle / MAPTRACK_PER_FRAME)] as number;
    return frame * PAGE_WORDS + (handle % MAPTRACK_PER_FRAME) * 4;
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
