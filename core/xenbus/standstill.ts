import { Subscription } from 'rxjs';
import type { Clock } from '../domain/clock.js';

/** What stands still this long is reported, in milliseconds. */
export const STANDSTILL = 1000;

/** Tells, once, when the same thing has been waited for as long as {@link STANDSTILL}. */
export class Standstill implements Disposable {
  readonly #clock: Clock;
  readonly #report: (text: string) => void;
  #key: string | undefined;
  #timer = Subscription.EMPTY;
  #disposed = false;

  constructor(clock: Clock, report: (text: string) => void) {
    this.#clock = clock;
    this.#report = report;
  }

  /** From now on `key` is waited for; nothing changes if it was before. @param text what is then reported */
  waitFor(key: string, text: () => string): void {
    if (this.#disposed || this.#key === key) return;
    this.settle();
    this.#key = key;
    this.#timer = this.#clock.timer$(STANDSTILL).subscribe(() => this.#report(text()));
  }

  /** Nothing is waited for. */
  settle(): void {
    this.#timer.unsubscribe();
    this.#key = undefined;
  }

  [Symbol.dispose](): void {
    this.settle();
    this.#disposed = true;
  }
}
