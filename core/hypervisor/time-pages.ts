import type { Domid } from '../abi/units.js';
import type { Frames } from './frames.js';
import { control, domainFlag, vcpuWord } from './layout.js';
import type { MachineMemory } from './memory.js';
import type { SharedInfo } from './shared-info.js';
import type { TimeSource } from './time-source.js';
import type { Vcpus } from './vcpus.js';
import { highWord, lowWord, setWide, timesOf, wide } from './wide.js';

/** Words of `struct vcpu_time_info` (xen.h); it begins at the same place in the vcpu_info of both ABIs of x86. */
export const timeInfo = { version: 0, tscTimestamp: 2, systemTime: 4, tscToSystemMul: 6, shiftAndFlags: 7 } as const;
/** Bytes of a `struct vcpu_time_info`. */
export const TIME_INFO_BYTES = 32;
const TIME_IN_INFO = 8;
/** On Arm there is no arch_vcpu_info before it (arch-arm.h). */
const TIME_IN_INFO_ARM = 4;

/** Words of wc_version in shared_info; wc_sec, wc_nsec and wc_sec_hi follow, the last in arch_shared_info for 32 bits. */
const wallclock = { x64: 768, x32: 576 } as const;
const SEC_HI_32 = 585;

/**
 * Our TSC counts nanoseconds since the machine's boot, as a host of 1 GHz would: the factor and shift that time.c
 * `set_time_scale` computes for 10^9 ticks a second.
 */
export const TSC_TO_SYSTEM_MUL = 0x8000_0000;
export const TSC_SHIFT = 1;
/** XEN_PVCLOCK_TSC_STABLE_BIT: the TSC is the same on all vCPUs. */
const TSC_STABLE = 1;
/** Nanoseconds between two calibrations (time.c `EPOCH`): an entry writes the time page if it is older. */
const EPOCH = 1e9;

/** The pages from which a guest reads the time without a call: vcpu_time_info of each vCPU, and the wall clock (xen.h). */
export class TimePages {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #times: Float64Array;
  readonly #sharedInfo: SharedInfo;
  readonly #vcpus: Vcpus;
  readonly #frames: Frames;
  readonly #source: TimeSource;

  constructor(memory: MachineMemory, sharedInfo: SharedInfo, vcpus: Vcpus, frames: Frames, source: TimeSource) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#times = timesOf(memory);
    this.#sharedInfo = sharedInfo;
    this.#vcpus = vcpus;
    this.#frames = frames;
    this.#source = source;
  }

  /** The first word of a vCPU's vcpu_time_info. */
  at(slot: number, vcpu: number): number {
    const isArm = (this.#sharedInfo.flags(slot) & domainFlag.arm) !== 0;
    return this.#sharedInfo.infoOf(slot, vcpu) + (isArm ? TIME_IN_INFO_ARM : TIME_IN_INFO);
  }

  /** The wall-clock time of system time 0, in milliseconds since the Unix epoch, read as a guest reads it: under wc_version. */
  wallclock(slot: number): number {
    const abi32 = this.#sharedInfo.isAbi32(slot);
    const page = this.#sharedInfo.at(slot);
    const at = page + (abi32 ? wallclock.x32 : wallclock.x64);
    for (;;) {
      const version = Atomics.load(this.#words, at);
      const low = Atomics.load(this.#words, at + 1) >>> 0;
      const nanoseconds = Atomics.load(this.#words, at + 2);
      const high = Atomics.load(this.#words, abi32 ? page + SEC_HI_32 : at + 3);
      if ((version & 1) === 0 && Atomics.load(this.#words, at) === version) {
        return (high * 2 ** 32 + low) * 1000 + nanoseconds / 1e6;
      }
    }
  }

  /** Writes all time pages of a new domain, and its wall clock (time.c `update_domain_wallclock_time`). */
  init(slot: number): void {
    const now = this.#source.systemTime();
    for (let vcpu = 0; vcpu < this.#vcpus.count(slot); vcpu++) this.update(slot, vcpu, now);
    this.setWallclock(slot, this.#source.bootTime);
  }

  /** Writes a vCPU's time page if it is older than a calibration (time.c `update_vcpu_system_time`). */
  refresh(slot: number, vcpu: number, now: number): void {
    if (now - wide(this.#times, this.#vcpus.word(slot, vcpu) + vcpuWord.timeStamp) >= EPOCH)
      this.update(slot, vcpu, now);
  }

  /** Writes a vCPU's time page, and its registered copy. The version is odd meanwhile. */
  update(slot: number, vcpu: number, now: number): void {
    const word = this.#vcpus.word(slot, vcpu);
    setWide(this.#times, word + vcpuWord.timeStamp, now);
    this.#write(this.at(slot, vcpu), now);
    const area = this.#words[word + vcpuWord.timeArea] as number;
    if (area !== 0) this.#copyTo(slot, area, now);
  }

  /**
   * Sets the wall-clock time of system time 0, in milliseconds since the Unix epoch: wc_sec, wc_nsec and wc_sec_hi under wc_version.
   */
  setWallclock(slot: number, bootTime: number): void {
    const abi32 = this.#sharedInfo.isAbi32(slot);
    const page = this.#sharedInfo.at(slot);
    const at = page + (abi32 ? wallclock.x32 : wallclock.x64);
    const seconds = Math.floor(bootTime / 1000);
    Atomics.add(this.#words, at, 1);
    Atomics.store(this.#words, at + 1, lowWord(seconds));
    Atomics.store(this.#words, at + 2, Math.round((bootTime - seconds * 1000) * 1e6));
    Atomics.store(this.#words, abi32 ? page + SEC_HI_32 : at + 3, highWord(seconds));
    Atomics.add(this.#words, at, 1);
  }

  #copyTo(slot: number, area: number, now: number): void {
    const domid = this.#words[this.#memory.control(slot) + control.domid] as Domid;
    if (this.#frames.isPage(area >>> 12, domid)) this.#write(area >>> 2, now);
  }

  #write(at: number, now: number): void {
    const words = this.#words;
    // Each store is an atomic one, so that a reader who finds the same even version twice has read what lies between.
    Atomics.add(words, at + timeInfo.version, 1);
    Atomics.store(words, at + timeInfo.tscTimestamp, lowWord(now));
    Atomics.store(words, at + timeInfo.tscTimestamp + 1, highWord(now));
    Atomics.store(words, at + timeInfo.systemTime, lowWord(now));
    Atomics.store(words, at + timeInfo.systemTime + 1, highWord(now));
    Atomics.store(words, at + timeInfo.tscToSystemMul, TSC_TO_SYSTEM_MUL | 0);
    Atomics.store(words, at + timeInfo.shiftAndFlags, TSC_SHIFT | (TSC_STABLE << 8));
    Atomics.add(words, at + timeInfo.version, 1);
  }
}
