import type { Domid } from '../../core/abi/units.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { type RunstateNumber, runstate } from '../../core/hypervisor/runstate.js';
import type { HypervisorEventChannels } from './event-channels.js';
import { OwnDomain } from './own-domain.js';
import { VirtualTimers } from './virtual-timers.js';

/**
 * Something that is done on the way to a guest's vCPU, before its event upcall. It may deliver events, at most `limit`, and returns how
 * many. It must not throw.
 */
export type OnEntry = (vcpu: number, limit: number | undefined) => number;

/**
 * What the return to guest is for the vCPUs of one domain. Platforms enter a vCPU by it, and by nothing else, when the doorbell says
 * that it is to be entered: never inside a call that raised an event. It keeps the runstates, and knows the domain's next deadline.
 */
export class GuestEntry {
  readonly virtualTimers: VirtualTimers;
  readonly #own: OwnDomain;
  readonly #slot: number;
  readonly #channels: HypervisorEventChannels;
  readonly #onError: (error: unknown) => void;
  readonly #onEntry: OnEntry[] = [];
  readonly #resumes: (() => void)[][] = [];
  readonly #held: number[] = [];
  #accounts = true;
  #current = 0;
  /** Whether a vCPU has registered an event callback: then events come to it by a step of the entry, and else as they are. */
  hasEventCallback: (vcpu: number) => boolean = () => false;
  #deadline = Number.POSITIVE_INFINITY;
  /** Called when {@link deadline} has changed. */
  onDeadline: () => void = () => {};

  /**
   * @param onError told of what a function that was left for an entry throws
   * @throws RangeError when there is no such domain
   */
  constructor(
    hypervisor: Hypervisor,
    domid: Domid,
    channels: HypervisorEventChannels,
    onError: (error: unknown) => void,
  ) {
    this.#own = new OwnDomain(hypervisor, domid);
    this.#slot = hypervisor.memory.slotOf(domid);
    this.#channels = channels;
    this.#onError = onError;
    this.virtualTimers = new VirtualTimers(hypervisor, domid);
    hypervisor.timers.listen(domid, () => this.look());
  }

  /** How many vCPUs the domain has. */
  get vcpus(): number {
    return this.#own.hypervisor.vcpus.count(this.#slot);
  }

  /** The vCPU that was entered last: the one on which the domain's code runs, while it runs. */
  get current(): number {
    return this.#current;
  }

  /** The system time, in nanoseconds, at which {@link expire} is to be called; Infinity for none. */
  get deadline(): number {
    return this.#deadline;
  }

