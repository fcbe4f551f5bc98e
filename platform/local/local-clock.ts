import { Observable } from 'rxjs';
import type { TimeSource } from '../../core/hypervisor/time-source.js';
import { Clock } from '../../core/index.js';

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
}

/**
 * The machine's clock, simulated or real. Simulated time stands still while anybody can run and then jumps to the next timer;
 * real time is the host's.
 */
export class LocalClock extends Clock {
  readonly simulated: boolean;
  /** Called when a timer was set. */
  onTimer: () => void = () => {};
  /** The same time for the hypervisor. A simulated machine boots at the Unix epoch. */
  readonly source: TimeSource;
  readonly #start = performance.now();
  readonly #timers: Timer[] = [];
  #now = 0;
  #order = 0;

  constructor(simulated: boolean) {
    super();
    this.simulated = simulated;
    this.source = { systemTime: () => Math.round(this.now() * 1e6), bootTime: simulated ? 0 : Date.now() };
  }

  override now(): number {
    return this.simulated ? this.#now : performance.now() - this.#start;
  }

  override timer$(ms: number): Observable<void> {
    if (!(ms >= 0)) throw new RangeError(`a timer runs for 0 ms or more, not ${ms}`);
    return new Observable((subscriber) =>
      this.alarm(this.now() + ms, () => {
        subscriber.next();
        subscriber.complete();
      }),
    );
  }

  /** Calls a function at a time, in milliseconds since the machine's boot; returns how to stop it. */
  alarm(at: number, fire: () => void): () => void {
    const timer: Timer = { at, order: this.#order++, fire };
    const place = this.#timers.findIndex((other) => other.at > at);
    this.#timers.splice(place < 0 ? this.#timers.length : place, 0, timer);
    this.onTimer();
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  }

  /** When the next timer fires; undefined when none is set. */
  get next(): number | undefined {
    return this.#timers[0]?.at;
  }

  /** How many timers are set. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Lets a simulated clock jump to its next timer. */
  advance(): void {
    if (this.simulated) this.#now = Math.max(this.#now, this.next ?? this.#now);
  }

  /** Fires the earliest timer if it is due; whether one was. */
  fireDue(): boolean {
    const timer = this.#timers[0];
    if (timer === undefined || timer.at > this.now()) return false;
    this.#timers.shift();
    timer.fire();
    return true;
  }
}
