import { gntst } from '../abi/gntst.js';
import type { Domid } from '../abi/units.js';
import type { Frames } from './frames.js';
import { type GrantEntries, gtf } from './grant-entries.js';
import { control, life } from './layout.js';
import type { MachineMemory } from './memory.js';

/** Four counters of 8 bits in a pin word (grant_table.c `GNTPIN_*_inc`). */
export const pinOf = { hostWrite: 1, hostRead: 1 << 8, deviceWrite: 1 << 16, deviceRead: 1 << 24 } as const;

const WRITE_PINS = 0x00ff00ff;
const COUNTER_TOP = 7;
const RETRIES = 5;

/** Word offsets in an active entry (grant_table.c `struct active_grant_entry`). */
export const active = { pin: 0, domid: 1, frame: 2 } as const;

/** Who pins an entry and how. */
export type PinFor = 'map' | 'copy';

/**
 * Xen's side of a grant entry: who uses it, how often, and which frame it had when that began. What it counts can be counted
 * again from the maptrack tables, so a death leaves nothing here that {@link GrantPins.recount} does not mend. The lock is held.
 */
export class GrantPins {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #entries: GrantEntries;
  readonly #frames: Frames;

  constructor(memory: MachineMemory, entries: GrantEntries, frames: Frames) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#entries = entries;
    this.#frames = frames;
  }

  /**
   * Counts `pins` up for `domid` and answers the frame; or bad_gntref, general_error, bad_page, bad_domain, in Xen's order. The
   * entry itself is believed only while nobody uses it, or when the first writer comes (`map_grant_ref`, `acquire_grant_for_copy`).
   */
  pin(slot: number, ref: number, domid: Domid, pins: number, readonly: boolean, use: PinFor): number {
    if (ref >>> 0 >= this.#entries.count(slot)) return gntst.bad_gntref;
    const words = this.#words;
    const record = this.#entries.active(slot, ref);
    const had = words[record + active.pin] as number;
    if (had !== 0 && (words[record + active.domid] !== domid || (had & (pins << COUNTER_TOP)) !== 0)) {
      return gntst.general_error;
    }
    if (had === 0 || (!readonly && (had & WRITE_PINS) === 0)) {
      const entry = this.#entries.entry(slot, ref);
      const status = this.#setStatus(entry, had, domid, readonly, use);
      if (status !== gntst.okay) return status;
      const frame = words[entry + 1] as number;
      if (had === 0) {
        if (!this.#frames.isPage(frame, words[this.#memory.control(slot) + control.domid] as Domid)) {
          this.#clearStatus(entry, had);
          return gntst.bad_page;
        }
        words[record + active.domid] = domid;
        words[record + active.frame] = frame;
      } else if (use === 'copy' && frame !== words[record + active.frame]) {
        // XSA-500: the granter changed the frame of an entry in use.
        this.#clearStatus(entry, had);
        return gntst.general_error;
      }
    } else if (use === 'copy' && words[this.#memory.control(slot) + control.life] !== life.alive) {
      return gntst.bad_domain;
    }
    words[record + active.pin] = had + pins;
    return words[record + active.frame] as number;
  }

  /** Counts `pins` down; the entry's in-use bits go with the last writer and the last user. */
  unpin(slot: number, ref: number, pins: number): void {
    const record = this.#entries.active(slot, ref);
    const left = (this.#words[record + active.pin] as number) - pins;
    this.#words[record + active.pin] = left;
    this.#clearStatus(this.#entries.entry(slot, ref), left);
  }

  /** The pin word of an entry. */
  pins(slot: number, ref: number): number {
    return this.#words[this.#entries.active(slot, ref) + active.pin] as number;
  }

  /** Whether `domid` uses an entry, and through it `frame` (grant_table.c `grant_map_exists`). */
  isPinned(slot: number, ref: number, domid: Domid, frame: number): boolean {
    const words = this.#words;
    const record = this.#entries.active(slot, ref);
    if (words[record + active.pin] === 0) return false;
    return words[record + active.domid] === domid && words[record + active.frame] === frame;
  }

  /** Who uses an entry, through which frame, and how often; undefined while nobody does. */
  useOf(
    slot: number,
    ref: number,
  ): { readonly domid: Domid; readonly frame: number; readonly pin: number } | undefined {
    const words = this.#words;
    const record = this.#entries.active(slot, ref);
    const pin = words[record + active.pin] as number;
    if (pin === 0) return undefined;
    return { pin, domid: words[record + active.domid] as Domid, frame: words[record + active.frame] as number };
  }

  /** Sets all of a slot's pins to nothing, to be counted again by {@link count}. */
  reset(slot: number): void {
    for (let ref = 0; ref < this.#entries.count(slot); ref++) {
      const pin = this.#entries.active(slot, ref) + active.pin;
      if (this.#words[pin] !== 0) this.#words[pin] = 0;
    }
  }

  /** Counts pins of one mapping. */
  count(slot: number, ref: number, pins: number): void {
    const record = this.#entries.active(slot, ref);
    this.#words[record + active.pin] = (this.#words[record + active.pin] as number) + pins;
  }

  /** Makes the in-use bits of a slot's entries agree with its pins; returns the references whose bits did not. */
  recount(slot: number): readonly number[] {
    const mended: number[] = [];
    for (let ref = 0; ref < this.#entries.count(slot); ref++) {
      if (this.#clearStatus(this.#entries.entry(slot, ref), this.pins(slot, ref))) mended.push(ref);
    }
    return mended;
  }

  #setStatus(entry: number, had: number, domid: Domid, readonly: boolean, use: PinFor): number {
    const typeMask = use === 'map' ? gtf.typeMask | gtf.subPage : gtf.typeMask;
    let seen = this.#words[entry] as number;
    for (let tries = 0; tries < RETRIES; tries++) {
      if (had === 0 && ((seen & typeMask) !== gtf.permitAccess || seen >>> 16 !== domid)) return gntst.general_error;
      if (!readonly && (seen & gtf.readonly) !== 0) return gntst.general_error;
      const want = seen | gtf.reading | (readonly ? 0 : gtf.writing);
      const found = Atomics.compareExchange(this.#words, entry, seen, want);
      if (found === seen) return gntst.okay;
      seen = found;
    }
    return gntst.general_error;
  }

  #clearStatus(entry: number, left: number): boolean {
    const unused = left === 0 ? gtf.reading | gtf.writing : (left & WRITE_PINS) === 0 ? gtf.writing : 0;
    if (((this.#words[entry] as number) & unused) === 0) return false;
    Atomics.and(this.#words, entry, ~unused);
    return true;
  }
}
