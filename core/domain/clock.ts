import type { Observable } from 'rxjs';

/** Xen's system time as a domain sees it: monotonic, since the machine's boot. */
export abstract class Clock {
  /** Milliseconds since the machine's boot; fractions count. */
  abstract now(): number;
  /** Emits once and completes after `ms` milliseconds; unsubscribing stops it. */
  abstract timer$(ms: number): Observable<void>;
}
