import { control, domainFlag, slotPage } from './layout.js';
import type { MachineMemory } from './memory.js';

/**
 * Word offsets in a shared_info page (xen.h `struct shared_info`; vCPU 0's `struct vcpu_info` begins it), 2-level ABI. The
 * 64-bit and the 32-bit layout begin evtchn_pending at the same place; the mask, the width of the selector and the clock differ.
 */
const word = {
  /** evtchn_upcall_pending is byte 0, evtchn_upcall_mask byte 1. */
  upcall: 0,
  selector64: 2,
  selector32: 1,
  pending: 512,
  mask64: 640,
  mask32: 544,
} as const;

/** Ports that the 2-level ABI can carry: 64 words of 64 bits, or 32 of 32 (event_channel.h `EVTCHN_2L_NR_CHANNELS`). */
export const portsOf2Level = (abi32: boolean): number => (abi32 ? 1024 : 4096);

const UPCALL_PENDING = 0xff;
const UPCALL_MASK = 0xff00;

/** The shared_info pages of all slots: the bits that Xen and a guest change without a lock. */
export class SharedInfo {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #load: (at: number) => number;

  constructor(memory: MachineMemory) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#load = memory.code.load;
  }

  /** The first word of a slot's page. */
  at(slot: number): number {
    return this.pageOf(slot, this.isAbi32(slot));
  }

  /** The first word of the page that a slot has for an ABI. */
  pageOf(slot: number, abi32: boolean): number {
    return this.#memory.control(slot) + (abi32 ? slotPage.sharedInfo32 : slotPage.sharedInfo);
  }

  isAbi32(slot: number): boolean {
    return ((this.#words[this.#memory.control(slot) + control.flags] as number) & domainFlag.abi32) !== 0;
  }

  /** Sets PENDING and says whether it was set already. */
  setPending(page: number, port: number): boolean {
    const bit = 1 << (port & 31);
    return (Atomics.or(this.#words, page + word.pending + (port >>> 5), bit) & bit) !== 0;
  }

  clearPending(page: number, port: number): void {
    Atomics.and(this.#words, page + word.pending + (port >>> 5), ~(1 << (port & 31)));
  }

  isPending(page: number, port: number): boolean {
    return (this.#load((page + word.pending + (port >>> 5)) * 4) & (1 << (port & 31))) !== 0;
  }

  isMasked(page: number, abi32: boolean, port: number): boolean {
    const at = page + (abi32 ? word.mask32 : word.mask64) + (port >>> 5);
    return (this.#load(at * 4) & (1 << (port & 31))) !== 0;
  }

  /** Sets MASK: a guest's own business, no call. */
  setMask(page: number, abi32: boolean, port: number): void {
    Atomics.or(this.#words, page + (abi32 ? word.mask32 : word.mask64) + (port >>> 5), 1 << (port & 31));
  }

  /** Clears MASK and says whether it was set. */
  clearMask(page: number, abi32: boolean, port: number): boolean {
    const bit = 1 << (port & 31);
    return (Atomics.and(this.#words, page + (abi32 ? word.mask32 : word.mask64) + (port >>> 5), ~bit) & bit) !== 0;
  }

  /** Sets MASK on every port, as Linux does before it binds the first. */
  maskAll(page: number, abi32: boolean): void {
    const first = page + (abi32 ? word.mask32 : word.mask64);
    for (let i = 0; i < portsOf2Level(abi32) / 32; i++) Atomics.store(this.#words, first + i, -1);
  }

  /** Sets the port's bit in vCPU 0's evtchn_pending_sel and says whether it was set already. */
  select(page: number, abi32: boolean, port: number): boolean {
    const bit = 1 << ((abi32 ? port >>> 5 : port >>> 6) & 31);
    const at = page + (abi32 ? word.selector32 : word.selector64 + (port >>> 11));
    return (Atomics.or(this.#words, at, bit) & bit) !== 0;
  }

  /** Puts selector bits back that were taken and not served. */
  reselect(page: number, abi32: boolean, half: number, bits: number): void {
    Atomics.or(this.#words, page + (abi32 ? word.selector32 : word.selector64 + half), bits);
  }

  /** Takes 32 bits of vCPU 0's evtchn_pending_sel, leaving none. */
  takeSelector(page: number, abi32: boolean, half: number): number {
    const at = page + (abi32 ? word.selector32 : word.selector64 + half);
    return (this.#words[at] as number) === 0 ? 0 : Atomics.exchange(this.#words, at, 0);
  }

  /** PENDING and not MASK of the 32 ports from `group` × 32. Plain loads: the selector was taken by an exchange before. */
  deliverable(page: number, abi32: boolean, group: number): number {
    const pending = this.#words[page + word.pending + group] as number;
    return pending & ~(this.#words[page + (abi32 ? word.mask32 : word.mask64) + group] as number);
  }

  /** Selects whatever is pending and not masked, with the upcall: a sender may have died before it did. */
  selectAllPending(page: number, abi32: boolean): void {
    for (let group = 0; group < portsOf2Level(abi32) / 32; group++) {
      if (this.deliverable(page, abi32, group) === 0) continue;
      this.select(page, abi32, group * 32);
      this.setUpcall(page);
    }
  }

  /** Sets vCPU 0's evtchn_upcall_pending and says whether it was set already. */
  setUpcall(page: number): boolean {
    return (Atomics.or(this.#words, page + word.upcall, 1) & UPCALL_PENDING) !== 0;
  }

  clearUpcall(page: number): void {
    Atomics.and(this.#words, page + word.upcall, ~UPCALL_PENDING);
  }

  /** Whether vCPU 0 has an upcall pending, and has not masked upcalls. */
  hasUpcall(page: number): boolean {
    const upcall = this.#load((page + word.upcall) * 4);
    return (upcall & UPCALL_PENDING) !== 0 && (upcall & UPCALL_MASK) === 0;
  }
}
