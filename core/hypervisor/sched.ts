import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import { virq } from '../abi/virq.js';
import type { Domains } from './domains.js';
import type { Doorbell } from './doorbell.js';
import { control, life, SHUT_DOWN, SHUTDOWN_CODE, SHUTTING_DOWN, vcpuFlag, vcpuWord } from './layout.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';
import type { Pollers } from './pollers.js';
import { isUsable, type Ports } from './ports.js';
import type { SharedInfo } from './shared-info.js';
import type { TimeSource } from './time-source.js';
import type { Timers } from './timers.js';
import type { Vcpus } from './vcpus.js';
import type { Virqs } from './virqs.js';
import { setWide, timesOf, wide } from './wide.js';

/** Why a domain shuts down (sched.h `SHUTDOWN_*`). */
export const shutdownReason = { poweroff: 0, reboot: 1, suspend: 2, crash: 3, watchdog: 4, soft_reset: 5 } as const;

/** Ports that SCHEDOP_poll takes at most. */
export const POLL_PORTS = 128;
/** Pauses of one kind that a toolstack may have standing. */
const MAX_PAUSES = 255;
/** Watchdogs of a domain (sched.h `NR_DOMAIN_WATCHDOG_TIMERS`). */
const WATCHDOGS = 2;
const SECOND = 1e9;

/** What our Xen's parts that the scheduling operations need. */
export interface SchedParts {
  readonly memory: MachineMemory;
  readonly lock: Lock;
  readonly domains: Domains;
  readonly ports: Ports;
  readonly sharedInfo: SharedInfo;
  readonly vcpus: Vcpus;
  readonly doorbell: Doorbell;
  readonly pollers: Pollers;
  readonly timers: Timers;
  readonly virqs: Virqs;
  readonly time: TimeSource;
}

/**
 * The scheduling operations (sched.h `SCHEDOP_*`), and the pauses of domctl.h. A call is made by `caller`'s thread and answers 0 or
 * more, or the negative errno that Xen answers. None waits: one that blocks the vCPU notes that, and the platform, which asks
 * {@link Vcpus.isBlocked}, lets the guest's code go on when it enters the vCPU next.
 */
export class Sched {
  readonly #xen: SchedParts;
  readonly #words: Int32Array;
  readonly #times: Float64Array;
  /** Called in the thread that made the call, when a domain begins to shut down. */
  onShutdown: (domid: Domid, code: number) => void = () => {};
  /** Called in the thread that made the call, when it was decided whether a domain's vCPUs may run. */
  onRunnable: (domid: Domid) => void = () => {};
  /** Called in the thread that made the call, when a domain's watchdog was set or stopped. */
  onWatchdog: (domid: Domid) => void = () => {};

  constructor(parts: SchedParts) {
    this.#xen = parts;
    this.#words = parts.memory.words;
    this.#times = timesOf(parts.memory);
  }

  /**
   * Clears the vCPU's evtchn_upcall_mask, and blocks it unless an upcall is pending then: no event can come in between and be slept
   * over. Always 0; -ESRCH, -ENOENT no such vCPU (SCHEDOP_block).
   */
  block(caller: Domid, vcpu: number): number {
    const slot = this.#xen.vcpus.find(caller, vcpu);
    if (slot < 0) return slot;
    const { sharedInfo, vcpus } = this.#xen;
    const info = sharedInfo.infoOf(slot, vcpu);
    sharedInfo.unmaskUpcalls(info);
    // Other code of the guest's may wait on this vCPU already: it goes on waiting until that is entered.
    if (!sharedInfo.hasUpcall(info)) vcpus.setFlag(slot, vcpu, vcpuFlag.blocked, true);
    return 0;
  }

  /** Lets others run first. Always 0; -ESRCH, -ENOENT no such vCPU (SCHEDOP_yield). */
  yield(caller: Domid, vcpu: number): number {
    const slot = this.#xen.vcpus.find(caller, vcpu);
    if (slot < 0) return slot;
    this.#xen.vcpus.attend(slot, vcpu);
    return 0;
  }

