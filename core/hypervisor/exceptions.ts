import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import { isNullSelector, tbf } from './bounce-frame.js';
import type { Doorbell } from './doorbell.js';
import type { MachineMemory } from './memory.js';
import type { NmiReasons } from './nmi-reasons.js';
import { field, flat, type RunningVcpu, type VcpuContext, type VcpuContexts } from './vcpu-context.js';
import type { Vcpus } from './vcpus.js';
import { type TrapInfo, trapDpl, trapMasks, type VirtualIdts } from './virtual-idt.js';

/** The exceptions of x86 that have names here. */
export const vector = {
  divide: 0,
  debug: 1,
  nmi: 2,
  int3: 3,
  overflow: 4,
  invalidOpcode: 6,
  doubleFault: 8,
  generalProtection: 13,
  pageFault: 14,
  machineCheck: 18,
} as const;

/** Whether the processor pushes an error code for an exception (x86-defns.h `X86_EXC_HAVE_EC`). */
export const hasErrorCode = (of: number): boolean => of < 32 && (0x00227d00 & (1 << of)) !== 0;

/** What a trap bounce is for that is no vector. */
export const bounceFor = { event: 256, failsafe: 257, syscall: 258, syscall32: 259, sysenter: 260 } as const;

/** Bit 2 of a page fault's error code: the access was of user mode. */
const PFEC_USER = 4;
/** In an error code: it is about an entry of the IDT. */
const XEC_IDT = 2;
const HYPERCALL_VECTOR = 0x82;
/** Words of vcpu_info.arch.cr2, from its first. */
const CR2 = { native: 4, compat: 2 } as const;

/** An exception of the processor's. */
export interface HardwareException {
  readonly vector: number;
  /** For the vectors that have one: 8, 10 … 14, 17, 21. */
  readonly errorCode?: number;
  /** The address that a page fault is about. */
  readonly cr2?: bigint;
}

/**
 * What the processor does when a guest executes an instruction that traps, as far as Xen reflects it: it records the exception on
 * the vCPU, and nothing runs before {@link ReturnToGuest.returnToGuest}. Answers -EBUSY while one is recorded and not yet bounced: the
 * guest has not run since, so it cannot have trapped again; -ESRCH, -ENOENT no such vCPU, -ENOMEM no frames for its context.
 */
export class Exceptions {
  readonly #words: Int32Array;
  readonly #memory: MachineMemory;
  readonly #contexts: VcpuContexts;
  readonly #idts: VirtualIdts;
  readonly #vcpus: Vcpus;
  readonly #doorbell: Doorbell;
  readonly #reasons: NmiReasons;

  constructor(
    memory: MachineMemory,
    contexts: VcpuContexts,
    idts: VirtualIdts,
    vcpus: Vcpus,
    doorbell: Doorbell,
    reasons: NmiReasons,
  ) {
    this.#words = memory.words;
    this.#memory = memory;
    this.#contexts = contexts;
    this.#idts = idts;
    this.#vcpus = vcpus;
    this.#doorbell = doorbell;
    this.#reasons = reasons;
  }

