import type { Domid } from '../../core/abi/units.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { runstate } from '../../core/hypervisor/runstate.js';
import type { GuestEntry } from '../hypervisor/guest-entry.js';
import type { Competitor, PhysicalCpus } from './physical-cpus.js';
import type { Runnable } from './scheduler.js';

/** CPU time that a vCPU's code has yet to spend. */
interface Work {
  left: number;
  readonly done: () => void;
}

/**
 * One vCPU, as something that the scheduler may run. To enter it takes a physical CPU that nobody holds, and no simulated time; one
 * whose code spends CPU time holds its CPU until that is spent, or its slice is over and another waits. Its events come at once
 * while it holds a CPU, and wait while it waits for one.
 */
export class LocalVcpu implements Runnable, Competitor {
  readonly name: string;
  readonly #hypervisor: Hypervisor;
  readonly #domid: Domid;
  readonly #vcpu: number;
  readonly #entry: GuestEntry;
  readonly #cpus: PhysicalCpus;
  readonly #wake: () => void;
  readonly #works: Work[] = [];
  #cpu: number | undefined;
  /** The round since which it waits; undefined while it does not. */
  #queued: number | undefined;
  #yields = false;
  /** Until when what was spent is counted. */
  #since = 0;
  #sliceEnd = 0;
  #stopAlarm: () => void = () => {};

  constructor(
    name: string,
    vcpu: number,
    entry: GuestEntry,
    xen: { readonly hypervisor: Hypervisor; readonly domid: Domid },
    cpus: PhysicalCpus,
    wake: () => void,
  ) {
    this.name = vcpu === 0 ? name : `${name} v${vcpu}`;
    this.#vcpu = vcpu;
    this.#entry = entry;
    this.#hypervisor = xen.hypervisor;
    this.#domid = xen.domid;
    this.#cpus = cpus;
    this.#wake = wake;
    cpus.add(this);
  }

  get waits(): boolean {
    return this.#cpu === undefined && this.#isActive;
  }

  get round(): number {
    return this.#queued ?? this.#cpus.round;
  }

  ready(): boolean {
    if (!this.#isActive) {
      this.#queued = undefined;
      return false;
    }
    if (this.#cpu !== undefined) return this.#isDue;
    const state = this.#state;
    if (state === runstate.blocked || state === runstate.offline) this.#entry.wait(this.#vcpu);
    this.#queued ??= this.#cpus.round;
    return this.#cpus.isFree && this.#cpus.isFirst(this.#queued);
  }

  run(): void {
    this.#queued = undefined;
    const { doorbell } = this.#hypervisor;
    this.#count();
    doorbell.wake(this.#domid);
    this.#entry.enter(this.#vcpu);
    // The scheduler looks for itself who is to be entered; a ring tells it of what is raised while it sleeps.
    doorbell.park(this.#domid);
  }

  settled(): void {
    this.#count();
    if (!this.#mayRun) {
      this.#release();
      this.#entry.leave(this.#vcpu);
    } else if (this.#works.length > 0) {
      this.#hold();
    } else {
      this.#release();
      if (this.#isDue) this.#entry.wait(this.#vcpu);
      else this.#entry.leave(this.#vcpu);
      if (this.#yields) this.#queued = this.#cpus.nextRound();
    }
    this.#yields = false;
  }

  /** Has the vCPU receive so many nanoseconds of CPU; resolves when it has. */
  spend(ns: number): Promise<void> {
    return new Promise((resolve) => {
      this.#works.push({
        left: ns,
        done: () => {
          this.#entry.resumeAt(this.#vcpu, resolve);
          this.#entry.attend(this.#vcpu);
        },
      });
      if (this.#cpu !== undefined) this.#arm();
      this.#wake();
    });
  }

  /** Gives the rest of the time slice to others, who go first. */
  yield(): void {
    this.#sliceEnd = this.#cpus.now;
    this.#yields = true;
    this.#wake();
  }

  /** It was decided whether the vCPU may run. */
  look(): void {
    if (this.#mayRun) {
      this.#entry.begin(this.#vcpu);
      return;
    }
    this.#count();
    this.#release();
    const state = this.#state;
    if (state === runstate.running || state === runstate.runnable) this.#entry.wait(this.#vcpu);
  }

  /** The domain is gone. */
  remove(): void {
    this.#release();
    this.#works.length = 0;
    this.#cpus.remove(this);
  }

  /** Keeps the CPU, or takes one, if it is this one's turn. */
  #hold(): void {
    const over = this.#cpu !== undefined && this.#cpus.now >= this.#sliceEnd;
    if (over && this.#cpus.isContended) {
      this.#release();
      this.#queued = this.#cpus.nextRound();
    } else if (this.#cpu === undefined && this.#cpus.isFree) this.#take();
    else if (over) this.#sliceEnd = this.#cpus.sliceEnd;
    if (this.#cpu === undefined) this.#entry.wait(this.#vcpu);
    else this.#arm();
  }

  #take(): void {
    this.#cpu = this.#cpus.take();
    this.#since = this.#cpus.now;
    this.#sliceEnd = this.#cpus.sliceEnd;
  }

  #release(): void {
    this.#stopAlarm();
    if (this.#cpu === undefined) return;
    this.#cpus.release(this.#cpu);
    this.#cpu = undefined;
  }

  #arm(): void {
    this.#stopAlarm();
    const [work] = this.#works;
    const end = work === undefined ? this.#sliceEnd : Math.min(this.#sliceEnd, this.#since + work.left);
    this.#stopAlarm = this.#cpus.alarm(end, () => {
      this.#count();
      // What is spent resumes in the next entry, which then decides who goes on.
      if (this.#isDue) this.#wake();
      else this.#hold();
    });
  }

  /** Counts what was spent since it was counted last. */
  #count(): void {
    if (this.#cpu === undefined) return;
    const { now } = this.#cpus;
    let spent = now - this.#since;
    this.#since = now;
    for (let [work] = this.#works; work !== undefined && work.left <= spent; [work] = this.#works) {
      spent -= work.left;
      this.#works.shift();
      work.done();
    }
    const [work] = this.#works;
    if (work !== undefined) work.left -= spent;
  }

  get #isActive(): boolean {
    return this.#isDue || (this.#works.length > 0 && this.#mayRun);
  }

  get #isDue(): boolean {
    return this.#entry.isDue(this.#vcpu);
  }

  get #slot(): number {
    return this.#hypervisor.memory.slotOf(this.#domid);
  }

  get #mayRun(): boolean {
    const slot = this.#slot;
    return slot >= 0 && this.#hypervisor.vcpus.mayRun(slot, this.#vcpu);
  }

  get #state(): number {
    return this.#hypervisor.runstates.state(this.#slot, this.#vcpu);
  }
}
