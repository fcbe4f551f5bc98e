import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import { header } from './layout.js';
import type { MachineMemory } from './memory.js';

/** What a frame is used for; 0 is free. */
export const frameKind = {
  /** A domain's page. */
  page: 1,
  /** A page that its domain has released and others still map: free once they let go. */
  released: 2,
  /** A table of our Xen. */
  table: 3,
  /** A frame of a domain's grant table, which the domain writes. */
  grant: 4,
} as const;

/** A use of a frame. */
export type FrameKind = (typeof frameKind)[keyof typeof frameKind];

const KIND = 16;
const OWNER = 0xffff;

/**
 * The frame table, our Xen's `page_info`: for each frame one word of owner and kind, and one that counts the mappings by grant.
 * Callers hold the lock. A run of frames is taken frame by frame, so a death midway leaves frames of a known owner.
 */
export class Frames {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #table: number;

  constructor(memory: MachineMemory) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#table = memory.frameTable;
  }

  /** Takes `count` frames side by side, their bytes as the last owner left them; the first one's number, or -ENOMEM. */
  take(owner: Domid, kind: FrameKind, count: number): number {
    const words = this.#words;
    const { frames, firstFrame } = this.#memory;
    const hint = words[header.frameHint] as number;
    const first = hint < firstFrame || hint >= frames ? firstFrame : hint;
    let run = this.#findRun(first, frames, count);
    if (run === 0) run = this.#findRun(firstFrame, Math.min(frames, first + count - 1), count);
    if (run === 0) return -errno.ENOMEM;
    const word = (owner + 1) | (kind << KIND);
    for (let frame = run; frame < run + count; frame++) Atomics.store(words, this.#table + frame * 2, word);
    words[header.frameHint] = run + count;
    return run;
  }

  /** A zeroed frame for a table of the domain's, or -ENOMEM. */
  takeTable(owner: Domid, kind: typeof frameKind.table | typeof frameKind.grant): number {
    const frame = this.take(owner, kind, 1);
    if (frame > 0) this.#memory.zero(frame, 1);
    return frame;
  }

  free(frame: number): void {
    Atomics.store(this.#words, this.#table + frame * 2, 0);
    if (frame < (this.#words[header.frameHint] as number)) this.#words[header.frameHint] = frame;
  }

  /** Whether `frame` is a page that `owner` has: what may be granted and copied. */
  isPage(frame: number, owner: Domid): boolean {
    const word = (owner + 1) | (frameKind.page << KIND);
    return frame >>> 0 < this.#memory.frames && this.#words[this.#table + frame * 2] === word;
  }

  /** The domain that a frame is of, for those which domains see: pages, released ones, and frames of grant tables. */
  ownerOf(frame: number): Domid | undefined {
    const word = this.#words[this.#table + frame * 2] as number;
    return word === 0 || word >>> KIND === frameKind.table ? undefined : (((word & OWNER) - 1) as Domid);
  }

  /** Frees a domain's page, or keeps it until its last mapping is gone; says whether it is free. */
  release(frame: number, owner: Domid): boolean {
    if (this.mappings(frame) === 0) {
      this.free(frame);
      return true;
    }
    Atomics.store(this.#words, this.#table + frame * 2, (owner + 1) | (frameKind.released << KIND));
    return false;
  }

  /** Counts one mapping more. */
  hold(frame: number): void {
    const word = this.#table + frame * 2 + 1;
    this.#words[word] = (this.#words[word] as number) + 1;
  }

  /** Counts one mapping less; says whether this freed a page that had been released. */
  drop(frame: number): boolean {
    const word = this.#table + frame * 2;
    const mappings = (this.#words[word + 1] as number) - 1;
    this.#words[word + 1] = mappings;
    if (mappings !== 0 || (this.#words[word] as number) >>> KIND !== frameKind.released) return false;
    this.free(frame);
    return true;
  }

  /** Mappings by grant of a frame. */
  mappings(frame: number): number {
    return this.#words[this.#table + frame * 2 + 1] as number;
  }

  /** Sets all counts of mappings to nothing, to be counted again. */
  resetMappings(): void {
    for (let frame = this.#memory.firstFrame; frame < this.#memory.frames; frame++) {
      const word = this.#table + frame * 2 + 1;
      if (this.#words[word] !== 0) this.#words[word] = 0;
    }
  }

  /** Visits all frames that are not free, or those from `from` to before `to`. */
  each(
    visit: (frame: number, owner: Domid, kind: FrameKind) => void,
    from: number = this.#memory.firstFrame,
    to: number = this.#memory.frames,
  ): void {
    for (let frame = from; frame < to; frame++) {
      const word = this.#words[this.#table + frame * 2] as number;
      if (word !== 0) visit(frame, ((word & OWNER) - 1) as Domid, (word >>> KIND) as FrameKind);
    }
  }

  /** Frames that nobody has. */
  get freeCount(): number {
    let used = 0;
    this.each(() => used++);
    return this.#memory.frames - this.#memory.firstFrame - used;
  }

  /** The first frame of `count` free ones that lie in [from, to), or 0. */
  #findRun(from: number, to: number, count: number): number {
    let run = 0;
    for (let frame = from; frame < to; frame++) {
      run = this.#words[this.#table + frame * 2] === 0 ? run + 1 : 0;
      if (run === count) return frame - count + 1;
    }
    return 0;
  }
}
