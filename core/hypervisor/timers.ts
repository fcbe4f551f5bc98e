import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import { virq } from '../abi/virq.js';
import { control, TIMER_WORDS, timerWord } from './layout.js';
import type { MachineMemory } from './memory.js';
import type { Pollers } from './pollers.js';
import { type Runstates, runstate } from './runstate.js';
import type { TimeSource } from './time-source.js';
import type { Vcpus } from './vcpus.js';
import type { Virqs } from './virqs.js';
import { setWide, timesOf, wide } from './wide.js';

const MILLISECOND = 1e6;
/** Periods end below this (time.h `STIME_DELTA_MAX`, plus 1). */
const PERIODS_END = 2 ** 62;
/** How far ahead HYPERVISOR_set_timer_op believes a timeout, and what it takes in its place. */
const FAR_AHEAD = 2 ** 50;
const MIDDLE_GROUND = 100 * MILLISECOND;

/** A time or period in nanoseconds. @throws RangeError unless it is a whole number of 0 or more */
const nanoseconds = (what: string, value: number): number => {
  if (!Number.isInteger(value) || value < 0) {
    throw new RangeError(`${what} is a whole number of nanoseconds, 0 or more, not ${value}`);
  }
  return value;
};

/**
 * The timers of the vCPUs of all slots: each has a single-shot and a periodic one, which raise VIRQ_TIMER, and one that ends a poll.
 * They carry nothing but the event, and coalesce like any other. Who owns the time, a platform, asks for the {@link next} deadline
 * of each of its domains and calls {@link expire} then. A call is made by the domain's own thread.
 */
export class Timers {
  readonly #memory: MachineMemory;
  readonly #times: Float64Array;
  readonly #vcpus: Vcpus;
  readonly #runstates: Runstates;
  readonly #virqs: Virqs;
  readonly #pollers: Pollers;
  readonly #source: TimeSource;
  readonly #listeners = new Map<Domid, () => void>();

  constructor(
    memory: MachineMemory,
    vcpus: Vcpus,
    runstates: Runstates,
    virqs: Virqs,
    pollers: Pollers,
    source: TimeSource,
  ) {
    this.#memory = memory;
    this.#times = timesOf(memory);
    this.#vcpus = vcpus;
    this.#runstates = runstates;
    this.#virqs = virqs;
    this.#pollers = pollers;
    this.#source = source;
  }

  /**
   * Sets a vCPU's single-shot timer, in place of what it was set to; a time that has passed raises VIRQ_TIMER at once. -EINVAL for
   * another vCPU than the caller's own, -ENOENT no such vCPU (VCPUOP_set_singleshot_timer; like Xen, it ignores
   * VCPU_SSHOTTMR_future).
   * @param current the vCPU that makes the call
   * @param timeout system time in nanoseconds
   * @throws RangeError unless `timeout` is a whole number of 0 or more
   */
  setSingleshot(caller: Domid, current: number, vcpu: number, timeout: number): number {
    nanoseconds('timeout_abs_ns', timeout);
    const slot = this.#own(caller, current, vcpu);
    if (slot < 0) return slot;
    // 0 has always passed, at the machine's boot too; in the timer's words it says that none is set.
    if (timeout === 0 || timeout < this.#source.systemTime()) {
      this.#set(slot, vcpu, timerWord.singleshot, 0);
      this.#virqs.raise(slot, vcpu, virq.timer);
    } else {
      this.#set(slot, vcpu, timerWord.singleshot, timeout);
    }
    this.onSet(caller);
    return 0;
  }

  /** Stops a vCPU's single-shot timer. -EINVAL for another vCPU than the caller's own, -ENOENT (VCPUOP_stop_singleshot_timer). */
  stopSingleshot(caller: Domid, current: number, vcpu: number): number {
    const slot = this.#own(caller, current, vcpu);
    if (slot < 0) return slot;
    this.#set(slot, vcpu, timerWord.singleshot, 0);
    this.onSet(caller);
    return 0;
  }

  /**
   * Sets a vCPU's periodic timer. It stands still while the vCPU is switched out, and fires when it is switched in if its period has
   * passed by then; also now, if so long has passed since it last fired, or since the machine's boot where it never has. -EINVAL
   * for less than a millisecond, or too much; -ENOENT no such vCPU (VCPUOP_set_periodic_timer).
   * @param period in nanoseconds
   * @throws RangeError unless `period` is a whole number of 0 or more
   */
  setPeriodic(caller: Domid, vcpu: number, period: number): number {
    nanoseconds('period_ns', period);
    const slot = this.#vcpus.find(caller, vcpu);
    if (slot < 0) return slot;
    if (period < MILLISECOND || period >= PERIODS_END) return -errno.EINVAL;
    this.#setPeriodic(slot, vcpu, period);
    this.onSet(caller);
    return 0;
  }

  /** Stops a vCPU's periodic timer. -ENOENT no such vCPU (VCPUOP_stop_periodic_timer). */
  stopPeriodic(caller: Domid, vcpu: number): number {
    const slot = this.#vcpus.find(caller, vcpu);
    if (slot < 0) return slot;
    this.#setPeriodic(slot, vcpu, 0);
    this.onSet(caller);
    return 0;
  }

