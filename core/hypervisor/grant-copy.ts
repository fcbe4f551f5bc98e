import { gntst } from '../abi/gntst.js';
import { DOMID_SELF, type Domid, PAGE_SIZE } from '../abi/units.js';
import type { CopyList } from './copy-list.js';
import { DOMID_XEN } from './domains.js';
import type { Frames } from './frames.js';
import { gtf } from './grant-entries.js';
import { type GrantPins, pinOf } from './grant-pins.js';
import { control, header } from './layout.js';
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

/** Flags that an entry must not have, beside permitAccess, which it must, for the usual copy from it; and to it. */
const UNLIKE_READABLE = gtf.typeMask | gtf.reading | gtf.writing;
const UNLIKE_WRITABLE = UNLIKE_READABLE | gtf.readonly;

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
    // Whoever copies alone now marks nothing: wait for it, and be counted before looking at anything.
    lock.acquire(DOMID_XEN);
    memory.words[header.attached] = (memory.words[header.attached] as number) + 1;
    lock.release();
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
   * Copies all of a list, to `peer`'s grants or from them, as {@link copy} would one by one; the lock is held throughout, so nothing but
   * what granters write comes between. Each element gets its status; the index of the first that failed, or -1.
   */
  copyList(caller: Domid, peer: Domid, list: CopyList, toPeer: boolean): number {
    const memory = this.#memory;
    let failed = -1;
    this.#lock.acquire(caller);
    const slot = memory.callerOf(caller) < 0 ? -1 : memory.slotOf(peer === DOMID_SELF ? caller : peer);
    const granter = slot < 0 ? DOMID_SELF : (memory.words[memory.control(slot) + control.domid] as Domid);
    const alone = memory.words[header.attached] === 1;
    for (let i = 0; i < list.count; i++) {
      const length = list.length(i);
      let status: number = gntst.okay;
      if (length !== 0 && (slot < 0 || !this.#copyUnused(caller, slot, granter, list, i, toPeer, alone))) {
        const ref = list.ref(i);
        const frame = list.frame(i);
        status = toPeer
          ? this.#copy(
              caller,
              DOMID_SELF,
              frame,
              list.frameOffset(i),
              peer,
              ref,
              list.offset(i),
              length,
              gntcopy.destGref,
            )
          : this.#copy(
              caller,
              peer,
              ref,
              list.offset(i),
              DOMID_SELF,
              frame,
              list.frameOffset(i),
              length,
              gntcopy.sourceGref,
            );
      }
      list.setStatus(i, status);
      if (status !== gntst.okay && failed < 0) failed = i;
    }
    this.#lock.release();
    return failed;
  }

  /**
   * The usual element, with nothing to report: the entry grants, nobody uses it, and all is in its place. False if anything at all is
   * otherwise, and then nothing has been done: {@link #copy} finds out what. No pin is counted, for who reads pins holds the lock. The
   * in-use bits are for the granter, which does not; it cannot look while the only thread of the machine is here.
   */
  #copyUnused(
    caller: Domid,
    slot: number,
    granter: Domid,
    list: CopyList,
    i: number,
    toPeer: boolean,
    alone: boolean,
  ): boolean {
    const words = this.#memory.words;
    const ref = list.ref(i);
    const offset = list.offset(i);
    const frame = list.frame(i);
    const frameOffset = list.frameOffset(i);
    const length = list.length(i);
    if (leavesPage(offset, length) || leavesPage(frameOffset, length) || !this.#frames.isPage(frame, caller))
      return false;
    const entry = this.#pins.unused(slot, ref);
    if (entry === 0) return false;
    const seen = words[entry] as number;
    if ((seen & (toPeer ? UNLIKE_WRITABLE : UNLIKE_READABLE)) !== gtf.permitAccess || seen >>> 16 !== caller)
      return false;
    const marked = seen | (toPeer ? gtf.reading | gtf.writing : gtf.reading);
    if (!alone && Atomics.compareExchange(words, entry, seen, marked) !== seen) return false;
    // Read once, and only now: marked, the entry cannot be granted anew under the same flags.
    const granted = words[entry + 1] as number;
    const isPage = this.#frames.isPage(granted, granter);
    if (isPage) {
      const theirs = granted * PAGE_SIZE + offset;
      const own = frame * PAGE_SIZE + frameOffset;
      if (toPeer) this.#memory.code.copy(theirs, own, length);
      else this.#memory.code.copy(own, theirs, length);
    }
    if (!alone) Atomics.and(words, entry, ~(gtf.reading | gtf.writing));
    return isPage;
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
