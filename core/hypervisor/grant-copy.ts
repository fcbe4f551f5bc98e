import { gntst } from '../abi/gntst.js';
import { DOMID_SELF, type Domid, PAGE_SIZE } from '../abi/units.js';
import type { Frames } from './frames.js';
import { type GrantPins, pinOf } from './grant-pins.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';

/** Flags of a copy: which end is named by reference (grant_table.h `GNTCOPY_*`). */
export const gntcopy = { sourceGref: 1, destGref: 2 } as const;

/** One end of a copy. */
export interface CopyEnd {
  readonly domid: Domid;
  /** A grant reference of `domid` where the flags say so, else a frame of the caller's own. */
  readonly refOrFrame: number;
  /** Bytes into the page. */
  readonly offset: number;
}

/** One element of GNTTABOP_copy (grant_table.h `gnttab_copy`). */
export interface GnttabCopy {
  readonly source: CopyEnd;
  readonly dest: CopyEnd;
  /** Bytes. */
  readonly len: number;
  readonly flags: number;
  /** Out: a status of `gntst`. */
  status?: number;
}

const leavesPage = (offset: number, len: number): boolean => (offset >>> 0) + (len >>> 0) > PAGE_SIZE;

/**
 * Copies between granted pages, and own ones, without mapping them. Every element is checked from the start: nothing that was
 * checked for one is believed for the next (CVE-2026-102703).
 */
export class GrantCopy {
  readonly #memory: MachineMemory;
  readonly #lock: Lock;
  readonly #frames: Frames;
  readonly #pins: GrantPins;

  constructor(memory: MachineMemory, lock: Lock, frames: Frames, pins: GrantPins) {
    this.#memory = memory;
    this.#lock = lock;
    this.#frames = frames;
    this.#pins = pins;
  }

  /** Copies each element for itself: one that fails stops no other (GNTTABOP_copy). */
  copyAll(caller: Domid, elements: readonly GnttabCopy[]): void {
    for (const element of elements) {
      const { source: s, dest: d, len, flags } = element;
      element.status = this.copy(caller, s.domid, s.refOrFrame, s.offset, d.domid, d.refOrFrame, d.offset, len, flags);
    }
  }

  /**
   * Copies `len` bytes: okay at once for none, else permission_denied (a frame of another than DOMID_SELF), bad_domain, then for
   * source and destination bad_gntref, general_error, bad_page, and last bad_copy_arg for a run that leaves its page.
   */
  copy(
    caller: Domid,
    sourceDom: Domid,
    source: number,
    sourceOffset: number,
    destDom: Domid,
    dest: number,
    destOffset: number,
    len: number,
    flags: number,
  ): number {
    if (len === 0) return gntst.okay;
    const fromGref = (flags & gntcopy.sourceGref) !== 0;
    const toGref = (flags & gntcopy.destGref) !== 0;
    // Held while the bytes move: else a pin of a caller that dies here could not be told from a live one.
    this.#lock.acquire(caller);
    const sourceSlot = this.#memory.callerOf(caller) < 0 ? gntst.bad_domain : this.#end(caller, sourceDom, fromGref);
    const destSlot = sourceSlot < 0 ? sourceSlot : this.#end(caller, destDom, toGref);
    let status = destSlot < 0 ? destSlot : gntst.okay;
    if (status === gntst.okay) {
      const from = this.#claim(caller, sourceSlot, source, fromGref, true);
      const to = from < 0 ? from : this.#claim(caller, destSlot, dest, toGref, false);
      if (to < 0) status = to;
      else if (leavesPage(sourceOffset, len) || leavesPage(destOffset, len)) status = gntst.bad_copy_arg;
      else
        this.#memory.code.copy(to * PAGE_SIZE + (destOffset >>> 0), from * PAGE_SIZE + (sourceOffset >>> 0), len >>> 0);
      if (from > 0 && fromGref) this.#pins.unpin(sourceSlot, source, pinOf.hostRead);
      if (to > 0 && toGref) this.#pins.unpin(destSlot, dest, pinOf.hostWrite);
    }
    this.#lock.release();
    return status;
  }

  #end(caller: Domid, dom: Domid, gref: boolean): number {
    if (!gref && dom !== DOMID_SELF) return gntst.permission_denied;
    const slot = this.#memory.slotOf(dom === DOMID_SELF ? caller : dom);
    return slot < 0 ? gntst.bad_domain : slot;
  }

  #claim(caller: Domid, slot: number, refOrFrame: number, gref: boolean, readonly: boolean): number {
    if (gref) {
      return this.#pins.pin(slot, refOrFrame, caller, readonly ? pinOf.hostRead : pinOf.hostWrite, readonly, 'copy');
    }
    return this.#frames.isPage(refOrFrame, caller) ? refOrFrame : gntst.bad_page;
  }
}
