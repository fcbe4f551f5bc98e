import type { Observable } from 'rxjs';
import type { Page } from './grant-table.js';

/** What a vCPU does (vcpu.h `RUNSTATE_*`): it has a physical CPU, waits for one, waits for an event, or is down or paused. */
export type Runstate = 'running' | 'runnable' | 'blocked' | 'offline';

/** What a vCPU does and has done (vcpu.h `vcpu_runstate_info`). Times are nanoseconds. */
export interface RunstateInfo {
  readonly state: Runstate;
  /** When that began, in system time. */
  readonly stateEntryTime: number;
  /** How long it has done each; the sum never drifts from system time. */
  readonly time: Readonly<Record<Runstate, number>>;
}

/**
 * One of the domain's own virtual processors (vcpu.h `VCPUOP_*`). Events are delivered on the vCPU that their port notifies, when that is
 * entered. System time is in nanoseconds since the machine's boot, CPU time in milliseconds.
 *
 * A timer is an Observable: subscribing sets it, unsubscribing stops it. The vCPU's single-shot and its periodic timer raise VIRQ_TIMER,
 * which is bound at the first subscription, and the subscribers hear of it when the vCPU is entered: late if it is switched out.
 */
export abstract class Vcpu {
  /** Its number, from 0. */
  abstract readonly id: number;
  /** Whether it is up (VCPUOP_is_up): vCPU 0 is from the start. */
  abstract readonly isUp: boolean;
  /** Its evtchn_upcall_mask: while it is set, events stay pending, and come when it is cleared. */
  abstract upcallMask: boolean;
  /** Brings the vCPU up, so that events are delivered on it (VCPUOP_initialise where that is to be done yet, VCPUOP_up). */
  abstract up(): void;
  /** Takes the vCPU down: events for it stay pending. The last one takes the domain with it, powered off (VCPUOP_down). */
  abstract down(): void;
  /** What the vCPU does, and has done (VCPUOP_get_runstate_info). */
  abstract runstate(): RunstateInfo;
  /**
   * Has the runstate written into a page of the domain's own whenever the vCPU begins to run
   * (VCPUOP_register_runstate_memory_area).
   * @param update whether each write is flagged in bit 63 of state_entry_time meanwhile (VMASST_TYPE_runstate_update_flag)
   * @throws XenError EFAULT when it does not fit there
   */
  abstract registerRunstate(page: Page, offset: number, update?: boolean): void;
  /**
   * Has a copy of the vcpu_time_info kept in a page of the domain's own (VCPUOP_register_vcpu_time_memory_area).
   * @throws XenError EFAULT when it does not fit there
   */
  abstract registerTime(page: Page, offset: number): void;
  /** System time, read from the vCPU's vcpu_time_info by the TSC as xen.h says, without a call. */
  abstract systemTime(): number;
  /** Runs a function on this vCPU, when it is entered next, and resolves to what it returns. */
  abstract run<T>(task: () => T): Promise<T>;
  /** Leaves the vCPU an NMI (VCPUOP_send_nmi). */
  abstract sendNmi(): void;
  /**
   * Emits once and completes at a system time, in nanoseconds; at the next entry for one that has passed. Several subscriptions share
   * the one timer, which is always set to the earliest (VCPUOP_set_singleshot_timer).
   * @throws XenError EINVAL unless subscribed on this vCPU, see {@link run}; EEXIST when VIRQ_TIMER is bound already
   */
  abstract singleshot$(timeoutAbsNs: number): Observable<void>;
  /**
   * Emits once a period while the vCPU runs. It stands still while the vCPU is switched out, blocked too, and emits when it is switched in
   * if the period has passed (VCPUOP_set_periodic_timer). A second subscription sets the period anew for all.
   * @throws XenError EINVAL for less than 1 ms; EEXIST when VIRQ_TIMER is bound already
   */
  abstract periodic$(periodNs: number): Observable<void>;
  /** Emits once and completes when the vCPU has received so many more milliseconds of CPU, however long that takes. */
  abstract virtualTimer$(ms: number): Observable<void>;
  /**
   * Is busy for so many milliseconds of CPU. It competes for the physical CPUs with all others that are busy; its events are delivered
   * while it has one, and wait while it has none. Resolves when it has received them. Spending again while it spends adds to it.
   *
   * Where the machine's time is simulated, so is the work; where domains are threads, the thread computes.
   */
  abstract spend(ms: number): Promise<void>;
}

/**
 * A domain's own vCPUs (vcpu.h). Where domains are threads, its one thread serves all of them, and their runstates are kept from when the
 * domain first asks for this token; until then they count as offline.
 */
export abstract class Vcpus {
  /** How many there are (DomainConfig `vcpus`). */
  abstract readonly count: number;
  /** The one that was entered last: that on which the code runs that asks. */
  abstract readonly current: Vcpu;
  /** The vCPU of a number. @throws XenError ENOENT */
  abstract vcpu(id: number): Vcpu;
  /** The wall-clock time of now, in milliseconds since the Unix epoch, read from the pages as xen.h says (`wc_version`). */
  abstract wallclock(): number;
  /** Emits once and completes when all vCPUs together have received so many more milliseconds of CPU. */
  abstract virtualTimer$(ms: number): Observable<void>;
}