  /** The guest executes `int3`, one byte: its vector 3, whatever privilege the entry asks for (`do_int3`). */
  int3(caller: Domid, vcpu: number): number {
    return this.#trap(caller, vcpu, (running) => {
      advance(running, 1);
      return this.#inject(running, { vector: vector.int3 });
    });
  }

  /**
   * The guest executes `int n`, two bytes. It enters vector n if the entry's DPL admits the mode that runs; else #GP tells of that
   * entry, at the instruction. For 3 and 4, which cannot be told from int3 and into, and for 0x80 with a handler, the DPL is not
   * looked at, as in Xen. -ENOSYS for 0x82 in a 32-bit guest, where it makes a hypercall. @throws RangeError for no vector
   */
  softwareInterrupt(caller: Domid, vcpu: number, n: number): number {
    checkVector(n, 256);
    return this.#trap(caller, vcpu, (running) => {
      if (running.abi32 && n === HYPERCALL_VECTOR) return -errno.ENOSYS;
      const entry = this.#idts.get(running.context, n);
      const always = n === vector.int3 || n === vector.overflow || (n === 0x80 && !isNullEntry(running.abi32, entry));
      if (!always && trapDpl(entry.flags) < (isKernel(running) ? 1 : 3)) {
        return this.#inject(running, { vector: vector.generalProtection, errorCode: (n << 3) | XEC_IDT });
      }
      advance(running, 2);
      return this.#inject(running, { vector: n });
    });
  }

  /**
   * An exception at the guest's present instruction (`pv_inject_event`). A page fault's address goes to vcpu_info.arch.cr2, and the
   * user bit of its error code says which of the guest's own modes ran. NMIs and machine checks come otherwise.
   * @throws RangeError for no exception, and for an error code or cr2 too many or too few
   */
  raise(caller: Domid, vcpu: number, exception: HardwareException): number {
    const { vector: n, errorCode, cr2 } = exception;
    checkVector(n, 32);
    if (n === vector.nmi || n === vector.machineCheck)
      throw new RangeError(`vector ${n} is raised by a call of its own`);
    if (hasErrorCode(n) !== (errorCode !== undefined)) {
      throw new RangeError(`exception ${n} has ${hasErrorCode(n) ? 'an error code' : 'no error code'}`);
    }
    if ((n === vector.pageFault) !== (cr2 !== undefined))
      throw new RangeError('a page fault, and nothing else, has a cr2');
    return this.#trap(caller, vcpu, (running) => this.#inject(running, exception));
  }

  /**
   * The guest executes SYSCALL in user mode. Without a callback it gets #UD at the instruction (`switch_to_kernel`), a 32-bit
   * guest #GP (`cstar_enter`). -ENOSYS in kernel mode, where it makes a hypercall.
   */
  syscall(caller: Domid, vcpu: number): number {
    return this.#trap(caller, vcpu, (running) => {
      if (isKernel(running)) return -errno.ENOSYS;
      const { context, abi32 } = running;
      if (abi32) return this.#syscall32(running);
      const from32 = context.number(field.cs) === flat.userCs32;
      const rip = context.get(field.rip);
      advance(running, 2);
      context.set(field.rcx, context.get(field.rip));
      context.set(field.r11, context.get(field.rflags));
      if (!from32) context.setNumber(field.cs, flat.kernelCs64);
      context.setNumber(field.ss, flat.kernelSs64);
      const eip = context.get(from32 ? field.syscall32Eip : field.syscallEip);
      if (eip === 0n) {
        context.set(field.rip, rip);
        return this.#inject(running, { vector: vector.invalidOpcode });
      }
      const masks = context.number(field.syscallMasks) !== 0;
      const why = from32 ? bounceFor.syscall32 : bounceFor.syscall;
      return noteBounce(context, why, eip, 0, tbf.exception | tbf.clearsDf | (masks ? tbf.interrupt : 0));
    });
  }

  /**
   * The guest executes SYSENTER: the processor keeps neither rip nor rsp. Without a callback it gets #GP. -EINVAL in kernel mode,
   * where no guest may.
   */
  sysenter(caller: Domid, vcpu: number): number {
    return this.#trap(caller, vcpu, (running) => {
      if (isKernel(running)) return -errno.EINVAL;
      const { context, abi32 } = running;
      context.set(field.rip, 0n);
      context.setNumber(field.cs, 3);
      context.set(field.rsp, 0n);
      context.setNumber(field.ss, abi32 ? flat.ring3Ss : flat.userSs64);
      const eip = context.get(field.sysenterEip);
      const selector = context.number(field.sysenterCs);
      if (eip === 0n || (abi32 && isNullSelector(selector))) {
        return this.#inject(running, { vector: vector.generalProtection, errorCode: 0 });
      }
      const masks = context.number(field.sysenterMasks) !== 0;
      return noteBounce(context, bounceFor.sysenter, eip, selector, tbf.exception | (masks ? tbf.interrupt : 0));
    });
  }

  /**
   * Sends an NMI to a vCPU of the caller's; one that is pending is not counted. Without a handler it is lost. -ENOENT no such vCPU
   * (VCPUOP_send_nmi).
   */
  sendNmi(caller: Domid, vcpu: number): number {
    const slot = this.#memory.callerOf(caller);
    return slot < 0 ? -errno.ESRCH : this.#async(slot, vcpu, field.nmiPending);
  }

  /**
   * The host has got an NMI that is a domain's: notes the reason in its shared_info, and sends it to vCPU 0 (`nmi_hwdom_report`).
   * -ESRCH no such domain. @throws RangeError for a reason that is none of nmi.h's
   */
  reportNmi(domid: Domid, reason: number): number {
    if (reason >>> 0 !== reason || reason > 2) throw new RangeError(`an NMI's reason is 0, 1 or 2, not ${reason}`);
    const slot = this.#memory.callerOf(domid);
    if (slot < 0) return -errno.ESRCH;
    this.#reasons.add(slot, reason);
    return this.#async(slot, 0, field.nmiPending);
  }

  /** The host has got a machine check that is a domain's (`inject_vmce`). -ESRCH, -ENOENT no such vCPU. */
  machineCheck(domid: Domid, vcpu: number): number {
    const slot = this.#memory.callerOf(domid);
    return slot < 0 ? -errno.ESRCH : this.#async(slot, vcpu, field.mcePending);
  }

  /** Records the bounce of an asynchronous exception; false where it has no handler, and is lost. */
  bounceAsync(running: RunningVcpu, of: number): boolean {
    const { abi32, context } = running;
    const entry = this.#idts.get(context, of);
    noteBounce(context, of, entry.address, entry.cs, trapMasks(entry.flags) ? tbf.interrupt : 0);
    return !isNullEntry(abi32, entry);
  }

  /** A vCPU without a context has no handlers either. */
  #async(slot: number, vcpu: number, at: typeof field.nmiPending | typeof field.mcePending): number {
    const context = this.#contexts.find(slot, vcpu);
    if (context === undefined) return this.#vcpus.has(slot, vcpu) ? 0 : -errno.ENOENT;
    if (!context.isRaised(at)) {
      context.raise(at);
      this.#attend(slot, vcpu);
    }
    return 0;
  }

  #trap(caller: Domid, vcpu: number, take: (running: RunningVcpu) => number): number {
    const running = this.#contexts.use(caller, vcpu);
    if (typeof running === 'number') return running;
    if (running.context.number(field.crashed) !== 0) return -errno.ESRCH;
    if (running.context.number(field.bounceFlags) !== 0) return -errno.EBUSY;
    const result = take(running);
    if (result === 0) this.#attend(running.slot, vcpu);
    return result;
  }

  /** Sees that a vCPU is entered. */
  #attend(slot: number, vcpu: number): void {
    this.#vcpus.attend(slot, vcpu);
    this.#doorbell.kick(slot);
  }

  /** Without an error code none is pushed: so for a software interrupt, also by the vector of an exception that has one. */
  #inject(running: RunningVcpu, { vector: n, errorCode, cr2 }: HardwareException): number {
    const { abi32, context, info } = running;
    const entry = this.#idts.get(context, n);
    let code = errorCode ?? 0;
    if (cr2 !== undefined) {
      context.set(field.cr2, cr2);
      const at = info + (abi32 ? CR2.compat : CR2.native);
      this.#words[at] = Number(cr2 & 0xffff_ffffn);
      if (!abi32) this.#words[at + 1] = Number((cr2 >> 32n) & 0xffff_ffffn);
      code = (code & ~PFEC_USER) | (isKernel(running) ? 0 : PFEC_USER);
    }
    const flags = tbf.exception | (errorCode === undefined ? 0 : tbf.errorCode);
    return noteBounce(context, n, entry.address, entry.cs, flags | (trapMasks(entry.flags) ? tbf.interrupt : 0), code);
  }

  /** As `cstar_enter` has it. */
  #syscall32(running: RunningVcpu): number {
    const { context } = running;
    const selector = context.number(field.syscall32Cs);
    context.setNumber(field.cs, flat.userCs32);
    context.setNumber(field.ss, flat.kernelSs64);
    if (isNullSelector(selector)) {
      return this.#inject(running, { vector: vector.generalProtection, errorCode: 0 });
    }
    advance(running, 2);
    const masks = context.number(field.syscall32Masks) !== 0;
    const eip = context.get(field.syscall32Eip);
    return noteBounce(context, bounceFor.syscall32, eip, selector, tbf.exception | (masks ? tbf.interrupt : 0));
  }
}

