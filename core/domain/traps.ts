import type { Page } from './grant-table.js';

/** A vCPU's registers, as they were. The bigints have 64 bits, in a 32-bit guest 32. */
export interface Registers {
  rip: bigint;
  cs: number;
  rflags: bigint;
  rsp: bigint;
  ss: number;
  rcx: bigint;
  r11: bigint;
  rax: bigint;
  ds: number;
  es: number;
  fs: number;
  gs: number;
  /** Where the last page fault was. */
  readonly cr2: bigint;
  /** Whether the kernel runs. A 64-bit guest's user mode is ring 3 as well, so cs does not tell. */
  readonly kernelMode: boolean;
}

/**
 * What Xen has pushed on the guest's stack for a handler, where it lies: reading and writing is of the guest's memory. What is written is
 * what the return restores.
 */
export interface TrapFrame {
  /** Where its lowest byte lies: rsp, at the handler's entry. */
  readonly address: bigint;
  /** Where the guest was interrupted; behind the instruction for a trap such as int3, at it for a fault. */
  rip: bigint;
  /** Its two lowest bits are 0, in a 64-bit guest, where its kernel was interrupted. */
  cs: number;
  /** Bit 9, IF, says that upcalls were not masked, and that they are not to be after the return. */
  rflags: bigint;
  /** The stack that was in use; undefined where a 32-bit guest's kernel was interrupted, which stays on it. */
  rsp: bigint | undefined;
  ss: number | undefined;
  /** evtchn_upcall_mask as it was; the return goes by IF. */
  readonly savedUpcallMask: number;
  /** Undefined for what pushes none. */
  readonly errorCode: number | undefined;
  /** 64-bit guests: SYSRET, by which handlers are entered, spoils both. */
  rcx: bigint | undefined;
  r11: bigint | undefined;
  /** Those of a failsafe callback's frame. */
  readonly segments: { readonly ds: number; readonly es: number; readonly fs: number; readonly gs: number } | undefined;
}

/** A handler's code: called with the frame that Xen has built for it; its end is the iret of that frame. */
export type TrapHandler = (frame: TrapFrame) => void;

/** An entry of a trap table (arch-x86/xen.h `struct trap_info`). */
export interface TrapEntry {
  /** 0 … 255. */
  readonly vector: number;
  /** The handler; 0n ends the table. */
  readonly address: bigint;
  /** Who may enter by a software interrupt: 0 nobody, 1 and 2 the kernel, 3 everyone. Default 0. */
  readonly dpl?: 0 | 1 | 2 | 3;
  /** Whether events are masked on entry. Default false. */
  readonly maskEvents?: boolean;
  /** The code selector, for a 32-bit guest. Default its kernel's. */
  readonly cs?: number;
}

/** An exception that the processor raises at the guest's present instruction. */
export interface Fault {
  /** 0 … 31. */
  readonly vector: number;
  /** For the exceptions that have one: 8, 10 … 14, 17, 21. */
  readonly errorCode?: number;
  /** The address of a page fault. */
  readonly cr2?: bigint;
}

/** What Xen calls a guest for, besides its trap table (callback.h `CALLBACKTYPE_*`). */
export type CallbackType = 'event' | 'failsafe' | 'syscall' | 'nmi' | 'sysenter' | 'syscall32';

/**
 * A PV guest's virtual exceptions, of the vCPU on which its code runs. An address of code is a number that a function was put at by
 * {@link code}; an address of memory is a byte of an own page: {@link addressOf}. Nothing is ever delivered inside a call: what a guest
 * raises comes on the way back to it. A 64-bit guest's addresses must be canonical.
 *
 * Handlers push their frames on the guest's stack: give {@link registers}.rsp one, by {@link addressOf}, before the first trap, and name
 * the kernel's by {@link stackSwitch} before user mode is entered. A guest that uses no virtual exceptions pays nothing for them.
 */
export abstract class Traps {
  /** The registers of the vCPU on which the domain's code runs, to be read and written. */
  abstract readonly registers: Registers;

  /** Puts a handler's code at an address, until it is disposed. @throws RangeError for address 0, and for one that is taken */
  abstract code(address: bigint, handler: TrapHandler): Disposable;

  /** The address of a byte of an own page; behind its end, that of a stack that it is. @throws TypeError for no page of the domain's */
  abstract addressOf(page: Page, offset?: number): bigint;

  /**
   * Merges entries into the virtual IDT, up to the first whose address is 0, given as such or by the address of an array of
   * struct trap_info; undefined empties it (HYPERVISOR_set_trap_table). @throws XenError EINVAL at an address that is not canonical,
   * EFAULT at memory that is not the guest's: the entries before are set; ENOMEM
   */
  abstract setTrapTable(traps: readonly TrapEntry[] | bigint | undefined): void;

  /**
   * Registers callbacks. One whose address is refused stays as it was, without a word, as on Xen (HYPERVISOR_set_callbacks). Until one
   * for events is registered, events come to the channels' subscribers without a frame. @throws XenError ENOMEM
   */
  abstract setCallbacks(callbacks: {
    readonly event: bigint;
    readonly failsafe: bigint;
    readonly syscall?: bigint;
  }): void;

  /** Registers one callback (CALLBACKOP_register). @throws XenError EINVAL not canonical, ENOSYS not in this ABI, ENOMEM */
  abstract registerCallback(type: CallbackType, address: bigint, options?: { readonly maskEvents?: boolean }): void;

  /** Unregisters a callback: that of NMIs (CALLBACKOP_unregister). @throws XenError EINVAL for every other */
  abstract unregisterCallback(type: CallbackType): void;

  /** Names the stack on which the kernel is entered from user mode (HYPERVISOR_stack_switch). @throws XenError ENOMEM */
  abstract stackSwitch(sp: bigint, ss?: number): void;

  /**
   * Executes `int3`. Its handler is called on the way back to the guest, after this call. Resolves when the handlers have returned to
   * where it was executed, to the registers as they left them. When the domain crashes or is destroyed meanwhile, it neither resolves nor
   * rejects: the vCPU stands still, and no code of it goes on, not that of a `catch` either. Rejects with XenError ENOMEM, ESRCH.
   */
  abstract int3(): Promise<Readonly<Registers>>;

  /** Executes `int n`, as {@link int3}; #GP where the entry's DPL forbids it. Rejects with RangeError for no vector. */
  abstract softwareInterrupt(n: number): Promise<Readonly<Registers>>;

  /** Has an exception of the processor's, as {@link int3}. Rejects with RangeError for none, or one without its error code or cr2. */
  abstract raise(fault: Fault): Promise<Readonly<Registers>>;

  /** Executes SYSCALL in user mode, as {@link int3}. Rejects with XenError ENOSYS in kernel mode. */
  abstract syscall(): Promise<Readonly<Registers>>;

  /**
   * Returns to another context (HYPERVISOR_iret): to user mode where the two lowest bits of `cs` are set. The frame goes on the stack
   * first; IF of `rflags` says whether upcalls are unmasked. The domain crashes where the stack is no memory of its.
   */
  abstract iret(to: {
    readonly rip: bigint;
    readonly cs: number;
    readonly rflags: bigint;
    readonly rsp: bigint;
    readonly ss: number;
  }): void;

  /** Sends an NMI to one of the domain's vCPUs; without a handler it is lost (VCPUOP_send_nmi). @throws XenError ENOENT */
  abstract sendNmi(vcpu?: number): void;

  /** What an event callback does: hands the pending events to their channels' subscribers. Returns how many. */
  abstract upcall(): number;
}
