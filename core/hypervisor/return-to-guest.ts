import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import { type BounceFrames, type BuiltFrame, isNullSelector, tbf } from './bounce-frame.js';
import { DomainCrash } from './domain-crash.js';
import { bounceFor, type Exceptions, noteBounce, vector } from './exceptions.js';
import type { GuestMemory } from './guest-memory.js';
import type { SharedInfo } from './shared-info.js';
import { eflags, field, flat, type RunningVcpu, type VcpuContexts } from './vcpu-context.js';
import { isCanonical, trapMasks, type VirtualIdts } from './virtual-idt.js';

/** In iret_context.flags: return as from a system call (xen-x86_64.h `VGCF_in_syscall`). */
export const VGCF_in_syscall = 1n << 8n;
/** xen-x86_64.h `struct iret_context`, all of it in 64 bits. */
export const iretContext = ['rax', 'r11', 'rcx', 'flags', 'rip', 'cs', 'rflags', 'rsp', 'ss'] as const;
const IRET_CONTEXT_SIZE = 8 * iretContext.length;

/** Asynchronous exceptions, as bits of their mask (`VCPU_TRAP_*`). */
const asyncTrap = { nmi: 1 << 1, mce: 1 << 2 } as const;

/** The way back into a guest: what waits is pushed on its stack there, never inside the call that caused it. */
export class ReturnToGuest {
  readonly #contexts: VcpuContexts;
  readonly #memory: GuestMemory;
  readonly #frames: BounceFrames;
  readonly #exceptions: Exceptions;
  readonly #sharedInfo: SharedInfo;
  readonly #idts: VirtualIdts;

  constructor(
    contexts: VcpuContexts,
    memory: GuestMemory,
    idts: VirtualIdts,
    frames: BounceFrames,
    exceptions: Exceptions,
    sharedInfo: SharedInfo,
  ) {
    this.#contexts = contexts;
    this.#memory = memory;
    this.#idts = idts;
    this.#frames = frames;
    this.#exceptions = exceptions;
    this.#sharedInfo = sharedInfo;
  }

  /**
   * Builds the frames of whatever is to be delivered to a vCPU: a recorded exception, then a machine check, then an NMI, then the
   * event upcall if a callback is registered for it; after each the tests begin anew, so that the frame built last runs first. In the
   * end the registers say where the guest goes on: `test_all_events`, `restore_all_guest`. The frames in the order in which they were
   * built; a crash ends the domain.
   */
  returnToGuest(caller: Domid, vcpu: number): readonly BuiltFrame[] | DomainCrash {
    const running = this.#contexts.running(caller, vcpu);
    if (running === undefined || running.context.number(field.crashed) !== 0) return NONE;
    let frames = NONE;
    while (this.#next(running)) {
      const why = running.context.number(field.bounceFor);
      const frame = this.#frames.create(running);
      if (typeof frame === 'string') return this.#crash(running, `${frame}, for ${whyText(why)}`);
      frames = [...frames, frame];
    }
    return frames;
  }

  /** Crashes the domain for what a vCPU of its did, beyond what is seen here. */
  crash(caller: Domid, vcpu: number, why: string): DomainCrash {
    const running = this.#contexts.running(caller, vcpu);
    return running === undefined ? new DomainCrash(caller, vcpu, why) : this.#crash(running, why);
  }

  /** Whether events reach a vCPU by a callback that it has registered. */
  hasEventCallback(caller: Domid, vcpu: number): boolean {
    const running = this.#contexts.running(caller, vcpu);
    return running !== undefined && hasEventCallback(running);
  }

  /**
   * Returns from a frame that lies on the guest's stack at rsp, as `struct iret_context`, or for a 32-bit guest eax, eip, cs, eflags
   * and for rings 2 and 3 esp and ss. The upcall mask becomes the opposite of its IF, with the return, and
   * {@link returnToGuest}, which is next, tests for what came meanwhile. 0; a crash where the frame cannot be read, or returns to ring 0;
   * -ESRCH, -ENOENT, -ENOMEM (HYPERVISOR_iret, hypercall 23).
   */
  iret(caller: Domid, vcpu: number): number | DomainCrash {
    const running = this.#contexts.use(caller, vcpu);
    if (typeof running === 'number') return running;
    if (running.context.number(field.crashed) !== 0) return -errno.ESRCH;
    const crash = running.abi32 ? this.#compatIret(running) : this.#iret(running);
    if (crash !== undefined) return this.#crash(running, crash);
    this.#endAsync(running);
    return 0;
  }

