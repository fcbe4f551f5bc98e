import { Observable, type Subscriber } from 'rxjs';
import type { EventChannel } from '../../core/domain/event-channels.js';
import { XenError } from '../../core/errors.js';
import type { GuestEntry } from './guest-entry.js';
import type { OwnDomain } from './own-domain.js';

/** A moment that a subscriber waits for. */
interface Deadline {
  readonly at: number;
  readonly subscriber: Subscriber<void>;
}

/** What binds VIRQ_TIMER of a vCPU. @throws XenError EEXIST */
export type BindTimer = (vcpu: number) => EventChannel;

/**
 * VIRQ_TIMER of one vCPU and its two timers, shared by all that wait for them, as a kernel's clock events are: the single-shot timer is
 * always set to the earliest deadline. The port is bound while anybody waits.
 */
export class TimerPort {
  readonly #own: OwnDomain;
  readonly #entry: GuestEntry;
  readonly #vcpu: number;
  readonly #bind: BindTimer;
  readonly #deadlines: Deadline[] = [];
  readonly #periodic = new Set<Subscriber<void>>();
  #channel: EventChannel | undefined;
  #lastPeriod = 0;

  constructor(own: OwnDomain, entry: GuestEntry, vcpu: number, bind: BindTimer) {
    this.#own = own;
    this.#entry = entry;
    this.#vcpu = vcpu;
    this.#bind = bind;
  }

  /** Emits once at a system time, in nanoseconds. */
  singleshot$(at: number): Observable<void> {
    return new Observable((subscriber) => {
      if (!Number.isInteger(at) || at < 0) throw new RangeError(`a timer is set to whole nanoseconds, not to ${at}`);
      if (this.#entry.current !== this.#vcpu) {
        throw new XenError(
          'EINVAL',
          `VCPUOP_set_singleshot_timer for vCPU ${this.#vcpu} from vCPU ${this.#entry.current}: a vCPU sets only its own`,
        );
      }
      this.#open();
      const deadline = { at, subscriber };
      const place = this.#deadlines.findIndex((other) => other.at > at);
      this.#deadlines.splice(place < 0 ? this.#deadlines.length : place, 0, deadline);
      this.#program();
      return () => {
        const index = this.#deadlines.indexOf(deadline);
        if (index < 0) return;
        this.#deadlines.splice(index, 1);
        this.#program();
        this.#close();
      };
    });
  }

  /** Emits whenever the periodic timer has fired. */
  periodic$(period: number): Observable<void> {
    return new Observable((subscriber) => {
      const { hypervisor, domid } = this.#own.alive;
      if (!Number.isInteger(period)) throw new RangeError(`a timer's period is whole nanoseconds, not ${period}`);
      this.#open();
      const last = hypervisor.timers.lastPeriod(hypervisor.memory.slotOf(domid), this.#vcpu);
      const result = hypervisor.timers.setPeriodic(domid, this.#vcpu, Math.max(0, period));
      if (result < 0) {
        this.#close();
        throw new XenError(-result, `VCPUOP_set_periodic_timer of ${period} ns on vCPU ${this.#vcpu}: 1 ms at least`);
      }
      this.#periodic.add(subscriber);
      this.#lastPeriod = last;
      return () => this.#leave(subscriber);
    });
  }

  #leave(subscriber: Subscriber<void>): void {
    this.#periodic.delete(subscriber);
    const { hypervisor, domid, isGone } = this.#own;
    if (this.#periodic.size === 0 && !isGone) hypervisor.timers.stopPeriodic(domid, this.#vcpu);
    this.#close();
  }

  #open(): void {
    if (this.#channel !== undefined) return;
    this.#channel = this.#bind(this.#vcpu);
    this.#channel.subscribe(() => this.#upcall());
  }

  #close(): void {
    if (this.#deadlines.length > 0 || this.#periodic.size > 0) return;
    this.#channel?.[Symbol.dispose]();
    this.#channel = undefined;
  }

  #upcall(): void {
    const { hypervisor, domid, isGone } = this.#own;
    if (isGone) return;
    const now = hypervisor.time.systemTime();
    const due = this.#deadlines.findIndex(({ at }) => at > now);
    const fired = this.#deadlines.splice(0, due < 0 ? this.#deadlines.length : due);
    if (this.#deadlines.length > 0 && fired.length > 0) this.#program();
    const last = hypervisor.timers.lastPeriod(hypervisor.memory.slotOf(domid), this.#vcpu);
    const ticks = last === this.#lastPeriod ? [] : [...this.#periodic];
    this.#lastPeriod = last;
    for (const { subscriber } of fired) {
      subscriber.next();
      subscriber.complete();
    }
    for (const subscriber of ticks) subscriber.next();
    this.#close();
  }

  /** Sets the timer to the earliest deadline. */
  #program(): void {
    const { hypervisor, domid, isGone } = this.#own;
    if (isGone) return;
    const [first] = this.#deadlines;
    // The domain's code is one thread's: what runs for another vCPU meanwhile makes its calls as this one.
    if (first === undefined) hypervisor.timers.stopSingleshot(domid, this.#vcpu, this.#vcpu);
    else hypervisor.timers.setSingleshot(domid, this.#vcpu, this.#vcpu, first.at);
  }
}
