import { errno } from '../abi/errno.js';
import { type Domid, PAGE_SIZE } from '../abi/units.js';
import type { Frames } from './frames.js';
import type { GrantEntries } from './grant-entries.js';
import type { GrantPins } from './grant-pins.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';

/** What is to be done with a page's cache lines (grant_table.h `GNTTAB_CACHE_*`). */
export const gnttabCache = { clean: 1, inval: 2, sourceGref: 2 ** 31 } as const;

/** One element of GNTTABOP_cache_flush (grant_table.h `gnttab_cache_flush`); it has no status of its own. */
export interface CacheFlush {
  /** The page's address in bytes, as mapping it told. */
  readonly devBusAddr: number;
  /** Bytes into the page. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** Flags of {@link gnttabCache}. */
  readonly op: number;
}

const KNOWN = gnttabCache.clean | gnttabCache.inval;
/** References that are looked at before others get the lock (grant_table.h `GNTTABOP_CONTINUATION_ARG_SHIFT`). */
const REFS_A_STEP = 4096;
const DONE = 0;

/**
 * Flushing of caches. Our domains' memory is coherent, so nothing is left to do once it has been found out that the caller may; an x86
 * processor cannot invalidate without writing back, and its Xen says so.
 */
export class GrantCache {
  readonly #memory: MachineMemory;
  readonly #lock: Lock;
  readonly #frames: Frames;
  readonly #entries: GrantEntries;
  readonly #pins: GrantPins;

  constructor(memory: MachineMemory, lock: Lock, frames: Frames, entries: GrantEntries, pins: GrantPins) {
    this.#memory = memory;
    this.#lock = lock;
    this.#frames = frames;
    this.#entries = entries;
    this.#pins = pins;
  }

  /**
   * Flushes one part of a page that is the caller's, or that it has mapped. The other's table is searched from reference `from` on,
   * some thousand under one lock. -EINVAL a part that leaves the page, or an unknown bit in `op`: GNTTAB_CACHE_SOURCE_GREF too, for
   * which Xen has an EOPNOTSUPP that this check comes before; 0 for no bytes or no operation, -EILSEQ if `from` is not 0 then;
   * -EINVAL no such page, -EPERM nobody's or Xen's own, -EINVAL another's that the caller does not map from there on (XSA-232);
   * -EOPNOTSUPP to invalidate alone; -ESRCH a caller that is gone.
   */
  flush(caller: Domid, { devBusAddr, offset, length, op }: CacheFlush, from = 0): number {
    if (offset >>> 0 >= PAGE_SIZE || length >>> 0 > PAGE_SIZE || (offset >>> 0) + (length >>> 0) > PAGE_SIZE) {
      return -errno.EINVAL;
    }
    if ((op & ~KNOWN) !== 0) return -errno.EINVAL;
    if (length >>> 0 === 0 || op === 0) return from === 0 ? 0 : -errno.EILSEQ;
    const frame = Math.floor(devBusAddr / PAGE_SIZE);
    if (!(frame >= 0 && frame < this.#memory.frames)) return -errno.EINVAL;
    for (let ref = from; ; ) {
      this.#lock.acquire(caller);
      const result = this.#check(caller, frame, ref);
      this.#lock.release();
      if (result < DONE) return result;
      if (result === DONE) return (op & gnttabCache.clean) === 0 ? -errno.EOPNOTSUPP : 0;
      ref = result;
    }
  }

  /** Whether the caller may: an error, {@link DONE}, or the reference from which to look on. */
  #check(caller: Domid, frame: number, from: number): number {
    if (this.#memory.callerOf(caller) < 0) return -errno.ESRCH;
    const owner = this.#frames.ownerOf(frame);
    const slot = owner === undefined ? -1 : this.#memory.slotOf(owner);
    if (slot < 0) return -errno.EPERM;
    if (owner === caller) return DONE;
    const count = this.#entries.count(slot);
    const end = Math.min(count, from + REFS_A_STEP);
    for (let ref = from; ref < end; ref++) if (this.#pins.isPinned(slot, ref, caller, frame)) return DONE;
    return end < count ? end : -errno.EINVAL;
  }
}
