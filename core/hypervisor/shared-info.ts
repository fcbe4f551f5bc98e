import { control, domainFlag, slotPage } from './layout.js';
import type { MachineMemory } from './memory.js';

/**
 * Word offsets in a shared_info page (xen.h `struct shared_info`), and in a `struct vcpu_info` of it, vCPU 0's of which begins it. The
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

/** A slot's memory differs from the layout of x86-64 if one of these is set. */
const OTHER_ABI = domainFlag.abi32 | domainFlag.arm;

/**
 * On Arm (arch-arm.h) shared_info has room for one vcpu_info, of 48 bytes, and the bitmaps and the clock follow as on x86-64. So what
 * lies at word 500 of the page there lies at the beginning here. All vCPUs have their vcpu_info in front of the page, where their
 * kernel has registered it (VCPUOP_register_vcpu_info), as Linux does on each CPU of Arm.
 */
const ARM_PAGE = slotPage.sharedInfoArm - 500;

/** Words of a `struct vcpu_info` on x86 (xen.h). */
const INFO_WORDS = 16;

/** Ports that the 2-level ABI can carry: 64 words of 64 bits, or 32 of 32 (event_channel.h `EVTCHN_2L_NR_CHANNELS`). */
export const portsOf2Level = (abi32: boolean): number => (abi32 ? 1024 : 4096);

const UPCALL_PENDING = 0xff;
const UPCALL_MASK = 0xff00;
const UPCALL_MASK_BIT = 0x100;

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

  /** The first word of a slot's page; for Arm of what would be the page on x86-64. */
  at(slot: number): number {
    return this.pageOf(slot, this.flags(slot));
  }

  /** The flags of a slot's domain, which its ABI is among. */
  flags(slot: number): number {
    return this.#words[this.#memory.control(slot) + control.flags] as number;
  }

  /** What {@link at} says, of a domain with these flags. */
  pageOf(slot: number, flags: number): number {
    const at = this.#memory.control(slot);
    if ((flags & OTHER_ABI) === 0) return at + slotPage.sharedInfo;
    return at + ((flags & domainFlag.abi32) !== 0 ? slotPage.sharedInfo32 : ARM_PAGE);
  }

  /** The first word of a vCPU's `struct vcpu_info`. */
  infoOf(slot: number, vcpu: number): number {
    return this.infoIn(this.at(slot), vcpu);
  }

  /** The first word of a vCPU's `struct vcpu_info` in the page that begins at word `page`. */
  infoIn(page: number, vcpu: number): number {
    return page + vcpu * INFO_WORDS;
  }

  /** The vCPU whose `struct vcpu_info` begins at word `info` of the page that begins at word `page`. */
  vcpuOf(page: number, info: number): number {
    return (info - page) / INFO_WORDS;
  }

  isAbi32(slot: number): boolean {
    return (this.flags(slot) & domainFlag.abi32) !== 0;
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

  /** Sets the port's bit in a vCPU's evtchn_pending_sel and says whether it was set already. */
  select(info: number, abi32: boolean, port: number): boolean {
    const bit = 1 << ((abi32 ? port >>> 5 : port >>> 6) & 31);
    const at = info + (abi32 ? word.selector32 : word.selector64 + (port >>> 11));
    return (Atomics.or(this.#words, at, bit) & bit) !== 0;
  }

  /** Whether the port's bit in a vCPU's evtchn_pending_sel is set. */
  isSelected(info: number, abi32: boolean, port: number): boolean {
    const bit = 1 << ((abi32 ? port >>> 5 : port >>> 6) & 31);
    return (this.#load((info + (abi32 ? word.selector32 : word.selector64 + (port >>> 11))) * 4) & bit) !== 0;
  }

  /** Puts selector bits back that were taken and not served. */
  reselect(info: number, abi32: boolean, half: number, bits: number): void {
    Atomics.or(this.#words, info + (abi32 ? word.selector32 : word.selector64 + half), bits);
  }

  /** Takes 32 bits of a vCPU's evtchn_pending_sel, leaving none. */
  takeSelector(info: number, abi32: boolean, half: number): number {
    const at = info + (abi32 ? word.selector32 : word.selector64 + half);
    return (this.#words[at] as number) === 0 ? 0 : Atomics.exchange(this.#words, at, 0);
  }

  /** PENDING and not MASK of the 32 ports from `group` × 32. Plain loads: the selector was taken by an exchange before. */
  deliverable(page: number, abi32: boolean, group: number): number {
    const pending = this.#words[page + word.pending + group] as number;
    return pending & ~(this.#words[page + (abi32 ? word.mask32 : word.mask64) + group] as number);
  }

  /** Sets a vCPU's evtchn_upcall_pending and says whether it was set already. */
  setUpcall(info: number): boolean {
    return (Atomics.or(this.#words, info + word.upcall, 1) & UPCALL_PENDING) !== 0;
  }

  clearUpcall(info: number): void {
    Atomics.and(this.#words, info + word.upcall, ~UPCALL_PENDING);
  }

  /** Sets a vCPU's evtchn_upcall_mask: a guest's own business, no call. Says whether it was set already. */
  maskUpcalls(info: number): boolean {
    return (Atomics.or(this.#words, info + word.upcall, UPCALL_MASK_BIT) & UPCALL_MASK) !== 0;
  }

  /** Clears a vCPU's evtchn_upcall_mask; who does so looks at {@link hasUpcall} next. */
  unmaskUpcalls(info: number): void {
    Atomics.and(this.#words, info + word.upcall, ~UPCALL_MASK);
  }

  /** Whether a vCPU's evtchn_upcall_mask is set. */
  masksUpcalls(info: number): boolean {
    return (this.#load((info + word.upcall) * 4) & UPCALL_MASK) !== 0;
  }

  /** Whether a vCPU has an upcall pending, and has not masked upcalls. */
  hasUpcall(info: number): boolean {
    const upcall = this.#load((info + word.upcall) * 4);
    return (upcall & UPCALL_PENDING) !== 0 && (upcall & UPCALL_MASK) === 0;
  }
}
