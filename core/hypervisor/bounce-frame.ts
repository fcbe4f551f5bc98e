import type { GuestMemory } from './guest-memory.js';
import { eflags, field, flat, type RunningVcpu } from './vcpu-context.js';

/** How a trap is to be bounced (asm_defns.h `TBF_*`), and one of our own. */
export const tbf = {
  exception: 1,
  errorCode: 2,
  /** Upcalls are masked on entry. */
  interrupt: 8,
  failsafe: 16,
  /** DF is clear on entry, as by the MSR that SYSCALL masks rflags with. */
  clearsDf: 32,
} as const;

/** A frame that lies on a guest's stack, and whose handler is entered. */
export interface BuiltFrame {
  /** What was bounced: a vector, or one of exceptions.ts `bounceFor`. */
  readonly why: number;
  /** Where its lowest byte lies: rsp at the handler's entry. */
  readonly address: bigint;
  readonly hasErrorCode: boolean;
  /** Whether ds, es, fs and gs are in it: that of a failsafe callback. */
  readonly hasSegments: boolean;
  /** Whether rsp and ss are in it: not where a 32-bit guest's kernel was interrupted. */
  readonly hasStack: boolean;
}

/** Xen's own part of a 64-bit guest's address space (xen-x86_64.h `HYPERVISOR_VIRT_START`, `HYPERVISOR_VIRT_END`). */
const XEN_START = 0xffff_8000_0000_0000n;
const XEN_END = 0xffff_8800_0000_0000n;
const LOW32 = 0xffff_ffffn;

/** A null selector, of whatever privilege. */
export const isNullSelector = (selector: number): boolean => (selector & 0xfffc) === 0;

/**
 * Bytes 1 … 4 of `struct vcpu_info`: evtchn_upcall_mask, and what follows it up to the width of a register, as `pushq
 * VCPUINFO_upcall_mask` takes them; the following ones are padding in 64-bit guests.
 */
const savedUpcallMask = (words: Int32Array, info: number): number =>
  ((Atomics.load(words, info) >>> 8) | (Atomics.load(words, info + 1) << 24)) >>> 0;

/**
 * Pushes the recorded trap bounce on the guest's stack and enters its handler: `create_bounce_frame` of x86_64/entry.S and
 * `compat_create_bounce_frame` of x86_64/compat/entry.S, in their order and to the byte; the segment registers of a failsafe frame
 * as Xen pushed them as long as it used that callback. A bounce is pushed once (XSA-339).
 */
export class BounceFrames {
  readonly #words: Int32Array;
  readonly #memory: GuestMemory;

  constructor(words: Int32Array, memory: GuestMemory) {
    this.#words = words;
    this.#memory = memory;
  }

  /** The frame, or why the domain crashes: Xen has no double fault for it. */
  create(running: RunningVcpu): BuiltFrame | string {
    const { abi32, context } = running;
    const flags = context.number(field.bounceFlags);
    const hasStack = !abi32 || (context.number(field.cs) & 2) !== 0;
    const crash = abi32 ? this.#compat(running) : this.#native(running);
    context.set(field.bounceEip, 0n);
    context.setNumber(field.bounceFlags, 0);
    if (crash !== undefined) return crash;
    return {
      why: context.number(field.bounceFor),
      address: context.get(field.rsp),
      hasErrorCode: (flags & tbf.errorCode) !== 0,
      hasSegments: (flags & tbf.failsafe) !== 0,
      hasStack,
    };
  }

  /**
   * Top to bottom: ss, rsp, rflags, cs with the saved upcall mask in bits 32 … 39, rip, [error code], [gs, fs, es, ds], r11, rcx;
   * below an address that is a multiple of 16.
   */
  #native(running: RunningVcpu): string | undefined {
    const { context, domid } = running;
    let cs = context.get(field.cs) & 0xffffn;
    let top: bigint;
    if (context.number(field.kernelMode) === 0) {
      context.setNumber(field.kernelMode, 1);
      top = context.get(field.kernelSp);
    } else {
      top = context.get(field.rsp);
      // Tells the guest that its kernel was interrupted, though that runs in ring 3 as well.
      cs &= ~3n;
    }
    top &= ~0xfn;
    if (top > XEN_START && top < XEN_END + 64n) return `its stack at ${hex(top)} is Xen's`;
    const flags = context.number(field.bounceFlags);
    const segments = (flags & tbf.failsafe) !== 0 ? 4 : 0;
    const code = (flags & tbf.errorCode) !== 0 ? 1 : 0;
    const size = (7 + code + segments) * 8;
    const bottom = top - BigInt(size);
    const to = this.#memory.at(domid, bottom, size);
    if (to < 0) return `its stack at ${hex(bottom)} … ${hex(top)} is no memory of its`;

