import { Observable } from 'rxjs';
import type { TimeSource } from '../../core/hypervisor/time-source.js';
import { Clock } from '../../core/index.js';
import { hostTime } from './host-time.js';

/** The most that a timer of Node's can wait, in ms. */
const LONGEST = 2 ** 31 - 1;

/** Readings of both clocks among which {@link offset} looks for the closest. */
const READINGS = 32;

/** What {@link hostTime} is ahead of this thread's `performance.now`, which is the same clock, from another beginning. */
const offset = (): number => {
  let best = Number.POSITIVE_INFINITY;
  let found = 0;
  for (let i = 0; i < READINGS; i++) {
    const before = performance.now();
    const host = hostTime();
    const width = performance.now() - before;
    if (width >= best) continue;
    best = width;
    found = host - (before + width / 2);
  }
  return found;
};

/**
 * The time of a machine that booted at `boot`, in {@link hostTime}: the host's monotonic clock. Threads read it by `performance.now`, which
 * allocates nothing, and agree to a fraction of a microsecond.
 */
export const timeSince = (boot: number): TimeSource => {
  const ahead = offset() - boot;
  return {
    systemTime: () => Math.round((performance.now() + ahead) * 1e6),
    bootTime: Date.now() - (hostTime() - boot),
  };
};

/** The machine's clock where domains are threads: the host's, since the machine's boot. */
export class HostClock extends Clock {
  readonly #boot: number;

  /** @param boot {@link hostTime} of the machine's boot */
  constructor(boot: number) {
    super();
    this.#boot = boot;
  }

  override now(): number {
    return hostTime() - this.#boot;
  }

  override timer$(ms: number): Observable<void> {
    if (!(ms >= 0)) throw new RangeError(`a timer runs for 0 ms or more, not ${ms}`);
    return new Observable((subscriber) => {
      const end = this.now() + ms;
      let timeout: NodeJS.Timeout;
      const wait = (): void => {
        const left = end - this.now();
        timeout = setTimeout(left <= LONGEST ? fire : wait, Math.min(Math.max(0, left), LONGEST));
      };
      const fire = (): void => {
        // Node's timers may be a fraction of a millisecond early.
        if (this.now() < end) {
          wait();
          return;
        }
        subscriber.next();
        subscriber.complete();
      };
      wait();
      return () => clearTimeout(timeout);
    });
  }
}
