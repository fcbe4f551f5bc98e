import { Observable } from 'rxjs';
import { Clock } from '../../core/index.js';
import type { LocalClock } from './local-clock.js';

/** The machine's clock as one domain has it: what its timers call is the domain's turn, and waits while it may not run. */
export class DomainClock extends Clock {
  readonly #clock: LocalClock;
  readonly #turn: (work: () => void) => void;

  /** @param turn runs a timer's subscribers as the domain, now or when it may run again */
  constructor(clock: LocalClock, turn: (work: () => void) => void) {
    super();
    this.#clock = clock;
    this.#turn = turn;
  }

  override now(): number {
    return this.#clock.now();
  }

  override timer$(ms: number): Observable<void> {
    if (!(ms >= 0)) throw new RangeError(`a timer runs for 0 ms or more, not ${ms}`);
    return new Observable((subscriber) =>
      this.#clock.alarm(this.now() + ms, () =>
        this.#turn(() => {
          subscriber.next();
          subscriber.complete();
        }),
      ),
    );
  }
}