    const saved = this.#maskUpcalls(running, flags);
    const { view } = this.#memory;
    let at = to;
    const push = (value: bigint): void => {
      view.setBigUint64(at, value, true);
      at += 8;
    };
    push(context.get(field.rcx));
    push(context.get(field.r11));
    if (segments !== 0) for (const of of [field.ds, field.es, field.fs, field.gs]) push(context.get(of) & 0xffffn);
    if (code !== 0) push(BigInt(context.number(field.bounceErrorCode)));
    push(context.get(field.rip));
    push((BigInt(saved) << 32n) | cs);
    push(this.#savedFlags(running, saved));
    push(context.get(field.rsp));
    push(context.get(field.ss) & 0xffffn);

    const { ac, vm, rf, nt, tf, df } = eflags;
    let rflags = context.get(field.rflags) & ~(ac | vm | rf | nt | tf);
    if ((flags & tbf.clearsDf) !== 0) rflags &= ~df;
    context.set(field.rflags, rflags);
    context.setNumber(field.viaSysret, 1);
    context.setNumber(field.ss, flat.kernelSs64);
    context.set(field.rsp, bottom);
    context.setNumber(field.cs, flat.kernelCs64);
    const eip = context.get(field.bounceEip);
    if (eip === 0n) return 'no handler is registered';
    context.set(field.rip, eip);
    return undefined;
  }

  /**
   * Top to bottom: [ss, esp, from user mode], eflags, cs with the saved upcall mask in bits 16 … 23, eip, [error code], [gs, fs, es,
   * ds]; the kernel is ring 1.
   */
  #compat(running: RunningVcpu): string | undefined {
    const { context, domid } = running;
    const fromUser = (context.number(field.cs) & 2) !== 0;
    const ss = context.number(fromUser ? field.kernelSs : field.ss);
    const top = context.number(fromUser ? field.kernelSp : field.rsp);
    if (isNullSelector(ss)) return 'its stack segment is null';
    const flags = context.number(field.bounceFlags);
    const segments = (flags & tbf.failsafe) !== 0 ? 4 : 0;
    const code = (flags & tbf.errorCode) !== 0 ? 1 : 0;
    const size = (3 + (fromUser ? 2 : 0) + code + segments) * 4;
    const bottom = (top - size) >>> 0;
    const to = this.#memory.at(domid, BigInt(bottom), size);
    if (to < 0) return `its stack at ${hex(BigInt(bottom))} … ${hex(BigInt(top))} is no memory of its`;

    const saved = this.#maskUpcalls(running, flags);
    const { view } = this.#memory;
    let at = to;
    const push = (value: number): void => {
      view.setUint32(at, value, true);
      at += 4;
    };
    if (segments !== 0) for (const of of [field.ds, field.es, field.fs, field.gs]) push(context.number(of) & 0xffff);
    if (code !== 0) push(context.number(field.bounceErrorCode));
    push(context.number(field.rip));
    push((saved << 16) | (context.number(field.cs) & 0xffff));
    push(Number(this.#savedFlags(running, saved)));
    if (fromUser) {
      push(context.number(field.rsp));
      push(context.number(field.ss) & 0xffff);
    }

    const { vm, rf, nt, tf } = eflags;
    context.set(field.rflags, context.get(field.rflags) & ~(vm | rf | nt | tf));
    context.setNumber(field.ss, ss);
    context.setNumber(field.rsp, bottom);
    const cs = context.number(field.bounceCs);
    if (isNullSelector(cs)) return 'no handler is registered';
    context.setNumber(field.cs, cs);
    context.setNumber(field.rip, Number(context.get(field.bounceEip) & LOW32));
    return undefined;
  }

  /** What the frame saves of the upcall mask; it is set after, if the entry masks. */
  #maskUpcalls({ info }: RunningVcpu, flags: number): number {
    const saved = savedUpcallMask(this.#words, info);
    if ((flags & tbf.interrupt) !== 0) Atomics.or(this.#words, info, 0x100);
    return saved;
  }

  /** The flags as the guest is to see them: IF says that upcalls were not masked. */
  #savedFlags({ context }: RunningVcpu, saved: number): bigint {
    const rflags = context.get(field.rflags) & LOW32 & ~(eflags.if | eflags.iopl);
    return (saved & 0xff) === 0 ? rflags | eflags.if : rflags;
  }
}

const hex = (address: bigint): string => `0x${address.toString(16)}`;
