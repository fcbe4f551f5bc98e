import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import { type Frames, frameKind } from './frames.js';
import { control, domainFlag, life, PAGE_WORDS, vcpuWord } from './layout.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';
import type { SharedInfo } from './shared-info.js';
import type { Vcpus } from './vcpus.js';

/** Selectors of Xen's own segments (xen-x86_64.h, xen-x86_32.h `FLAT_*`). */
export const flat = {
  kernelCs64: 0xe033,
  userCs64: 0xe033,
  userCs32: 0xe023,
  kernelSs64: 0xe02b,
  userSs64: 0xe02b,
  ring1Cs: 0xe019,
  ring1Ss: 0xe021,
  ring3Cs: 0xe02b,
  ring3Ss: 0xe033,
} as const;

/** Bits of (r|e)flags that Xen looks at. */
export const eflags = {
  tf: 0x100n,
  if: 0x200n,
  df: 0x400n,
  iopl: 0x3000n,
  nt: 0x4000n,
  rf: 0x10000n,
  vm: 0x20000n,
  ac: 0x40000n,
} as const;

/** What a vCPU's context holds, each in 64 bits: the registers, `struct pv_vcpu`, and what waits to be delivered. */
export const field = {
  rip: 0,
  cs: 1,
  rflags: 2,
  rsp: 3,
  ss: 4,
  rcx: 5,
  r11: 6,
  rax: 7,
  ds: 8,
  es: 9,
  fs: 10,
  gs: 11,
  /** Where the last page fault was (pv_vcpu.ctrlreg[2]). */
  cr2: 12,
  /** Whether the kernel runs, in a 64-bit guest, both of whose modes are ring 3 (`TF_kernel_mode`). */
  kernelMode: 13,
  /** Whether the way back to the guest is SYSRET, which leaves rip in rcx and rflags in r11 (`TRAP_syscall`). */
  viaSysret: 14,
  eventEip: 16,
  eventCs: 17,
  failsafeEip: 18,
  failsafeCs: 19,
  failsafeMasks: 20,
  syscallEip: 21,
  syscallMasks: 22,
  syscall32Eip: 23,
  syscall32Cs: 24,
  syscall32Masks: 25,
  sysenterEip: 26,
  sysenterCs: 27,
  sysenterMasks: 28,
  kernelSs: 29,
  kernelSp: 30,
  /** The trap bounce: what is to be pushed on the way back (`struct trap_bounce`). */
  bounceEip: 32,
  bounceCs: 33,
  bounceFlags: 34,
  bounceErrorCode: 35,
  /** What it is for, to name in a crash: a vector, or 256 and above for a callback. */
  bounceFor: 36,
  /** Asynchronous exceptions: other threads set the first two. */
  nmiPending: 40,
  mcePending: 41,
  asyncMask: 42,
  nmiOldMask: 43,
  mceOldMask: 44,
  /** The domain was crashed by this vCPU, which does not run any more. */
  crashed: 48,
} as const;

/** The name of a field. */
export type Field = (typeof field)[keyof typeof field];

/** Frames of a vCPU: its virtual IDT, then its context. */
const FRAMES = 2;
const QUADS = PAGE_WORDS / 2;

/** The registers and the virtual IDT of one vCPU, in frames of our Xen. */
export class VcpuContext {
  readonly #quads: BigUint64Array;
  readonly #words: Int32Array;
  readonly #first: number;
  /** The byte at which the virtual IDT begins. */
  readonly table: number;

  constructor(memory: MachineMemory, quads: BigUint64Array, frame: number) {
    this.#quads = quads;
    this.#words = memory.words;
    this.#first = (frame + 1) * QUADS;
    this.table = frame * PAGE_WORDS * 4;
  }

  get(at: Field): bigint {
    return this.#quads[this.#first + at] as bigint;
  }

  set(at: Field, value: bigint): void {
    this.#quads[this.#first + at] = value;
  }