  /** Milliseconds until the deadline; Infinity for none. */
  get msLeft(): number {
    if (this.#deadline === Number.POSITIVE_INFINITY) return this.#deadline;
    return Math.max(0, (this.#deadline - this.#own.hypervisor.time.systemTime()) / 1e6);
  }

  /** Adds a step of every entry, after those that were added before and before the event upcall: virtual exceptions. */
  onEntry(step: OnEntry): void {
    this.#onEntry.push(step);
  }

  /** Whether a vCPU is to be entered: it may run, and has an upcall or something else waits for it. */
  isDue(vcpu: number): boolean {
    return this.#own.hypervisor.doorbell.hasUpcallOn(this.#own.domid, vcpu);
  }

  /** Leaves a function for the vCPU's next entry. What it does comes before that entry's upcall. */
  resumeAt(vcpu: number, work: () => void): void {
    this.#resumes[vcpu] ??= [];
    this.#resumes[vcpu]?.push(work);
  }

  /** @throws XenError ESRCH when the domain has been destroyed */
  get alive(): this {
    void this.#own.alive;
    return this;
  }

  /** Has a vCPU entered, though it may have no upcall. */
  attend(vcpu: number): void {
    if (this.#own.isGone) return;
    this.#own.hypervisor.vcpus.attend(this.#slot, vcpu);
    this.#own.hypervisor.doorbell.kick(this.#slot);
  }

  /**
   * Enters every vCPU that is to be entered, in turn. Returns how many events were delivered.
   * @param limit how many events are delivered on each vCPU, at most; the rest stay pending
   */
  enterAll(limit?: number): number {
    const { vcpus } = this;
    if (vcpus === 1) return this.enter(0, limit);
    let delivered = 0;
    for (let vcpu = 0; vcpu < vcpus; vcpu++) if (this.isDue(vcpu)) delivered += this.enter(vcpu, limit);
    return delivered;
  }

  /**
   * Enters a vCPU: it runs from now on, its time page is up to date, what was left for it comes first, then the upcall of its pending
   * events, if evtchn_upcall_mask is clear. Returns how many events were delivered.
   */
  enter(vcpu = 0, limit?: number): number {
    const { hypervisor, isGone, domid } = this.#own;
    if (isGone) return 0;
    this.#current = vcpu;
    if (this.#accounts && hypervisor.runstates.state(this.#slot, vcpu) !== runstate.running) this.#switchIn(vcpu);
    const isSpecial = hypervisor.vcpus.isSpecial(this.#slot, vcpu);
    if (isSpecial) this.#attend(vcpu);
    let delivered = 0;
    for (let i = 0; i < this.#onEntry.length; i++) delivered += (this.#onEntry[i] as OnEntry)(vcpu, limit);
    // What was done may have masked upcalls, or ended the domain.
    if ((isSpecial || this.#onEntry.length > 0) && !hypervisor.doorbell.hasUpcallOn(domid, vcpu)) return delivered;
    if (this.#onEntry.length > 0 && this.hasEventCallback(vcpu)) return delivered;
    return delivered + this.#channels.enter(limit, vcpu);
  }

  /**
   * Keeps no runstates until {@link account} is called: the vCPUs are offline as far as anybody sees. For where two looks at the clock
   * for each sleep cost more than an event.
   */
  dispense(): void {
    this.#accounts = false;
  }

  /** Keeps the runstates from now on. */
  account(): void {
    if (this.#accounts || this.#own.isGone) return;
    this.#accounts = true;
    this.#switchIn(this.#current);
  }

  /** The domain is gone: nothing is due any more, and nothing of Xen's keeps this. */
  end(): void {
    this.#own.hypervisor.timers.unlisten(this.#own.domid);
    this.look();
  }

  /** No vCPU has anything more to do. */
  leaveAll(): void {
    if (!this.#accounts) return;
    const { vcpus } = this;
    for (let vcpu = 0; vcpu < vcpus; vcpu++) this.leave(vcpu);
  }

  /** A vCPU has nothing more to do: it is blocked, or offline when it is down or paused. */
  leave(vcpu = 0): void {
    const { hypervisor, isGone } = this.#own;
    if (isGone || hypervisor.runstates.state(this.#slot, vcpu) !== runstate.running) return;
    if (this.#held.length > 0 && this.#held.includes(vcpu)) return;
    this.#change(vcpu, hypervisor.vcpus.mayRun(this.#slot, vcpu) ? runstate.blocked : runstate.offline);
  }

  /** Keeps a vCPU running though its thread rests in between; returns what ends that. */
  hold(vcpu: number): () => void {
    this.#held.push(vcpu);
    if (this.#own.hypervisor.runstates.state(this.#slot, vcpu) !== runstate.running) this.#switchIn(vcpu);
    return () => {
      this.#held.splice(this.#held.indexOf(vcpu), 1);
      this.leave(vcpu);
    };
  }

  /** A vCPU that was offline may run from now on, and has nothing to do yet: it is blocked. */
  begin(vcpu: number): void {
    const { hypervisor, isGone } = this.#own;
    if (isGone || !this.#accounts || hypervisor.runstates.state(this.#slot, vcpu) !== runstate.offline) return;
    if (hypervisor.vcpus.mayRun(this.#slot, vcpu)) this.#change(vcpu, runstate.blocked);
  }

  /** A vCPU that does not run wants to, or one that runs is pre-empted: it is runnable from now on, or offline. */
  wait(vcpu: number): void {
    const { hypervisor, isGone } = this.#own;
    if (isGone) return;
    this.#change(vcpu, hypervisor.vcpus.mayRun(this.#slot, vcpu) ? runstate.runnable : runstate.offline);
  }

  /** The deadline may have come: what is due is raised, or left for the entries of its vCPUs. */
  expire(): void {
    if (this.#deadline === Number.POSITIVE_INFINITY) return;
    const { hypervisor, isGone } = this.#own;
    const now = hypervisor.time.systemTime();
    if (isGone || now < this.#deadline) return;
    hypervisor.timers.expire(this.#slot, now);
    if (this.virtualTimers.any) this.virtualTimers.expire(now);
    this.look();
  }

  /** Computes the deadline anew. */
  look(): void {
    const { hypervisor, isGone } = this.#own;
    const now = hypervisor.time.systemTime();
    let next = Number.POSITIVE_INFINITY;
    if (!isGone) next = Math.min(hypervisor.timers.next(this.#slot), this.virtualTimers.next(now));
    if (next === this.#deadline) return;
    this.#deadline = next;
    this.onDeadline();
  }

  #attend(vcpu: number): void {
    const { hypervisor } = this.#own;
    hypervisor.sched.unblock(this.#slot, vcpu);
    hypervisor.vcpus.takeAttention(this.#slot, vcpu);
    this.#resume(this.#resumes[vcpu]);
    this.#resume(this.virtualTimers.due(vcpu));
  }

  #switchIn(vcpu: number): void {
    const { hypervisor } = this.#own;
    const now = hypervisor.time.systemTime();
    hypervisor.runstates.change(this.#slot, vcpu, runstate.running, now);
    hypervisor.timePages.refresh(this.#slot, vcpu, now);
    hypervisor.timers.switchedIn(this.#slot, vcpu, now);
    this.#hasSwitched(vcpu, now);
  }

  #change(vcpu: number, state: RunstateNumber): void {
    const { hypervisor } = this.#own;
    const now = hypervisor.time.systemTime();
    hypervisor.runstates.change(this.#slot, vcpu, state, now);
    this.#hasSwitched(vcpu, now);
  }

  #hasSwitched(vcpu: number, now: number): void {
    const virtual = this.virtualTimers.any;
    if (virtual) this.virtualTimers.expire(now);
    if (virtual || this.#own.hypervisor.timers.hasPeriod(this.#slot, vcpu)) this.look();
  }

  #resume(works: (() => void)[] | undefined): void {
    if (works === undefined || works.length === 0) return;
    for (const work of works.splice(0)) {
      try {
        work();
      } catch (error) {
        this.#onError(error);
      }
    }
  }
}
