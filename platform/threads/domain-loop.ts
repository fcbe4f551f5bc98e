import type { Domid } from '../../core/abi/units.js';
import { blocked, type Doorbell, parked } from '../../core/hypervisor/doorbell.js';
import type { GuestEntry } from '../hypervisor/guest-entry.js';
import { hostTime } from '../hypervisor/host-time.js';
import { runTicks } from '../hypervisor/run-ticks.js';
import { ActivityWatch } from './active-requests.js';
import { AdaptiveSpinner, type Spinner } from './spinner.js';

/** What a loop enters: a domain's event channels. */
export interface Enterable {
  /** Delivers pending events, at most `limit`; returns how many. */
  enter(limit?: number): number;
  /** The thread has nothing more to do for it. */
  leave?(): void;
  /** Milliseconds until a timer of its vCPUs fires; Infinity for none. */
  readonly msLeft?: number;
  /** Fires the timers that are due. */
  expire?(): void;
}

/** A domain's vCPUs, as a loop enters them: all by the one thread that the domain has. */
export const enterable = (entry: GuestEntry): Enterable => ({
  enter: (limit) => entry.enterAll(limit),
  leave: () => entry.leaveAll(),
  expire: () => entry.expire(),
  get msLeft() {
    return entry.msLeft;
  },
});

/** How a loop rests. */
export interface DomainLoopOptions {
  /** Whether to sleep in Atomics.wait; for a thread of one domain. Default false. */
  readonly blocking?: boolean;
  /** How to look out for work before a sleep. Default adaptive. */
  readonly spinner?: Spinner;
  /** Whether the thread was sent messages that its event loop has yet to hand out; who sends one wakes the thread, too. */
  readonly hasMail?: () => boolean;
}

interface Resident {
  readonly domid: Domid;
  readonly channels: Enterable;
}

/** Events that are delivered before promises are resumed. */
const EVENTS_PER_ENTRY = 64;
/**
 * Milliseconds of a sleep, at most. It is never certain that nothing else is under way: Node lists no work of its crypto, zlib and
 * WebAssembly, and no messages of others. After it the event loop has a turn.
 */
const SLEEP_MS = 20;
/** The longest that a timer of Node's can wait, in milliseconds. */
const LONGEST_MS = 2 ** 31 - 1;
/** Milliseconds before the event loop has a turn, for timers, files and sockets. */
const TURN_MS = 1;
/** Rounds of entering between two looks at the clock. */
const ROUNDS = 8;

/**
 * A thread's share of the machine: enters the domains that live in it when they have upcalls, and rests when none has. No wake-up is
 * lost: resting is declared first, then the upcalls are looked at once more, and whoever raises an event afterwards rings.
 *
 * A loop that parks leaves the thread to its event loop, and {@link run} is to be called when somebody has rung. A loop that blocks
 * sleeps in Atomics.wait, which is the quickest to be woken from; it does so only while nothing is listed as under way in its event
 * loop, a file's read or a timer, and parks otherwise: promises of whatever kind resume in both. What Node does not list waits for
 * {@link SLEEP_MS} at most.
 */
export class DomainLoop {
  readonly #doorbell: Doorbell;
  readonly #blocking: boolean;
  readonly #spinner: Spinner;
  readonly #hasMail: () => boolean;
  readonly #residents: Resident[] = [];
  readonly #activity = new ActivityWatch();
  #isThere: () => boolean = () => false;
  /** Whether a ring's end has looked out in this round, and nothing came: the thread can go to sleep then. */
  #lingered = false;
  #running = false;
  /** Wakes a thread that parks when a timer of a vCPU is due. */
  #alarm: NodeJS.Timeout | undefined;
  #scheduled = false;
  /** Events delivered so far, over all domains. */
  delivered = 0;

  constructor(doorbell: Doorbell, options: DomainLoopOptions = {}) {
    this.#doorbell = doorbell;
    this.#blocking = options.blocking ?? false;
    this.#spinner = options.spinner ?? new AdaptiveSpinner();
    this.#hasMail = options.hasMail ?? (() => false);
  }

  /** Lets a domain live in this thread. */
  add(domid: Domid, channels: Enterable): void {
    this.#residents.push({ domid, channels });
    this.schedule();
  }

