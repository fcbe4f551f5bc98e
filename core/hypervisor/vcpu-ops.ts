import { errno } from '../abi/errno.js';
import { type Domid, PAGE_SIZE } from '../abi/units.js';
import type { Doorbell } from './doorbell.js';
import type { Frames } from './frames.js';
import { control, domainFlag, vcpuFlag, vcpuWord } from './layout.js';
import type { MachineMemory } from './memory.js';
import { type RunstateInfo, type Runstates, runstateBytes } from './runstate.js';
import { type Sched, shutdownReason } from './sched.js';
import type { SharedInfo } from './shared-info.js';
import { TIME_INFO_BYTES, type TimePages } from './time-pages.js';
import type { TimeSource } from './time-source.js';
import type { Vcpus } from './vcpus.js';

/** What the vCPU operations need of our Xen. */
export interface VcpuParts {
  readonly memory: MachineMemory;
  readonly frames: Frames;
  readonly sharedInfo: SharedInfo;
  readonly vcpus: Vcpus;
  readonly doorbell: Doorbell;
  readonly runstates: Runstates;
  readonly timePages: TimePages;
  readonly sched: Sched;
  readonly time: TimeSource;
}

/**
 * The operations on a domain's own vCPUs (vcpu.h `VCPUOP_*`), timers aside. A call is made by the domain's own thread and answers 0
 * or more, or the negative errno that Xen answers; -ESRCH for a domain that is gone and -ENOENT for a vCPU that is not there are
 * every operation's. An address is the number of a byte in the machine's memory: the frame of a page of the domain's own times
 * 4096, and the offset in it.
 */
export class VcpuOps {
  readonly #xen: VcpuParts;
  readonly #words: Int32Array;

  constructor(parts: VcpuParts) {
    this.#xen = parts;
    this.#words = parts.memory.words;
  }

  /**
   * Readies a vCPU to be brought up, once. -EEXIST it is initialised (VCPUOP_initialise). Our guests have no registers: what the
   * vCPU will run is what its upcalls call.
   */
  initialise(caller: Domid, vcpu: number): number {
    const slot = this.#xen.vcpus.find(caller, vcpu);
    if (slot < 0) return slot;
    if ((this.#flags(slot, vcpu) & vcpuFlag.initialised) !== 0) return -errno.EEXIST;
    this.#xen.vcpus.setFlag(slot, vcpu, vcpuFlag.initialised, true);
    return 0;
  }

  /** Brings a vCPU up: it may be entered. One that is up stays so. -EINVAL it is not initialised (VCPUOP_up). */
  up(caller: Domid, vcpu: number): number {
    const slot = this.#xen.vcpus.find(caller, vcpu);
    if (slot < 0) return slot;
    if ((this.#flags(slot, vcpu) & vcpuFlag.initialised) === 0) return -errno.EINVAL;
    if (this.#xen.vcpus.isUp(slot, vcpu)) return 0;
    this.#xen.vcpus.setFlag(slot, vcpu, vcpuFlag.up, true);
    this.#xen.vcpus.attend(slot, vcpu);
    this.#xen.doorbell.kick(slot);
    this.#xen.sched.onRunnable(caller);
    return 0;
  }

  /** Takes a vCPU down: it is not entered any more. The last one takes the domain with it, as powered off (VCPUOP_down). */
  down(caller: Domid, vcpu: number): number {
    const slot = this.#xen.vcpus.find(caller, vcpu);
    if (slot < 0) return slot;
    const { vcpus, sched } = this.#xen;
    let others = 0;
    for (let i = 0; i < vcpus.count(slot); i++) if (i !== vcpu && vcpus.isUp(slot, i)) others++;
    if (others === 0) return sched.shutdown(caller, shutdownReason.poweroff);
    vcpus.setFlag(slot, vcpu, vcpuFlag.up, false);
    sched.onRunnable(caller);
    return 0;
  }

  /** 1 for a vCPU that is up, 0 for one that is down (VCPUOP_is_up). */
  isUp(caller: Domid, vcpu: number): number {
    const slot = this.#xen.vcpus.find(caller, vcpu);
    return slot < 0 ? slot : Number(this.#xen.vcpus.isUp(slot, vcpu));
  }

  /** What a vCPU does, since when, and how long it has done what (VCPUOP_get_runstate_info). */
  runstateInfo(caller: Domid, vcpu: number): RunstateInfo | number {
    const slot = this.#xen.vcpus.find(caller, vcpu);
    return slot < 0 ? slot : this.#xen.runstates.info(slot, vcpu, this.#xen.time.systemTime());
  }

  /**
   * Names where a vCPU's vcpu_runstate_info is written whenever it begins to run, in place of where it was; written once now. -EFAULT
   * not in a page of the domain's, beyond its end, or not aligned to a word (VCPUOP_register_runstate_memory_area).
   */
  registerRunstateArea(caller: Domid, vcpu: number, address: number): number {
    const slot = this.#xen.vcpus.find(caller, vcpu);
    if (slot < 0) return slot;
    if (!this.#holds(caller, address, runstateBytes(this.#xen.sharedInfo.isAbi32(slot)))) return -errno.EFAULT;
    this.#words[this.#xen.vcpus.word(slot, vcpu) + vcpuWord.runstateArea] = address;
    this.#xen.runstates.updateArea(slot, vcpu);
    return 0;
  }

  /**
   * Names where a copy of a vCPU's vcpu_time_info is written whenever the one in its vcpu_info is; written once now. -EFAULT as
   * {@link registerRunstateArea} (VCPUOP_register_vcpu_time_memory_area).
   */
  registerTimeArea(caller: Domid, vcpu: number, address: number): number {
    const slot = this.#xen.vcpus.find(caller, vcpu);
    if (slot < 0) return slot;
    if (!this.#holds(caller, address, TIME_INFO_BYTES)) return -errno.EFAULT;
    this.#words[this.#xen.vcpus.word(slot, vcpu) + vcpuWord.timeArea] = address;
    this.#xen.timePages.update(slot, vcpu, this.#xen.time.systemTime());
    return 0;
  }

  /** Has the registered runstates written under XEN_RUNSTATE_UPDATE, or not any more (VMASST_TYPE_runstate_update_flag). */
  assistRunstateUpdate(caller: Domid, enable: boolean): number {
    const slot = this.#xen.memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    const at = this.#xen.memory.control(slot) + control.flags;
    if (enable) Atomics.or(this.#words, at, domainFlag.runstateUpdate);
    else Atomics.and(this.#words, at, ~domainFlag.runstateUpdate);
    return 0;
  }

  #flags(slot: number, vcpu: number): number {
    return this.#words[this.#xen.vcpus.word(slot, vcpu) + vcpuWord.flags] as number;
  }

  #holds(caller: Domid, address: number, bytes: number): boolean {
    if (!Number.isInteger(address) || address < 0 || address % 4 !== 0) return false;
    if ((address % PAGE_SIZE) + bytes > PAGE_SIZE) return false;
    return this.#xen.frames.isPage(Math.floor(address / PAGE_SIZE), caller);
  }
}
