import { errno } from '../abi/errno.js';
import { gntst } from '../abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef } from '../abi/units.js';
import { type Frames, frameKind } from './frames.js';
import { ACTIVE_PER_FRAME, control, domainFlag, GRANTS_PER_FRAME, pairAt, quadAt, slotPage } from './layout.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';

/** Flags of a grant entry of version 1; its domid is the word's upper half (grant_table.h `GTF_*`). */
export const gtf = {
  permitAccess: 1,
  acceptTransfer: 2,
  typeMask: 3,
  readonly: 4,
  reading: 8,
  writing: 16,
  subPage: 256,
} as const;

/** References that the toolstack fills before the domain runs: 0 the console, 1 the store (grant_table.h `GNTTAB_RESERVED_*`). */
export const RESERVED_REFS = 8;

const IN_USE = gtf.reading | gtf.writing;

/** What GNTTABOP_query_size answers. */
export interface TableSize {
  readonly status: number;
  readonly nrFrames: number;
  readonly maxNrFrames: number;
}

/**
 * A domain's grant table as the domain itself works on it: entries of version 1 in frames that are its own to write, changed as
 * Linux changes them, and the map of references that it has given out. Only growth is a call.
 */
export class GrantEntries {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #lock: Lock;
  readonly #frames: Frames;

