/*
 * What an address is here
 *
 * Our guests have no instruction set: their code is functions of the language that this is written in. Where Xen's interface has the
 * address of code – trap_info.address, a callback's address, rip – a guest gives an opaque handle: a number of its own choice, of 64
 * bits, 32 for a 32-bit guest, under which it has registered a function. Xen never looks behind it; it keeps to the rules that the
 * processor has for addresses: 0 is none, and a 64-bit one must be canonical, or is refused with EINVAL. When Xen
 * enters a handler, rip is its handle, and the function is called next. Any other value of rip is a place in the code that was
 * interrupted, which alone knows what it means: it goes on there when an iret has restored it.
 *
 * The address of memory – a stack, an array of trap_info – is a byte of one of the guest's own pages: page frame number × 4096 + offset.
 * There lies no other memory, so whatever points elsewhere is a page fault. Stack frames are written into these pages, byte for
 * byte as Xen writes them.
 *
 * A vCPU has rip, cs, rflags, rsp, ss, rcx, r11, rax, ds, es, fs, gs and cr2, and a mode, kernel or user.
 */
import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import { BounceFrames, type BuiltFrame } from './bounce-frame.js';
import { CallbackOps } from './callbacks.js';
import type { DomainCrash } from './domain-crash.js';
import type { Doorbell } from './doorbell.js';
import { Exceptions } from './exceptions.js';
import type { Frames } from './frames.js';
import { GuestMemory } from './guest-memory.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';
import { NmiReasons } from './nmi-reasons.js';
import { ReturnToGuest } from './return-to-guest.js';
import type { SharedInfo } from './shared-info.js';
import { field, type RunningVcpu, type VcpuContext, VcpuContexts } from './vcpu-context.js';
import type { Vcpus } from './vcpus.js';
import { fixUpSelector, isCanonical, type TrapInfo, trapInfo, VirtualIdts } from './virtual-idt.js';

/** What a guest hands over as its trap table: the address of an array of struct trap_info, or its entries; 0n and undefined are NULL. */
export type TrapTable = bigint | readonly TrapInfo[] | undefined;

/** How far a call goes before it is to be continued. */
export interface Preemption {
  /** The entry to go on with. Default 0. */
  readonly from?: number;
  /** Entries that are set before the call is preempted. Default as many as there are. */
  readonly limit?: number;
}

/**
 * The virtual exceptions of PV guests: each vCPU's virtual IDT, its callbacks, what it is to be told, and the frames by which it is.
 * The vCPU that a call names is the caller's own that makes it; nobody else touches its state, so no call takes a lock, but for the
 * two frames that a vCPU's first one takes.
 */
export class Traps {
  readonly callbacks: CallbackOps;
  readonly exceptions: Exceptions;
  readonly guestMemory: GuestMemory;
  readonly #contexts: VcpuContexts;
  readonly #idts: VirtualIdts;
  readonly #return: ReturnToGuest;