  /**
   * Sets the single-shot timer of the vCPU that calls; 0 stops it. A time below 0, or more than 2^50 ns ahead, counts as 100 ms from now:
   * some kernels mean "none", others wrap (HYPERVISOR_set_timer_op). -ENOENT no such vCPU.
   * @param timeout system time in nanoseconds
   * @throws RangeError unless `timeout` is a whole number
   */
  setTimerOp(caller: Domid, current: number, timeout: number): number {
    if (!Number.isInteger(timeout)) throw new RangeError(`timeout is a whole number of nanoseconds, not ${timeout}`);
    const slot = this.#vcpus.find(caller, current);
    if (slot < 0) return slot;
    const now = this.#source.systemTime();
    const far = timeout < 0 || timeout - now >= FAR_AHEAD;
    this.#set(slot, current, timerWord.singleshot, far ? now + MIDDLE_GROUND : timeout);
    this.onSet(caller);
    return 0;
  }

  /** Has a function called when a deadline of a domain may have changed, in place of the one before. */
  listen(domid: Domid, listener: () => void): void {
    this.#listeners.set(domid, listener);
  }

  /** Has nothing called any more for a domain, which is gone. */
  unlisten(domid: Domid): void {
    this.#listeners.delete(domid);
  }

  /** Says that a deadline of a domain may have changed. */
  onSet(domid: Domid): void {
    this.#listeners.get(domid)?.();
  }

  /** The time at which a vCPU's poll ends; 0 for never. */
  pollOf(slot: number, vcpu: number): number {
    return wide(this.#times, this.#at(slot, vcpu) + timerWord.poll);
  }

  /** Sets the time at which a vCPU's poll ends; 0 for never. */
  setPoll(slot: number, vcpu: number, timeout: number): void {
    this.#set(slot, vcpu, timerWord.poll, timeout);
  }

  /** Whether a vCPU's periodic timer is set. */
  hasPeriod(slot: number, vcpu: number): boolean {
    return wide(this.#times, this.#at(slot, vcpu) + timerWord.period) !== 0;
  }

  /** When a vCPU's periodic timer fired last, in nanoseconds of system time. */
  lastPeriod(slot: number, vcpu: number): number {
    return wide(this.#times, this.#at(slot, vcpu) + timerWord.periodicLast);
  }

  /** The earliest deadline of a slot's domain, in nanoseconds of system time; Infinity for none. */
  next(slot: number): number {
    let next = Number.POSITIVE_INFINITY;
    const count = this.#vcpus.count(slot);
    for (let vcpu = 0; vcpu < count; vcpu++) {
      const at = this.#at(slot, vcpu);
      const singleshot = wide(this.#times, at + timerWord.singleshot);
      if (singleshot !== 0 && singleshot < next) next = singleshot;
      const poll = wide(this.#times, at + timerWord.poll);
      if (poll !== 0 && poll < next) next = poll;
      const period = wide(this.#times, at + timerWord.period);
      if (period === 0 || this.#runstates.state(slot, vcpu) !== runstate.running) continue;
      next = Math.min(next, wide(this.#times, at + timerWord.periodicLast) + period);
    }
    return next;
  }

  /** Fires what is due of a slot's domain. */
  expire(slot: number, now: number): void {
    const count = this.#vcpus.count(slot);
    for (let vcpu = 0; vcpu < count; vcpu++) {
      const at = this.#at(slot, vcpu);
      const singleshot = wide(this.#times, at + timerWord.singleshot);
      if (singleshot !== 0 && singleshot <= now) {
        this.#set(slot, vcpu, timerWord.singleshot, 0);
        this.#virqs.raise(slot, vcpu, virq.timer);
      }
      const poll = wide(this.#times, at + timerWord.poll);
      if (poll !== 0 && poll <= now) {
        this.#set(slot, vcpu, timerWord.poll, 0);
        this.#pollers.unblock(slot, vcpu);
      }
      if (this.#runstates.state(slot, vcpu) === runstate.running) this.switchedIn(slot, vcpu, now);
    }
  }

  /** A vCPU has begun to run, or runs: its periodic timer fires if its period has passed (core.c `vcpu_periodic_timer_work`). */
  switchedIn(slot: number, vcpu: number, now: number): void {
    const at = this.#at(slot, vcpu);
    const period = wide(this.#times, at + timerWord.period);
    if (period === 0 || now < wide(this.#times, at + timerWord.periodicLast) + period) return;
    this.#virqs.raise(slot, vcpu, virq.timer);
    this.#set(slot, vcpu, timerWord.periodicLast, now);
  }

  #setPeriodic(slot: number, vcpu: number, period: number): void {
    this.#set(slot, vcpu, timerWord.period, period);
    if (period !== 0) this.switchedIn(slot, vcpu, this.#source.systemTime());
  }

  #own(caller: Domid, current: number, vcpu: number): number {
    const slot = this.#vcpus.find(caller, vcpu);
    return slot >= 0 && vcpu !== current ? -errno.EINVAL : slot;
  }

  #at(slot: number, vcpu: number): number {
    return this.#memory.control(slot) + control.timers + vcpu * TIMER_WORDS;
  }

  #set(slot: number, vcpu: number, timer: number, value: number): void {
    setWide(this.#times, this.#at(slot, vcpu) + timer, value);
  }
}