  constructor(memory: MachineMemory, lock: Lock, frames: Frames) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#lock = lock;
    this.#frames = frames;
  }

  /** Entries of a slot's table. */
  count(slot: number): number {
    return (this.#words[this.#memory.control(slot) + control.grantFrames] as number) * GRANTS_PER_FRAME;
  }

  /** The first word of an entry: flags and domid, then the frame. */
  entry(slot: number, ref: number): number {
    return pairAt(this.#words, this.#memory.control(slot) + control.grantFrameList, ref);
  }

  /** The first word of Xen's own record of an entry. */
  active(slot: number, ref: number): number {
    return quadAt(this.#words, this.#memory.control(slot) + control.activeFrameList, ref);
  }

  /**
   * Grows a table to `frames` frames; it never shrinks. bad_domain, permission_denied, general_error when `frames` is above the
   * domain's limit or memory is short (GNTTABOP_setup_table).
   */
  setupTable(caller: Domid, dom: Domid, frames: number): number {
    this.#lock.acquire(caller);
    const slot = this.target(caller, dom);
    const status = slot < 0 ? slot : this.grow(slot, frames >>> 0) ? gntst.okay : gntst.general_error;
    this.#lock.release();
    return status;
  }

  /** A table's frames, now and at most; bad_domain, permission_denied (GNTTABOP_query_size). */
  querySize(caller: Domid, dom: Domid): TableSize {
    const slot = this.target(caller, dom);
    if (slot < 0) return { status: slot, nrFrames: 0, maxNrFrames: 0 };
    const at = this.#memory.control(slot);
    return {
      status: gntst.okay,
      nrFrames: this.#words[at + control.grantFrames] as number,
      maxNrFrames: this.#words[at + control.maxGrantFrames] as number,
    };
  }

  /**
   * The slot of a domain on whose table the caller may work: DOMID_SELF, its own, or with privilege any; bad_domain,
   * permission_denied (xsm `XSM_TARGET`).
   */
  target(caller: Domid, dom: Domid): number {
    const own = this.#memory.callerOf(caller);
    const slot = dom === DOMID_SELF ? own : this.#memory.slotOf(dom);
    if (slot < 0 || own < 0) return gntst.bad_domain;
    const flags = this.#words[this.#memory.control(own) + control.flags] as number;
    return own === slot || (flags & domainFlag.privileged) !== 0 ? slot : gntst.permission_denied;
  }

  /** The frames of a table, in order: what GNTTABOP_setup_table's list tells the guest. */
  tableFrames(domid: Domid): readonly number[] {
    const slot = this.#memory.slotOf(domid);
    if (slot < 0) return [];
    const at = this.#memory.control(slot);
    const list = at + control.grantFrameList;
    return Array.from(this.#words.subarray(list, list + (this.#words[at + control.grantFrames] as number)));
  }

  /** Grows a slot's table; the lock is held. Frames come first, the count that makes them part of the table last. */
  grow(slot: number, frames: number): boolean {
    const words = this.#words;
    const at = this.#memory.control(slot);
    const domid = words[at + control.domid] as Domid;
    if (frames > (words[at + control.maxGrantFrames] as number)) return false;
    for (let have = words[at + control.grantFrames] as number; have < frames; have++) {
      const perGrantFrame = GRANTS_PER_FRAME / ACTIVE_PER_FRAME;
      for (let i = 0; i < perGrantFrame; i++) {
        if (!this.#place(at + control.activeFrameList + have * perGrantFrame + i, domid, frameKind.table)) return false;
      }
      if (!this.#place(at + control.grantFrameList + have, domid, frameKind.grant)) return false;
      Atomics.store(words, at + control.grantFrames, have + 1);
    }
    return true;
  }

  /** The lowest free reference, the table growing by a frame when none is left; -ENOSPC at its limit, -ENOMEM, -ESRCH. */
  allocRef(domid: Domid): GrantRef | number {
    const slot = this.#memory.callerOf(domid);
    if (slot < 0) return -errno.ESRCH;
    const words = this.#words;
    const at = this.#memory.control(slot);
    const map = at + slotPage.refMap;
    for (;;) {
      const limit = this.count(slot) / 32;
      let word = words[at + control.freeRefHint] as number;
      while (word < limit && words[map + word] === -1) word++;
      words[at + control.freeRefHint] = word;
      if (word < limit) {
        const used = words[map + word] as number;
        const bit = ~used & (used + 1);
        words[map + word] = used | bit;
        return (word * 32 + 31 - Math.clz32(bit)) as GrantRef;
      }
      const frames = words[at + control.grantFrames] as number;
      if (frames >= (words[at + control.maxGrantFrames] as number)) return -errno.ENOSPC;
      if (this.setupTable(domid, domid, frames + 1) !== gntst.okay) return -errno.ENOMEM;
    }
  }

  /** Gives a reference back, whose access has been ended. @throws RangeError for a reserved one, or one that was not given out */
  freeRef(domid: Domid, ref: GrantRef): void {
    const slot = this.#memory.slotOf(domid);
    if (slot < 0) return;
    const at = this.#memory.control(slot);
    const word = at + slotPage.refMap + (ref >>> 5);
    const bit = 1 << (ref & 31);
    if (ref < RESERVED_REFS || ref >= this.count(slot) || ((this.#words[word] as number) & bit) === 0) {
      throw new RangeError(`grant reference ${ref} of domain ${domid} was not given out`);
    }
    this.#words[word] = (this.#words[word] as number) & ~bit;
    if (ref >>> 5 < (this.#words[at + control.freeRefHint] as number))
      this.#words[at + control.freeRefHint] = ref >>> 5;
  }

  /** Lets `peer` map and copy a frame: the frame first, then flags and domid in one word (grant_table.h "Granting"). */
  grantAccess(domid: Domid, ref: GrantRef, peer: Domid, frame: number, readonly: boolean): void {
    const entry = this.#own(domid, ref);
    Atomics.store(this.#words, entry + 1, frame);
    Atomics.store(this.#words, entry, gtf.permitAccess | (readonly ? gtf.readonly : 0) | (peer << 16));
  }

  /** Takes an access back; false while the peer has the page mapped, and then nothing has changed. */
  endAccess(domid: Domid, ref: GrantRef): boolean {
    const entry = this.#own(domid, ref);
    for (;;) {
      const seen = Atomics.load(this.#words, entry);
      if ((seen & IN_USE) !== 0) return false;
      if (Atomics.compareExchange(this.#words, entry, seen, 0) === seen) return true;
    }
  }

  /** Whether the peer has the page mapped, or copies it now. */
  isInUse(domid: Domid, ref: GrantRef): boolean {
    return (Atomics.load(this.#words, this.#own(domid, ref)) & IN_USE) !== 0;
  }

  /**
   * Voids a slot's grants from reference `from` to before `to`, both multiples of 32; of mapped ones the in-use bits stay, and that
   * they may only be read (XSA-227). The references too, unless a thread may still run that gives them back. The lock is held.
   */
  voidSome(slot: number, from: number, to: number, keepsRefs: boolean): void {
    const map = this.#memory.control(slot) + slotPage.refMap;
    const end = Math.min(to, this.count(slot));
    for (let ref = from; ref < end; ref++) {
      const entry = this.entry(slot, ref);
      if (this.#words[entry] !== 0) Atomics.and(this.#words, entry, IN_USE | gtf.readonly);
      if (!keepsRefs && this.#words[map + (ref >>> 5)] !== 0) this.#words[map + (ref >>> 5)] = 0;
    }
  }

  #own(domid: Domid, ref: GrantRef): number {
    const slot = this.#memory.slotOf(domid);
    if (slot < 0 || ref >>> 0 >= this.count(slot)) throw new RangeError(`domain ${domid} has no grant entry ${ref}`);
    return this.entry(slot, ref);
  }

  #place(place: number, domid: Domid, kind: typeof frameKind.table | typeof frameKind.grant): boolean {
    if (this.#words[place] !== 0) return true;
    const frame = this.#frames.takeTable(domid, kind);
    if (frame < 0) return false;
    Atomics.store(this.#words, place, frame);
    return true;
  }
}