  /** Records the next bounce; false when there is none, and the registers are the guest's. */
  #next(running: RunningVcpu): boolean {
    const { context } = running;
    if ((context.number(field.bounceFlags) & tbf.exception) !== 0) return true;
    if (this.#async(running, asyncTrap.mce, field.mcePending, field.mceOldMask, vector.machineCheck)) return true;
    if (this.#async(running, asyncTrap.nmi, field.nmiPending, field.nmiOldMask, vector.nmi)) return true;
    if (hasEventCallback(running) && this.#sharedInfo.hasUpcall(running.info)) {
      noteBounce(context, bounceFor.event, context.get(field.eventEip), context.number(field.eventCs), tbf.interrupt);
      return true;
    }
    return !this.#restore(running);
  }

  #async(
    running: RunningVcpu,
    trap: number,
    pending: typeof field.nmiPending | typeof field.mcePending,
    oldMask: typeof field.nmiOldMask | typeof field.mceOldMask,
    of: number,
  ): boolean {
    const { context } = running;
    const mask = context.number(field.asyncMask);
    if ((mask & trap) !== 0 || !context.take(pending)) return false;
    if (!this.#exceptions.bounceAsync(running, of)) {
      context.setNumber(field.bounceFlags, 0);
      return false;
    }
    context.setNumber(oldMask, mask);
    context.setNumber(field.asyncMask, mask | trap);
    return true;
  }

