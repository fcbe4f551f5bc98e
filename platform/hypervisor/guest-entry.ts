import type { Domid } from '../../core/abi/units.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { runstate } from '../../core/hypervisor/runstate.js';
import type { HypervisorEventChannels } from './event-channels.js';
import { OwnDomain } from './own-domain.js';

/** Something that is done on the way to a guest's vCPU, before its event upcall. It must not throw. */
export type OnEntry = (vcpu: number) => void;

/**
 * What the return to guest is for the vCPUs of one domain. Platforms enter a vCPU by it, and by nothing else, when the doorbell says
 * that it is to be entered: never inside a call that raised an event.
 */
export class GuestEntry {
  readonly #own: OwnDomain;
  readonly #slot: number;
  readonly #channels: HypervisorEventChannels;
  readonly #onEntry: OnEntry[] = [];
  #current = 0;

  /** @throws RangeError when there is no such domain */
  constructor(hypervisor: Hypervisor, domid: Domid, channels: HypervisorEventChannels) {
    this.#own = new OwnDomain(hypervisor, domid);
    this.#slot = hypervisor.memory.slotOf(domid);
    this.#channels = channels;
  }

  /** How many vCPUs the domain has. */
  get vcpus(): number {
    return this.#own.hypervisor.vcpus.count(this.#slot);
  }

  /** The vCPU that was entered last: the one on which the domain's code runs, while it runs. */
  get current(): number {
    return this.#current;
  }

  /** Adds a step of every entry, after those that were added before and before the event upcall: virtual exceptions. */
  onEntry(step: OnEntry): void {
    this.#onEntry.push(step);
  }

  /** Whether a vCPU is to be entered: it may run, and has an upcall or something else waits for it. */
  isDue(vcpu: number): boolean {
    return this.#own.hypervisor.doorbell.hasUpcallOn(this.#own.domid, vcpu);
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
   * Enters a vCPU: it runs from now on, its time page is up to date, what was queued for it comes first, then the upcall of its
   * pending events, if evtchn_upcall_mask is clear. Returns how many events were delivered.
   */
  enter(vcpu = 0, limit?: number): number {
    const { hypervisor, isGone, domid } = this.#own;
    if (isGone) return 0;
    const now = hypervisor.time.systemTime();
    this.#current = vcpu;
    hypervisor.runstates.change(this.#slot, vcpu, runstate.running, now);
    hypervisor.timePages.refresh(this.#slot, vcpu, now);
    hypervisor.vcpus.takeAttention(this.#slot, vcpu);
    for (let i = 0; i < this.#onEntry.length; i++) (this.#onEntry[i] as OnEntry)(vcpu);
    // A step may have masked upcalls, or ended the domain.
    return hypervisor.doorbell.hasUpcallOn(domid, vcpu) ? this.#channels.enter(limit, vcpu) : 0;
  }

  /** No vCPU has anything more to do. */
  leaveAll(): void {
    const { vcpus } = this;
    for (let vcpu = 0; vcpu < vcpus; vcpu++) this.leave(vcpu);
  }

  /** A vCPU has nothing more to do: it is blocked, or offline when it is down or paused. */
  leave(vcpu = 0): void {
    const { hypervisor, isGone } = this.#own;
    if (isGone || hypervisor.runstates.state(this.#slot, vcpu) !== runstate.running) return;
    const next = hypervisor.vcpus.mayRun(this.#slot, vcpu) ? runstate.blocked : runstate.offline;
    hypervisor.runstates.change(this.#slot, vcpu, next, hypervisor.time.systemTime());
  }
}
