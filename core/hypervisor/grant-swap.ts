import { gntst } from '../abi/gntst.js';
import type { Domid, GrantRef } from '../abi/units.js';
import type { GrantEntries } from './grant-entries.js';
import type { GrantPins } from './grant-pins.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';

/** One element of GNTTABOP_swap_grant_ref (grant_table.h `gnttab_swap_grant_ref`). */
export interface SwapGrantRef {
  readonly refA: GrantRef;
  readonly refB: GrantRef;
  /** Out: a status of `gntst`. */
  status?: number;
}

/** Exchanges what two references of a domain's own table grant. */
export class GrantSwap {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #lock: Lock;
  readonly #entries: GrantEntries;
  readonly #pins: GrantPins;

  constructor(memory: MachineMemory, lock: Lock, entries: GrantEntries, pins: GrantPins) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#lock = lock;
    this.#entries = entries;
    this.#pins = pins;
  }

  /**
   * Swaps the caller's entries `a` and `b`: bad_gntref for one beyond the table (XSA-18, XSA-134), okay at once when they are the same,
   * eagain while either is pinned; bad_domain for a caller that is gone. Of one that fails nothing has changed.
   */
  swap(caller: Domid, a: GrantRef, b: GrantRef): number {
    this.#lock.acquire(caller);
    const slot = this.#memory.callerOf(caller);
    const status = slot < 0 ? gntst.bad_domain : this.#swap(slot, a >>> 0, b >>> 0);
    this.#lock.release();
    return status;
  }

  #swap(slot: number, a: number, b: number): number {
    const count = this.#entries.count(slot);
    if (a >= count || b >= count) return gntst.bad_gntref;
    if (a === b) return gntst.okay;
    if (this.#pins.pins(slot, a) !== 0 || this.#pins.pins(slot, b) !== 0) return gntst.eagain;
    const one = this.#entries.entry(slot, a);
    const two = this.#entries.entry(slot, b);
    const [flagsOne, flagsTwo] = [Atomics.load(this.#words, one), Atomics.load(this.#words, two)];
    const [frameOne, frameTwo] = [Atomics.load(this.#words, one + 1), Atomics.load(this.#words, two + 1)];
    // A caller that dies here must not have granted the one's frame to the other's peer: neither grants anything in between.
    Atomics.store(this.#words, one, 0);
    Atomics.store(this.#words, two, 0);
    Atomics.store(this.#words, one + 1, frameTwo);
    Atomics.store(this.#words, two + 1, frameOne);
    Atomics.store(this.#words, one, flagsTwo);
    Atomics.store(this.#words, two, flagsOne);
    return gntst.okay;
  }
}