  /**
   * Blocks the vCPU until one of the ports is pending, masked ones too, or the time has come; 0, also where it does not block: a
   * listed port is pending already, or an upcall could be delivered. PENDING is not cleared. With one port, only that port wakes;
   * with several, or none, any event of the domain may. While other code of the guest's waits on the vCPU, whatever ends one wait ends
   * all, and any event may. -EINVAL more than 128 ports, or one that is free, Xen's own, or has no entry; -EFAULT
   * a list that cannot be read (SCHEDOP_poll).
   * @param timeout system time in nanoseconds, 0 for never
   */
  poll(caller: Domid, vcpu: number, ports: readonly number[], timeout: number): number {
    const slot = this.#xen.vcpus.find(caller, vcpu);
    if (slot < 0) return slot;
    if (ports.length > POLL_PORTS) return -errno.EINVAL;
    const { sharedInfo, vcpus, pollers, timers, doorbell } = this.#xen;
    const isShared = vcpus.isBlocked(slot, vcpu);
    pollers.start(slot, vcpu, -1);
    vcpus.setFlag(slot, vcpu, vcpuFlag.blocked, true);
    let result = sharedInfo.hasUpcall(sharedInfo.infoOf(slot, vcpu)) ? 1 : 0;
    for (let i = 0; result === 0 && i < ports.length; i++) result = this.#pollPort(slot, ports[i]);
    if (result !== 0) {
      if (!isShared) {
        pollers.stop(slot, vcpu);
        vcpus.setFlag(slot, vcpu, vcpuFlag.blocked, false);
      } else if (result > 0) {
        vcpus.attend(slot, vcpu);
        doorbell.kick(slot);
      }
      return Math.min(result, 0);
    }
    if (ports.length === 1 && !isShared) this.#words[vcpus.word(slot, vcpu) + vcpuWord.pollPort] = ports[0] as number;
    const before = isShared ? timers.pollOf(slot, vcpu) : 0;
    timers.setPoll(slot, vcpu, before === 0 || timeout === 0 ? before + timeout : Math.min(before, timeout));
    timers.onSet(caller);
    return 0;
  }

  /** A vCPU is entered, and so waits no longer; whether it did. */
  unblock(slot: number, vcpu: number): boolean {
    const { vcpus, pollers, timers } = this.#xen;
    if (!vcpus.isBlocked(slot, vcpu)) return false;
    vcpus.setFlag(slot, vcpu, vcpuFlag.blocked, false);
    pollers.stop(slot, vcpu);
    timers.setPoll(slot, vcpu, 0);
    return true;
  }

  /**
   * Shuts the caller down: none of its vCPUs is entered any more, and VIRQ_DOM_EXC tells who owns that. A code that was set before
   * stays. Always 0 (SCHEDOP_shutdown).
   * @param reason of {@link shutdownReason}; 8 bits of it count
   */
  shutdown(caller: Domid, reason: number): number {
    return this.#shutdown(caller, caller, reason);
  }

  /** Sets the code that a shutdown to come will have, if none is set. Always 0 (SCHEDOP_shutdown_code). */
  shutdownCode(caller: Domid, reason: number): number {
    const { lock, memory } = this.#xen;
    lock.acquire(caller);
    const slot = memory.callerOf(caller);
    if (slot >= 0) this.#setCode(slot, reason);
    lock.release();
    return slot < 0 ? -errno.ESRCH : 0;
  }

