import { hostTime } from '../hypervisor/host-time.js';

/** About what it takes to wake a core that sleeps, in ms: a shorter probe would end before the other thread can answer the last kick. */
const PROBE_MS = 0.05;
/** Looks between two looks at the clock. */
const LOOKS = 64;
/** Further spins that a success buys, so that the other thread's own probe finds this one awake. */
const CREDIT = 512;
/** What a failure costs. */
const FAILURE = CREDIT / 8;
/** Sleeps between two probes, at most. */
const MAX_BACKOFF = 1024;

/** How a thread looks out for work before it sleeps. */
export interface Spinner {
  /** Whether there is work, at once or after looking for a while. */
  spin(hasWork: () => boolean): boolean;
}

/**
 * Spins before a sleep where that pays: when the other thread answers from another core, which is quicker than to be woken. On a shared
 * core every probe fails, for the other thread cannot run meanwhile; so probes become rare, down to one in 1024 sleeps, and cost a few
 * per cent. What is there at the first look proves nothing, since the other thread may have pre-empted this one inside a kick.
 */
export class AdaptiveSpinner implements Spinner {
  #credit = 0;
  #skip = 1;
  #backoff = 1;

  spin(hasWork: () => boolean): boolean {
    if (hasWork()) return true;
    if (this.#credit <= 0 && --this.#skip > 0) return false;
    const end = hostTime() + PROBE_MS;
    do {
      for (let i = 0; i < LOOKS; i++) {
        if (hasWork()) {
          this.#credit = CREDIT;
          this.#backoff = this.#skip = 1;
          return true;
        }
      }
    } while (hostTime() < end);
    if (this.#credit > 0) this.#credit -= FAILURE;
    else {
      this.#backoff = Math.min(this.#backoff * 2, MAX_BACKOFF);
      this.#skip = this.#backoff;
    }
    return false;
  }
}