  /** Loads the registers as the return does; false, and the failsafe callback recorded, where the processor would refuse them. */
  #restore(running: RunningVcpu): boolean {
    const { abi32, context } = running;
    const rip = context.get(field.rip);
    const isLoadable =
      !isNullSelector(context.number(field.cs)) &&
      !isNullSelector(context.number(field.ss)) &&
      (abi32 || isCanonical(rip));
    const fixed = context.get(field.rflags) & ~(eflags.iopl | eflags.vm | (abi32 ? eflags.nt : 0n));
    context.set(field.rflags, fixed | eflags.if);
    if (!isLoadable) {
      const masks = context.number(field.failsafeMasks) !== 0;
      const flags = tbf.failsafe | (masks ? tbf.interrupt : 0);
      noteBounce(
        running.context,
        bounceFor.failsafe,
        context.get(field.failsafeEip),
        context.number(field.failsafeCs),
        flags,
      );
      return false;
    }
    if (context.number(field.viaSysret) !== 0) {
      context.setNumber(field.viaSysret, 0);
      if (!abi32) {
        context.set(field.rcx, rip);
        context.set(field.r11, context.get(field.rflags));
      }
    }
    return true;
  }

  #iret({ domid, context, info }: RunningVcpu): string | undefined {
    const rsp = context.get(field.rsp);
    const at = this.#memory.at(domid, rsp, IRET_CONTEXT_SIZE);
    if (at < 0) return `its iret frame at 0x${rsp.toString(16)} is no memory of its`;
    // One copy, before anything is looked at: another thread of the guest's may write there.
    const [rax, r11, rcx, flags, rip, cs, rflags, newRsp, ss] = quadsAt(this.#memory.view, at);
    const toUser = (cs & 3n) === 3n;
    if (toUser) context.setNumber(field.kernelMode, 0);
    context.set(field.rax, rax);
    context.set(field.rip, rip);
    context.set(field.rflags, (rflags & ~(eflags.iopl | eflags.vm)) | eflags.if);
    context.set(field.rsp, newRsp);
    if ((flags & VGCF_in_syscall) !== 0n) {
      // SYSRET loads flat segments, whatever the frame says.
      context.setNumber(field.viaSysret, 1);
      const is32 = Number(cs & 0xffffn) === flat.userCs32;
      context.setNumber(field.cs, is32 ? flat.userCs32 : flat.userCs64);
      context.setNumber(field.ss, flat.userSs64);
    } else {
      context.setNumber(field.viaSysret, 0);
      context.set(field.cs, (cs & 0xffffn) | 3n);
      context.set(field.ss, (ss & 0xffffn) | 3n);
      context.set(field.r11, r11);
      context.set(field.rcx, rcx);
    }
    this.#setUpcallMask(info, (rflags & eflags.if) === 0n);
    return undefined;
  }

  #compatIret(running: RunningVcpu): string | undefined {
    const { domid, context, info } = running;
    const esp = context.number(field.rsp);
    const { view } = this.#memory;
    const at = this.#memory.at(domid, BigInt(esp), 16);
    if (at < 0) return `its iret frame at 0x${esp.toString(16)} is no memory of its`;
    const eax = view.getUint32(at, true);
    const eip = view.getUint32(at + 4, true);
    const cs = view.getUint16(at + 8, true);
    const flags = view.getUint32(at + 12, true);
    if ((BigInt(flags) & eflags.vm) !== 0n) return this.#refuseVm86(running, esp, flags);
    if ((cs & 3) === 0) return 'it returns to ring 0';
    let newEsp = (esp + 16) >>> 0;
    let ss = context.number(field.ss);
    if ((cs & 3) !== 1) {
      const outer = this.#memory.at(domid, BigInt(newEsp), 8);
      if (outer < 0) return `its iret frame at 0x${newEsp.toString(16)} is no memory of its`;
      newEsp = view.getUint32(outer, true);
      ss = view.getUint16(outer + 4, true);
    }
    context.setNumber(field.rax, eax);
    context.setNumber(field.rip, eip);
    context.setNumber(field.cs, cs);
    context.set(field.rflags, (BigInt(flags) & ~eflags.iopl) | eflags.if);
    context.setNumber(field.rsp, newEsp);
    context.setNumber(field.ss, ss);
    this.#setUpcallMask(info, (BigInt(flags) & eflags.if) === 0n);
    return undefined;
  }

  /** There is no VM86 mode to return to: the frame goes to the kernel's stack, as one of #GP at the mode's first instruction. */
  #refuseVm86({ domid, context, info }: RunningVcpu, esp: number, flags: number): string | undefined {
    const ksp = (context.number(field.kernelSp) - 40) >>> 0;
    const from = this.#memory.at(domid, BigInt(esp), 40);
    const to = this.#memory.at(domid, BigInt(ksp), 40);
    if (from < 0 || to < 0) return `its VM86 frame at 0x${esp.toString(16)} or its kernel stack is no memory of its`;
    const { view } = this.#memory;
    const eax = view.getUint32(from, true);
    const rest = Array.from({ length: 9 }, (_, i) => view.getUint32(from + 4 + i * 4, true));
    view.setUint32(to, 0, true);
    rest.forEach((value, i) => {
      view.setUint32(to + 4 + i * 4, value, true);
    });
    const { address, cs, flags: trapFlags } = this.#idts.get(context, vector.generalProtection);
    context.setNumber(field.rax, eax);
    context.setNumber(field.rsp, ksp);
    context.setNumber(field.ss, context.number(field.kernelSs));
    const { vm, rf, nt, tf, iopl } = eflags;
    context.set(field.rflags, (BigInt(flags) & ~(vm | rf | nt | tf | iopl)) | eflags.if);
    context.set(field.rip, address);
    context.setNumber(field.cs, cs);
    this.#setUpcallMask(info, trapMasks(trapFlags) || (BigInt(flags) & eflags.if) === 0n);
    return undefined;
  }

  #setUpcallMask(info: number, masked: boolean): void {
    if (masked) this.#sharedInfo.maskUpcalls(info);
    else this.#sharedInfo.unmaskUpcalls(info);
  }

  /** An iret ends the asynchronous exception that was taken last (`async_exception_cleanup`). */
  #endAsync({ context }: RunningVcpu): void {
    const mask = context.number(field.asyncMask);
    if (mask === 0) return;
    const nmiOld = context.number(field.nmiOldMask);
    const isNmi = mask === asyncTrap.nmi || (mask !== asyncTrap.mce && (mask ^ nmiOld) === asyncTrap.nmi);
    context.setNumber(field.asyncMask, isNmi ? nmiOld : context.number(field.mceOldMask));
  }

  #crash({ domid, vcpu, context }: RunningVcpu, why: string): DomainCrash {
    context.setNumber(field.crashed, 1);
    return new DomainCrash(domid, vcpu, why);
  }
}

const NONE: readonly BuiltFrame[] = [];

const hasEventCallback = ({ abi32, context }: RunningVcpu): boolean =>
  abi32 ? !isNullSelector(context.number(field.eventCs)) : context.get(field.eventEip) !== 0n;

type IretContext = [bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint];

const quadsAt = (view: DataView, at: number): IretContext => {
  const quad = (i: number): bigint => view.getBigUint64(at + i * 8, true);
  return [quad(0), quad(1), quad(2), quad(3), quad(4), quad(5), quad(6), quad(7), quad(8)];
};

const names: Readonly<Record<number, string>> = {
  ...Object.fromEntries(Object.entries(vector).map(([name, of]) => [of, `vector ${of}, ${name}`])),
  ...Object.fromEntries(Object.entries(bounceFor).map(([name, of]) => [of, `the ${name} callback`])),
};

const whyText = (why: number): string => names[why] ?? `vector ${why}`;