  /** Shuts another domain down, as {@link shutdown}. -ESRCH, -EPERM unless the caller is privileged (SCHEDOP_remote_shutdown). */
  remoteShutdown(caller: Domid, domid: Domid, reason: number): number {
    if (this.#xen.memory.slotOf(domid) < 0) return -errno.ESRCH;
    if (!this.#xen.domains.isPrivileged(caller)) return -errno.EPERM;
    return this.#shutdown(caller, domid, reason);
  }

  /**
   * Lets a domain that was shut down go on where it was: its ports and grants are as they were. One that is not shut down just goes
   * on. -ESRCH, -EPERM unless the caller is privileged, -EINVAL itself (XEN_DOMCTL_resumedomain).
   */
  resume(caller: Domid, domid: Domid): number {
    return this.#control(caller, domid, (slot) => {
      const vcpus = this.#xen.vcpus.count(slot);
      const at = this.#xen.memory.control(slot) + control.shutdown;
      if (((this.#words[at] as number) & SHUTTING_DOWN) !== 0) {
        for (let vcpu = 0; vcpu < vcpus; vcpu++) this.#xen.vcpus.attend(slot, vcpu);
      }
      Atomics.store(this.#words, at, 0);
      return 0;
    });
  }

  /** The code of a domain's shutdown; undefined while it is not shut down. */
  shutdownOf(domid: Domid): number | undefined {
    const slot = this.#xen.memory.slotOf(domid);
    if (slot < 0) return undefined;
    const word = Atomics.load(this.#words, this.#xen.memory.control(slot) + control.shutdown);
    return (word & SHUT_DOWN) === 0 ? undefined : (word & SHUTDOWN_CODE) - 1;
  }

  /**
   * Sets, moves or stops a watchdog, which shuts the domain down as `watchdog` when it fires. With id 0 a new one, whose id from 1 is
   * the result; with another and a timeout of 0 that one stops, and is free. -EINVAL an id above 2, or of one that is not in use;
   * -ENOSPC both are (SCHEDOP_watchdog).
   * @param timeout seconds from now
   * @throws RangeError unless `timeout` is a whole number of 0 … 2^32 - 1
   */
  watchdog(caller: Domid, id: number, timeout: number): number {
    if (timeout >>> 0 !== timeout) throw new RangeError(`a watchdog's timeout is 32 bits of seconds, not ${timeout}`);
    const { lock, memory, time } = this.#xen;
    if (id >>> 0 !== id || id > WATCHDOGS) return -errno.EINVAL;
    lock.acquire(caller);
    const slot = memory.callerOf(caller);
    const result = slot < 0 ? -errno.ESRCH : this.#watchdog(slot, id, timeout, time.systemTime());
    lock.release();
    if (result >= 0) this.onWatchdog(caller);
    return result;
  }

  /** When the first of a domain's watchdogs fires, in nanoseconds of system time; Infinity for none. */
  nextWatchdog(domid: Domid): number {
    const slot = this.#xen.memory.callerOf(domid);
    if (slot < 0) return Number.POSITIVE_INFINITY;
    const at = this.#xen.memory.control(slot);
    let next = Number.POSITIVE_INFINITY;
    for (let i = 0; i < WATCHDOGS; i++) {
      if (((this.#words[at + control.watchdogs] as number) & (1 << i)) === 0) continue;
      const fires = wide(this.#times, at + control.watchdogAt + 2 * i);
      if (fires !== 0) next = Math.min(next, fires);
    }
    return next;
  }

  /** Shuts a domain down whose watchdog is due, in `caller`'s thread, which has the time (core.c `domain_watchdog_timeout`). */
  expireWatchdogs(caller: Domid, domid: Domid): void {
    if (this.nextWatchdog(domid) > this.#xen.time.systemTime()) return;
    const at = this.#xen.memory.control(this.#xen.memory.slotOf(domid));
    // It fires once; its id stays in use.
    for (let i = 0; i < WATCHDOGS; i++) {
      if (wide(this.#times, at + control.watchdogAt + 2 * i) <= this.#xen.time.systemTime()) {
        setWide(this.#times, at + control.watchdogAt + 2 * i, 0);
      }
    }
    this.#shutdown(caller, domid, shutdownReason.watchdog);
  }

  /**
   * Pauses a domain: events for it are kept, and wake it no more. Pauses count. -ESRCH, -EPERM unless the caller is privileged, -EINVAL
   * itself, -EOVERFLOW 255 stand (XEN_DOMCTL_pausedomain).
   */
  pause(caller: Domid, domid: Domid): number {
    return this.#control(caller, domid, (slot) => {
      const at = this.#xen.memory.control(slot) + control.pauseCount;
      const pauses = this.#words[at] as number;
      if (pauses >= MAX_PAUSES) return -errno.EOVERFLOW;
      Atomics.store(this.#words, at, pauses + 1);
      return 0;
    });
  }

  /** Takes one pause back. -ESRCH, -EPERM, -EINVAL itself, or it is not paused (XEN_DOMCTL_unpausedomain). */
  unpause(caller: Domid, domid: Domid): number {
    return this.#control(caller, domid, (slot) => {
      const at = this.#xen.memory.control(slot) + control.pauseCount;
      const pauses = this.#words[at] as number;
      if (pauses === 0) return -errno.EINVAL;
      Atomics.store(this.#words, at, pauses - 1);
      return 0;
    });
  }

  /** A privileged call on another domain, under the lock; what it changed is looked at anew. */
  #control(caller: Domid, domid: Domid, work: (slot: number) => number): number {
    const { lock, memory, domains, doorbell } = this.#xen;
    lock.acquire(caller);
    const slot = memory.slotOf(domid);
    let result: number;
    if (slot < 0 || domains.lifeIn(slot) !== life.alive) result = -errno.ESRCH;
    else if (!domains.isPrivileged(caller)) result = -errno.EPERM;
    else if (caller === domid) result = -errno.EINVAL;
    else result = work(slot);
    lock.release();
    if (result !== 0) return result;
    doorbell.kick(slot);
    this.onRunnable(domid);
    return 0;
  }

  #shutdown(caller: Domid, domid: Domid, reason: number): number {
    const { lock, memory, virqs } = this.#xen;
    lock.acquire(caller);
    const slot = memory.callerOf(domid);
    let code: number | undefined;
    if (slot >= 0) {
      this.#setCode(slot, reason);
      const at = memory.control(slot) + control.shutdown;
      const word = this.#words[at] as number;
      if ((word & SHUTTING_DOWN) === 0) {
        Atomics.store(this.#words, at, word | SHUTTING_DOWN | SHUT_DOWN);
        code = (word & SHUTDOWN_CODE) - 1;
      }
    }
    lock.release();
    if (slot < 0) return -errno.ESRCH;
    if (code !== undefined) {
      virqs.raiseGlobal(virq.domExc);
      this.onRunnable(domid);
      this.onShutdown(domid, code);
    }
    return 0;
  }

  #setCode(slot: number, reason: number): void {
    const at = this.#xen.memory.control(slot) + control.shutdown;
    const word = this.#words[at] as number;
    if ((word & SHUTDOWN_CODE) === 0) Atomics.store(this.#words, at, word | ((reason & 0xff) + 1));
  }

  #watchdog(slot: number, id: number, timeout: number, now: number): number {
    const at = this.#xen.memory.control(slot);
    const used = this.#words[at + control.watchdogs] as number;
    let index = id - 1;
    if (id === 0) {
      index = [...Array(WATCHDOGS).keys()].findIndex((i) => (used & (1 << i)) === 0);
      if (index < 0) return -errno.ENOSPC;
    } else if ((used & (1 << index)) === 0) {
      return -errno.EINVAL;
    }
    const stops = id !== 0 && timeout === 0;
    setWide(this.#times, at + control.watchdogAt + 2 * index, stops ? 0 : now + timeout * SECOND);
    this.#words[at + control.watchdogs] = stops ? used & ~(1 << index) : used | (1 << index);
    return id === 0 ? index + 1 : 0;
  }

  /** 1 for a port that is pending, 0 for one that is not. */
  #pollPort(slot: number, port: number | undefined): number {
    if (typeof port !== 'number' || port >>> 0 !== port) return -errno.EFAULT;
    const { ports, sharedInfo } = this.#xen;
    if (!isUsable(ports.get(slot, port))) return -errno.EINVAL;
    return sharedInfo.isPending(sharedInfo.at(slot), port) ? 1 : 0;
  }
}
