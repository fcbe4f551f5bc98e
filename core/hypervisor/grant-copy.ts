import { gntst } from '../abi/gntst.js';
import { DOMID_SELF, type Domid, PAGE_SIZE } from '../abi/units.js';
import { COPY_LIST_ELEMENTS, COPY_WORDS, type CopyList } from './copy-list.js';
import type { Frames } from './frames.js';
import { type GrantPins, pinOf } from './grant-pins.js';
import { header } from './layout.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';
import { type UsualCopy, usualCopy } from './usual-copy.js';
import { type UsualForward, usualForward } from './usual-forward.js';

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

const BOTH = gntcopy.sourceGref | gntcopy.destGref;
/** Words of as many elements as one hold of the lock is for, and then others may have it. */
const HOLD = COPY_LIST_ELEMENTS * COPY_WORDS;

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
  /** Made when it is first needed: many a thread never copies. */
  #usual: UsualCopy | undefined;
  #usualForward: UsualForward | undefined;

  constructor(memory: MachineMemory, lock: Lock, frames: Frames, pins: GrantPins) {
    this.#memory = memory;
    this.#lock = lock;
    this.#frames = frames;
    this.#pins = pins;
    Atomics.add(memory.words, header.attached, 1);
    // Who holds the lock may copy alone, and mark nothing. A thread that is terminated here has taken nothing, only waited.
    while (lock.owner !== undefined) Atomics.wait(memory.words, header.lock, memory.words[header.lock] as number, 1);
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
    // Held while the bytes move: else a pin of a caller that dies here could not be told from a live one.
    this.#lock.acquire(caller);
    const status = this.#copy(caller, sourceDom, source, sourceOffset, destDom, dest, destOffset, len, flags);
    this.#lock.release();
    return status;
  }

  /**
   * Copies all of a list, to `peer`'s grants or from them, as {@link copy} would one by one; the lock is held throughout
   * {@link COPY_LIST_ELEMENTS} elements, so nothing but what granters write comes between those. Each element gets its status; answers the
   * index of the first that failed, or -1.
   */
  copyList(caller: Domid, peer: Domid, list: CopyList, toPeer: boolean): number {
    let failed = -1;
    for (let from = 0; from < list.end; from += HOLD) {
      const first = this.#copyPart(caller, peer, list, from, Math.min(from + HOLD, list.end), toPeer);
      if (failed < 0) failed = first;
    }
    return failed;
  }

  /** The same for a list of what one peer granted, the first reference of an element, and another, the other one. */
  forwardList(caller: Domid, from: Domid, to: Domid, list: CopyList): number {
    let failed = -1;
    for (let at = 0; at < list.end; at += HOLD) {
      const first = this.#forwardPart(caller, from, to, list, at, Math.min(at + HOLD, list.end));
      if (failed < 0) failed = first;
    }
    return failed;
  }

  #copyPart(caller: Domid, peer: Domid, list: CopyList, begin: number, end: number, toPeer: boolean): number {
    // The numbers of an element's words are written out: an imported constant is looked up at each use.
    const { words } = list;
    this.#usual ??= usualCopy(this.#memory);
    const usual = this.#usual;
    const write = toPeer ? 1 : 0;
    let failed = -1;
    this.#lock.acquire(caller);
    const slot = this.#memory.callerOf(caller) < 0 ? -1 : this.#memory.slotOf(peer === DOMID_SELF ? caller : peer);
    const control = this.#memory.control(slot) * 4;
    for (let at = begin; at < end; at += 6) {
      const ref = words[at] as number;
      const offset = words[at + 1] as number;
      const frame = words[at + 2] as number;
      const frameOffset = words[at + 3] as number;
      const length = words[at + 4] as number;
      let status = 0;
      if (length !== 0 && (slot < 0 || usual(control, caller, write, ref, offset, frame, frameOffset, length) === 0)) {
        status = toPeer
          ? this.#copy(caller, DOMID_SELF, frame, frameOffset, peer, ref, offset, length, gntcopy.destGref)
          : this.#copy(caller, peer, ref, offset, DOMID_SELF, frame, frameOffset, length, gntcopy.sourceGref);
        if (status !== gntst.okay && failed < 0) failed = at / COPY_WORDS;
      }
      words[at + 5] = status;
    }
    this.#lock.release();
    return failed;
  }

  #forwardPart(caller: Domid, from: Domid, to: Domid, list: CopyList, begin: number, end: number): number {
    const { words } = list;
    const memory = this.#memory;
    this.#usualForward ??= usualForward(memory);
    const usual = this.#usualForward;
    let failed = -1;
    this.#lock.acquire(caller);
    const isThere = memory.callerOf(caller) >= 0;
    const source = isThere ? memory.slotOf(from === DOMID_SELF ? caller : from) : -1;
    const dest = isThere ? memory.slotOf(to === DOMID_SELF ? caller : to) : -1;
    const unusual = source < 0 || dest < 0;
    const theirs = memory.control(source) * 4;
    const others = memory.control(dest) * 4;
    for (let at = begin; at < end; at += 6) {
      const ref = words[at] as number;
      const offset = words[at + 1] as number;
      const other = words[at + 2] as number;
      const otherOffset = words[at + 3] as number;
      const length = words[at + 4] as number;
      let status = 0;
      if (length !== 0 && (unusual || usual(theirs, others, caller, ref, offset, other, otherOffset, length) === 0)) {
        status = this.#copy(caller, from, ref, offset, to, other, otherOffset, length, BOTH);
        if (status !== gntst.okay && failed < 0) failed = at / COPY_WORDS;
      }
      words[at + 5] = status;
    }
    this.#lock.release();
    return failed;
  }

  /** {@link copy} with the lock held, and not of nothing. */
  #copy(
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
    const fromGref = (flags & gntcopy.sourceGref) !== 0;
    const toGref = (flags & gntcopy.destGref) !== 0;
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