  /** The lower 32 bits of a field. */
  number(at: Field): number {
    return (this.#words[(this.#first + at) * 2] as number) >>> 0;
  }

  setNumber(at: Field, value: number): void {
    this.#quads[this.#first + at] = BigInt(value >>> 0);
  }

  /** Sets a flag that other threads set, too. */
  raise(at: Field): void {
    Atomics.store(this.#words, (this.#first + at) * 2, 1);
  }

  /** Whether such a flag was set; it is not any more. */
  take(at: Field): boolean {
    const word = (this.#first + at) * 2;
    return Atomics.load(this.#words, word) !== 0 && Atomics.exchange(this.#words, word, 0) !== 0;
  }

  isRaised(at: Field): boolean {
    return Atomics.load(this.#words, (this.#first + at) * 2) !== 0;
  }
}

/** A vCPU that makes a call, or that is returned to. */
export interface RunningVcpu {
  readonly domid: Domid;
  readonly slot: number;
  readonly vcpu: number;
  readonly abi32: boolean;
  /** The first word of its `struct vcpu_info`. */
  readonly info: number;
  readonly context: VcpuContext;
}

/** The contexts of all vCPUs. A vCPU has none before its first call that needs one. */
export class VcpuContexts {
  readonly #memory: MachineMemory;
  readonly #lock: Lock;
  readonly #frames: Frames;
  readonly #sharedInfo: SharedInfo;
  readonly #vcpus: Vcpus;
  readonly #quads: BigUint64Array;
  readonly #byFrame: (VcpuContext | undefined)[] = [];

  constructor(memory: MachineMemory, lock: Lock, frames: Frames, sharedInfo: SharedInfo, vcpus: Vcpus) {
    this.#memory = memory;
    this.#lock = lock;
    this.#frames = frames;
    this.#sharedInfo = sharedInfo;
    this.#vcpus = vcpus;
    this.#quads = new BigUint64Array(memory.memory.buffer);
  }

  /** The context of a vCPU, if it has one. */
  find(slot: number, vcpu: number): VcpuContext | undefined {
    if (!this.#vcpus.has(slot, vcpu)) return undefined;
    const frame = Atomics.load(this.#memory.words, this.#vcpus.word(slot, vcpu) + vcpuWord.trapTable);
    if (frame === 0) return undefined;
    this.#byFrame[frame] ??= new VcpuContext(this.#memory, this.#quads, frame);
    return this.#byFrame[frame];
  }

  /** A vCPU of the caller's that has a context; undefined where it has none, or there is no such domain. */
  running(caller: Domid, vcpu: number): RunningVcpu | undefined {
    const slot = this.#memory.callerOf(caller);
    const context = slot < 0 ? undefined : this.find(slot, vcpu);
    return context && this.#runningIn(caller, slot, vcpu, context);
  }

  /** A vCPU of the caller's, given a context if it had none. -ESRCH, -ENOENT no such vCPU, -ENOMEM no frames for it. */
  use(caller: Domid, vcpu: number): RunningVcpu | number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    if (!this.#vcpus.has(slot, vcpu)) return -errno.ENOENT;
    const made = this.find(slot, vcpu) === undefined ? this.#make(caller, slot, vcpu) : 0;
    const context = this.find(slot, vcpu);
    return made < 0 || context === undefined ? made : this.#runningIn(caller, slot, vcpu, context);
  }

  #runningIn(domid: Domid, slot: number, vcpu: number, context: VcpuContext): RunningVcpu {
    const abi32 = this.#sharedInfo.isAbi32(slot);
    return { domid, slot, vcpu, abi32, info: this.#sharedInfo.infoOf(slot, vcpu), context };
  }

  #make(caller: Domid, slot: number, vcpu: number): number {
    this.#lock.acquire(caller);
    const at = this.#memory.control(slot);
    const words = this.#memory.words;
    const alive = words[at + control.life] === life.alive && this.#memory.slotOf(caller) === slot;
    const frame = alive ? this.#frames.take(caller, frameKind.table, FRAMES) : -errno.ESRCH;
    if (frame > 0) {
      this.#memory.zero(frame, FRAMES);
      const abi32 = ((words[at + control.flags] as number) & domainFlag.abi32) !== 0;
      boot(new VcpuContext(this.#memory, this.#quads, frame), abi32);
      // Last, so that a death before leaves frames that nothing names.
      Atomics.store(words, this.#vcpus.word(slot, vcpu) + vcpuWord.trapTable, frame);
    }
    this.#lock.release();
    return frame;
  }
}

/** What the domain builder leaves in the registers: the kernel runs, in Xen's flat segments. */
const boot = (context: VcpuContext, abi32: boolean): void => {
  context.setNumber(field.kernelMode, 1);
  context.set(field.rflags, 0x2n | eflags.if);
  context.setNumber(field.cs, abi32 ? flat.ring1Cs : flat.kernelCs64);
  context.setNumber(field.ss, abi32 ? flat.ring1Ss : flat.kernelSs64);
  context.setNumber(field.kernelSs, abi32 ? flat.ring1Ss : flat.kernelSs64);
  if (!abi32) return;
  for (const segment of [field.ds, field.es, field.fs, field.gs]) context.setNumber(segment, flat.ring1Ss);
};
