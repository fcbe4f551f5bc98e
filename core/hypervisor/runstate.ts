import type { Domid } from '../abi/units.js';
import type { Frames } from './frames.js';
import { control, domainFlag, vcpuWord } from './layout.js';
import type { MachineMemory } from './memory.js';
import type { SharedInfo } from './shared-info.js';
import type { TimeSource } from './time-source.js';
import type { Vcpus } from './vcpus.js';
import { highWord, lowWord, setWide, timesOf, wide } from './wide.js';

/** What a vCPU does (vcpu.h `RUNSTATE_*`). */
export const runstate = { running: 0, runnable: 1, blocked: 2, offline: 3 } as const;
/** What a vCPU does, as a number. */
export type RunstateNumber = (typeof runstate)[keyof typeof runstate];

/** Bytes of `struct vcpu_runstate_info`: for 64 bits, and for 32. */
export const runstateBytes = (abi32: boolean): number => (abi32 ? 44 : 48);
/** XEN_RUNSTATE_UPDATE, bit 63 of state_entry_time, in its high word. */
const UPDATE = 0x8000_0000 | 0;

/** VCPUOP_get_runstate_info. */
export interface RunstateInfo {
  readonly state: RunstateNumber;
  /** When it was entered: system time in nanoseconds. */
  readonly stateEntryTime: number;
  /** Nanoseconds spent in each of the four; their sum never drifts from system time. */
  readonly time: readonly [number, number, number, number];
}

/** How long each vCPU of all slots has run, waited and slept. */
export class Runstates {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #times: Float64Array;
  readonly #vcpus: Vcpus;
  readonly #sharedInfo: SharedInfo;
  readonly #frames: Frames;
  readonly #source: TimeSource;

  constructor(memory: MachineMemory, vcpus: Vcpus, sharedInfo: SharedInfo, frames: Frames, source: TimeSource) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#times = timesOf(memory);
    this.#vcpus = vcpus;
    this.#sharedInfo = sharedInfo;
    this.#frames = frames;
    this.#source = source;
  }

  /** All vCPUs of a new domain are offline, from now on. */
  init(slot: number): void {
    const now = this.#source.systemTime();
    for (let vcpu = 0; vcpu < this.#vcpus.count(slot); vcpu++) {
      const word = this.#vcpus.word(slot, vcpu);
      this.#words[word + vcpuWord.runstate] = runstate.offline;
      setWide(this.#times, word + vcpuWord.runstateEntry, now);
    }
  }

  /** The state that a vCPU is in. */
  state(slot: number, vcpu: number): RunstateNumber {
    return this.#words[this.#vcpus.word(slot, vcpu) + vcpuWord.runstate] as RunstateNumber;
  }

  /**
   * A vCPU enters another state (core.c `vcpu_runstate_change`). One that begins to run finds its registered copy written, as Xen
   * writes it when it switches to the vCPU.
   */
  change(slot: number, vcpu: number, state: RunstateNumber, now: number): void {
    const words = this.#words;
    const times = this.#times;
    const word = this.#vcpus.word(slot, vcpu);
    const before = words[word + vcpuWord.runstate] as number;
    if (before === state) return;
    const spent = now - wide(times, word + vcpuWord.runstateEntry);
    if (spent > 0) {
      const at = word + vcpuWord.runstateTimes + 2 * before;
      setWide(times, at, wide(times, at) + spent);
      setWide(times, word + vcpuWord.runstateEntry, now);
    }
    words[word + vcpuWord.runstate] = state;
    if (state === runstate.running && words[word + vcpuWord.runstateArea] !== 0) this.updateArea(slot, vcpu);
  }

  /** Nanoseconds of CPU that a vCPU has received until `now`. */
  received(slot: number, vcpu: number, now: number): number {
    const word = this.#vcpus.word(slot, vcpu);
    const before = wide(this.#times, word + vcpuWord.runstateTimes);
    if (this.#words[word + vcpuWord.runstate] !== runstate.running) return before;
    return before + Math.max(0, now - wide(this.#times, word + vcpuWord.runstateEntry));
  }

  /** A vCPU's times as of `now` (core.c `vcpu_runstate_get`). */
  info(slot: number, vcpu: number, now: number): RunstateInfo {
    const words = this.#words;
    const times = this.#times;
    const word = this.#vcpus.word(slot, vcpu);
    const state = words[word + vcpuWord.runstate] as RunstateNumber;
    const stateEntryTime = wide(times, word + vcpuWord.runstateEntry);
    const time: [number, number, number, number] = [0, 0, 0, 0];
    for (let i = 0; i < 4; i++) time[i] = wide(times, word + vcpuWord.runstateTimes + 2 * i);
    time[state] = (time[state] as number) + Math.max(0, now - stateEntryTime);
    return { state, stateEntryTime, time };
  }

  /** Writes a vCPU's registered copy as the words stand, under XEN_RUNSTATE_UPDATE where the domain has asked for that. */
  updateArea(slot: number, vcpu: number): void {
    const words = this.#words;
    const at = this.#memory.control(slot);
    const word = this.#vcpus.word(slot, vcpu);
    const area = (words[word + vcpuWord.runstateArea] as number) >>> 0;
    // A page that the guest has given back since may be another's.
    if (area === 0 || !this.#frames.isPage(area >>> 12, words[at + control.domid] as Domid)) return;
    const flagged = ((words[at + control.flags] as number) & domainFlag.runstateUpdate) !== 0;
    // state, which 64 bits follow with a hole, then state_entry_time and time[4].
    const entry = (area >>> 2) + (this.#sharedInfo.isAbi32(slot) ? 1 : 2);
    const began = wide(this.#times, word + vcpuWord.runstateEntry);
    if (flagged) Atomics.or(words, entry + 1, UPDATE);
    Atomics.store(words, area >>> 2, words[word + vcpuWord.runstate] as number);
    Atomics.store(words, entry, lowWord(began));
    if (!flagged) Atomics.store(words, entry + 1, highWord(began));
    for (let i = 0; i < 4; i++) {
      const time = wide(this.#times, word + vcpuWord.runstateTimes + 2 * i);
      Atomics.store(words, entry + 2 + 2 * i, lowWord(time));
      Atomics.store(words, entry + 3 + 2 * i, highWord(time));
    }
    if (flagged) Atomics.store(words, entry + 1, highWord(began));
  }
}