  /** The domain is gone. */
  remove(domid: Domid): void {
    const index = this.#residents.findIndex((resident) => resident.domid === domid);
    if (index >= 0) this.#residents.splice(index, 1);
    // A timer of the last one's would keep the process from its end.
    if (this.#residents.length === 0) this.#silence();
  }

  has(domid: Domid): boolean {
    return this.#residents.some((resident) => resident.domid === domid);
  }

  /** Whether a domain of this thread is still to be entered. */
  get isBusy(): boolean {
    return this.#scheduled || this.#hasUpcall();
  }

  /** Looks out for more work of a kind that no event tells of; says whether to look for it once more. */
  readonly linger = (isThere: () => boolean): boolean => {
    this.#isThere = isThere;
    this.#lingered = !this.#spinner.spin(this.#hasMore);
    return isThere();
  };

  /** Runs the loop soon, out of whatever is running now. */
  schedule(): void {
    if (this.#scheduled || this.#running) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  /** Enters the domains until none has an upcall, and rests. Called from the event loop, when somebody has rung. */
  readonly run = (): void => {
    if (this.#running || this.#residents.length === 0) return;
    this.#running = true;
    this.#silence();
    let again = true;
    try {
      again = this.#work();
    } finally {
      // What a tick throws is uncaught, and must be: Node would not survive that it is caught here.
      this.#running = false;
      if (again) this.schedule();
    }
  };

  readonly #turn = (): void => {
    this.#scheduled = false;
    this.run();
  };

  /** Whether the event loop is to have a turn, and then this one again. */
  #work(): boolean {
    const end = hostTime() + TURN_MS;
    for (let round = 1; (round & (ROUNDS - 1)) !== 0 || hostTime() < end; round++) {
      const before = this.delivered;
      this.#lingered = false;
      this.#enter();
      if (runTicks !== undefined) runTicks();
      else if (this.delivered !== before) return true;
      if (this.#lingered ? this.#hasUpcall() : this.#spinner.spin(this.#hasUpcall)) continue;
      if (!this.#blocking || this.#activity.look() === 'some') {
        if (this.#park()) return false;
      } else if (!this.#block()) return true;
    }
    return true;
  }

  #enter(): void {
    const residents = this.#residents;
    for (let i = 0; i < residents.length; i++) {
      const { domid, channels } = residents[i] as Resident;
      channels.expire?.();
      if (!this.#doorbell.hasUpcall(domid)) continue;
      this.#doorbell.wake(domid);
      this.delivered += channels.enter(EVENTS_PER_ENTRY);
    }
  }

  readonly #hasMore = (): boolean => this.#isThere() || this.#hasUpcall();

  readonly #hasUpcall = (): boolean => {
    const residents = this.#residents;
    for (let i = 0; i < residents.length; i++) {
      if (this.#doorbell.hasUpcall((residents[i] as Resident).domid)) return true;
    }
    return false;
  };

  /** Leaves all domains to be rung for; false when one of them has an upcall after all. */
  #park(): boolean {
    let all = true;
    for (const { domid, channels } of this.#residents) {
      channels.leave?.();
      all = this.#doorbell.rest(domid, parked) && all;
    }
    const left = all ? this.#msLeft() : Number.POSITIVE_INFINITY;
    if (left !== Number.POSITIVE_INFINITY) this.#alarm = setTimeout(this.run, Math.min(left, LONGEST_MS));
    return all;
  }

  #silence(): void {
    if (this.#alarm === undefined) return;
    clearTimeout(this.#alarm);
    this.#alarm = undefined;
  }

  /** Milliseconds until a vCPU of this thread has a timer due. */
  #msLeft(): number {
    let left = Number.POSITIVE_INFINITY;
    for (const { channels } of this.#residents) left = Math.min(left, channels.msLeft ?? left);
    return left;
  }

  /** Sleeps until an event comes, for {@link SLEEP_MS} at most; false when none came: the event loop will know of what did. */
  #block(): boolean {
    const [resident] = this.#residents;
    if (resident === undefined) return false;
    const { domid, channels } = resident;
    channels.leave?.();
    const wakes = this.#doorbell.wakes(domid);
    if (!this.#doorbell.rest(domid, blocked)) return true;
    if (this.#hasMail()) this.#doorbell.wake(domid);
    else this.#doorbell.wait(domid, wakes, Math.min(SLEEP_MS, this.#msLeft()));
    return this.#doorbell.hasUpcall(domid);
  }
}
