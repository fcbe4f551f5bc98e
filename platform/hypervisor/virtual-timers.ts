import type { Domid } from '../../core/abi/units.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { runstate } from '../../core/hypervisor/runstate.js';

/** A timer in virtual time. */
interface VirtualTimer {
  /** Of one vCPU, or of all together. */
  readonly vcpu: number | undefined;
  /** What it has received when the timer fires, in nanoseconds. */
  readonly target: number;
  readonly fire: () => void;
}

/**
 * The timers of a domain in virtual time: they fire when a vCPU, or all together, has received so much CPU, by their runstates. When that is
 * in system time depends on who runs, so the deadline is computed anew whenever one of the vCPUs begins or ceases to run.
 */
export class VirtualTimers {
  readonly #hypervisor: Hypervisor;
  readonly #slot: number;
  readonly #timers = new Set<VirtualTimer>();
  readonly #due: (() => void)[][] = [];

  constructor(hypervisor: Hypervisor, domid: Domid) {
    this.#hypervisor = hypervisor;
    this.#slot = hypervisor.memory.slotOf(domid);
  }

  /** Whether any timer is set. */
  get any(): boolean {
    return this.#timers.size > 0;
  }

  /** Sets a timer to fire after `ns` more nanoseconds of CPU; returns how to stop it. */
  set(vcpu: number | undefined, ns: number, fire: () => void): () => void {
    const now = this.#hypervisor.time.systemTime();
    const timer: VirtualTimer = { vcpu, target: this.#received(vcpu, now) + ns, fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** When the next timer fires, if those who run now go on; Infinity if none will. */
  next(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { vcpu, target } of this.#timers) {
      const running = this.#running(vcpu);
      if (running > 0)
        next = Math.min(next, now + Math.ceil(Math.max(0, target - this.#received(vcpu, now)) / running));
    }
    return next;
  }

  /** Queues what is due for the vCPU that is to hear of it, and has that entered. */
  expire(now: number): void {
    for (const timer of this.#timers) {
      if (this.#received(timer.vcpu, now) < timer.target) continue;
      this.#timers.delete(timer);
      const vcpu = timer.vcpu ?? 0;
      this.#due[vcpu] ??= [];
      this.#due[vcpu]?.push(timer.fire);
      this.#hypervisor.vcpus.attend(this.#slot, vcpu);
      this.#hypervisor.doorbell.kick(this.#slot);
    }
  }

  /** What is due on a vCPU: whoever enters it takes all of it out. */
  due(vcpu: number): (() => void)[] | undefined {
    return this.#due[vcpu];
  }

  #running(vcpu: number | undefined): number {
    const { runstates } = this.#hypervisor;
    if (vcpu !== undefined) return Number(runstates.state(this.#slot, vcpu) === runstate.running);
    let running = 0;
    for (let i = 0; i < this.#count; i++) running += Number(runstates.state(this.#slot, i) === runstate.running);
    return running;
  }

  #received(vcpu: number | undefined, now: number): number {
    const { runstates } = this.#hypervisor;
    if (vcpu !== undefined) return runstates.received(this.#slot, vcpu, now);
    let sum = 0;
    for (let i = 0; i < this.#count; i++) sum += runstates.received(this.#slot, i, now);
    return sum;
  }

  get #count(): number {
    return this.#hypervisor.vcpus.count(this.#slot);
  }
}