/** Whether the guest's kernel runs: ring 1 of a 32-bit guest, and as Xen keeps it for a 64-bit one (`guest_kernel_mode`). */
const isKernel = ({ abi32, context }: RunningVcpu): boolean =>
  abi32 ? (context.number(field.cs) & 3) === 1 : context.number(field.kernelMode) !== 0;

/** `null_trap_info`: no address; in a 32-bit guest, no selector. */
const isNullEntry = (abi32: boolean, { address, cs }: TrapInfo): boolean =>
  abi32 ? isNullSelector(cs) : address === 0n;

const advance = ({ abi32, context }: RunningVcpu, bytes: number): void => {
  context.set(field.rip, BigInt.asUintN(abi32 ? 32 : 64, context.get(field.rip) + BigInt(bytes)));
};

/** Has the next return to a guest build the frame of a handler: what for, where it lies, and how it is entered. */
export const noteBounce = (
  context: VcpuContext,
  why: number,
  eip: bigint,
  cs: number,
  flags: number,
  errorCode = 0,
): 0 => {
  context.set(field.bounceEip, eip);
  context.setNumber(field.bounceCs, cs);
  context.setNumber(field.bounceFlags, flags);
  context.setNumber(field.bounceErrorCode, errorCode);
  context.setNumber(field.bounceFor, why);
  return 0;
};

const checkVector = (n: number, end: number): void => {
  if (n >>> 0 !== n || n >= end) throw new RangeError(`a vector is a whole number below ${end}, not ${n}`);
};