  constructor(
    memory: MachineMemory,
    lock: Lock,
    frames: Frames,
    sharedInfo: SharedInfo,
    vcpus: Vcpus,
    doorbell: Doorbell,
  ) {
    this.guestMemory = new GuestMemory(memory, frames);
    this.#contexts = new VcpuContexts(memory, lock, frames, sharedInfo, vcpus);
    this.#idts = new VirtualIdts(this.guestMemory);
    const reasons = new NmiReasons(memory, sharedInfo);
    this.callbacks = new CallbackOps(this.#contexts, this.guestMemory, this.#idts, reasons);
    this.exceptions = new Exceptions(memory, this.#contexts, this.#idts, vcpus, doorbell, reasons);
    const bounces = new BounceFrames(memory.words, this.guestMemory);
    this.#return = new ReturnToGuest(
      this.#contexts,

      this.guestMemory,
      this.#idts,
      bounces,
      this.exceptions,
      sharedInfo,
    );
  }

  /**
   * Merges entries into a vCPU's virtual IDT, up to the first whose address is 0; NULL, and nothing else, empties it. -EINVAL at an
   * address that is not canonical, -EFAULT at an entry that is not all in the guest's memory: those before are set already. A
   * number above 0 is the entry to go on with, after a preemption: those before are set, and count. -ESRCH, -ENOENT no such vCPU,
   * -ENOMEM no frames for its table, which Xen takes with the vCPU (HYPERVISOR_set_trap_table, hypercall 0).
   * @throws RangeError for an entry whose numbers do not fit their members
   */
  setTrapTable(caller: Domid, vcpu: number, traps: TrapTable, preemption: Preemption = {}): number {
    const running = this.#contexts.use(caller, vcpu);
    if (typeof running === 'number') return running;
    const { from = 0, limit = Number.POSITIVE_INFINITY } = preemption;
    const { abi32, context } = running;
    if (traps === undefined || traps === 0n) {
      this.#idts.clear(context);
      return 0;
    }
    for (let i = from; ; i++) {
      const entry = this.#entry(running, traps, i);
      if (entry === undefined) return -errno.EFAULT;
      if (entry.address === 0n) return 0;
      if (!isCanonical(entry.address)) return -errno.EINVAL;
      this.#idts.set(context, { ...entry, cs: fixUpSelector(abi32, entry.cs) });
      if (i + 1 - from >= limit) return i + 1;
    }
  }

  /**
   * Names the stack on which a vCPU's kernel is entered from user mode; from the kernel itself it is entered on the stack in use. 0
   * always; -ESRCH, -ENOENT, -ENOMEM as {@link setTrapTable} (HYPERVISOR_stack_switch, hypercall 3).
   */
  stackSwitch(caller: Domid, vcpu: number, ss: number, sp: bigint): number {
    const running = this.#contexts.use(caller, vcpu);
    if (typeof running === 'number') return running;
    const { abi32, context } = running;
    context.setNumber(field.kernelSs, fixUpSelector(abi32, ss));
    context.set(field.kernelSp, BigInt.asUintN(abi32 ? 32 : 64, sp));
    return 0;
  }

  /** {@link ReturnToGuest.iret} */
  iret(caller: Domid, vcpu: number): number | DomainCrash {
    return this.#return.iret(caller, vcpu);
  }

  /** {@link ReturnToGuest.returnToGuest} */
  returnToGuest(caller: Domid, vcpu: number): readonly BuiltFrame[] | DomainCrash {
    return this.#return.returnToGuest(caller, vcpu);
  }

  /** {@link ReturnToGuest.crash} */
  crash(caller: Domid, vcpu: number, why: string): DomainCrash {
    return this.#return.crash(caller, vcpu, why);
  }

  /** {@link ReturnToGuest.hasEventCallback} */
  hasEventCallback(caller: Domid, vcpu: number): boolean {
    return this.#return.hasEventCallback(caller, vcpu);
  }

  /** A vCPU's registers, for its guest's code to use as its own. -ESRCH, -ENOENT, -ENOMEM as {@link setTrapTable}. */
  context(caller: Domid, vcpu: number): VcpuContext | number {
    const running = this.#contexts.use(caller, vcpu);
    return typeof running === 'number' ? running : running.context;
  }

  /** A vCPU's entry for a vector, as it counts now; all zero where none was set. */
  entry(caller: Domid, vcpu: number, vector: number): TrapInfo {
    const context = this.#contexts.running(caller, vcpu)?.context;
    return context === undefined ? { vector: 0, flags: 0, cs: 0, address: 0n } : this.#idts.get(context, vector);
  }

  #entry({ domid, abi32 }: RunningVcpu, traps: bigint | readonly TrapInfo[], i: number): TrapInfo | undefined {
    if (typeof traps === 'bigint') {
      const { size } = trapInfo[abi32 ? 'compat' : 'native'];
      const at = this.guestMemory.at(domid, traps + BigInt(i * size), size);
      return at < 0 ? undefined : this.#idts.read(abi32, at);
    }
    const entry = traps[i];
    if (entry === undefined) return END;
    const { vector, flags, cs, address } = entry;
    const fits = vector >>> 0 === vector && vector < 256 && flags >>> 0 === flags && flags < 256;
    if (!fits || cs >>> 0 !== cs || cs > 0xffff || BigInt.asUintN(abi32 ? 32 : 64, address) !== address) {
      throw new RangeError(`trap ${i} does not fit struct trap_info: ${vector}, ${flags}, ${cs}, ${address}`);
    }
    return entry;
  }
}

const END: TrapInfo = { vector: 0, flags: 0, cs: 0, address: 0n };
