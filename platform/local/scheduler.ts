import { runTicks } from '../hypervisor/run-ticks.js';
import type { LocalClock } from './local-clock.js';
import { Random } from './random.js';

/** Something that the scheduler may run next. */
export interface Runnable {
  readonly name: string;
  /** Whether it has something to do now. */
  ready(): boolean;
  /** Does a bounded part of it. */
  run(): void;
  /** Called after {@link run}, when all promises have settled. */
  settled?(): void;
}

/** Who is told how long a turn takes, by the host's clock. */
export interface TurnWatch {
  /** A turn begins: of a domain, of its vCPU, or of what the name says. */
  begin(name: string): void;
  /** The turn has ended, and all promises have settled. */
  end(): void;
}

/** Where work waits for its turn, in order. */
export class TaskQueue implements Runnable {
  readonly name: string;
  readonly #tasks: (() => void)[] = [];
  readonly #wake: () => void;

  constructor(name: string, wake: () => void) {
    this.name = name;
    this.#wake = wake;
  }

  readonly post = (task: () => void): void => {
    this.#tasks.push(task);
    this.#wake();
  };

  ready(): boolean {
    return this.#tasks.length > 0;
  }

  run(): void {
    this.#tasks.shift()?.();
  }
}

/** What Node's timers can wait for at most, in ms: for longer they would not wait at all. */
const LONGEST = 2 ** 31 - 1;
/** Picks before Node's event loop has its turn. */
const PICKS = 32;

/**
 * Picks by a seed who runs next among all that can. After each pick all promises settle, as after a turn of Node's event loop,
 * and the same seed gives the same order. When nobody can run, the clock's next timer fires.
 */
export class Scheduler {
  readonly seed: number;
  readonly clock: LocalClock;
  readonly #random: Random;
  readonly #runnables: Runnable[] = [];
  readonly #onError: (name: string, error: unknown) => void;
  readonly #idle: (() => void)[] = [];
  #holds = 0;
  #stepping = false;
  #stopped = false;
  /** Who has had a turn, whose promises have yet to settle. */
  #turn: Runnable | undefined;
  #timeout: NodeJS.Timeout | undefined;
  /** How many picks there have been. */
  steps = 0;
  /** Told of each turn; without it turns are not timed. */
  watch: TurnWatch | undefined;
  /** Called with each pick's name. */
  onPick: (name: string) => void = () => {};

  constructor(seed: number, clock: LocalClock, onError: (name: string, error: unknown) => void) {
    this.seed = seed;
    this.clock = clock;
    this.#random = new Random(seed);
    this.#onError = onError;
    clock.onTimer = () => this.wake();
  }

  add(runnable: Runnable): void {
    this.#runnables.push(runnable);
    this.wake();
  }

  remove(runnable: Runnable): void {
    const index = this.#runnables.indexOf(runnable);
    if (index >= 0) this.#runnables.splice(index, 1);
  }

  /** Somebody may have become able to run. */
  wake(): void {
    if (this.#stepping || this.#stopped || this.#holds > 0) return;
    this.#stepping = true;
    clearTimeout(this.#timeout);
    setImmediate(this.#step);
  }

  /** Does work that is a domain's turn, though the scheduler did not pick it: what a timer calls. */
  turn(name: string, work: () => void): void {
    this.watch?.begin(name);
    this.#guard(name, work);
  }

  /** Waits for work outside the simulation, and lets nobody run meanwhile: what comes of it has one place in the order. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    this.#holds++;
    try {
      return await work();
    } finally {
      this.#holds--;
      this.wake();
    }
  }

  /** Resolves when nobody can run, before the clock goes on to the next timer, and when there are to be no more picks. */
  idle(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.wake();
    });
  }

  /** No more picks. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timeout);
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  readonly #step = (): void => {
    let more = true;
    try {
      more = this.#pickSome();
    } finally {
      if (more) setImmediate(this.#step);
      else this.#stepping = false;
    }
  };

  /** Lets some run in turn, with all promises settled in between; whether there may be more to do. */
  #pickSome(): boolean {
    for (let picks = 0; picks < PICKS; picks++) {
      if (this.#stopped || this.#holds > 0) return false;
      if (!this.#runOne()) {
        this.#sleep();
        return false;
      }
      if (runTicks === undefined) return true;
      runTicks();
      this.#settle();
    }
    return true;
  }

  /** The last turn is over: all that it led to at once has happened. */
  #settle(): void {
    const turn = this.#turn;
    this.#turn = undefined;
    this.watch?.end();
    if (turn?.settled !== undefined) this.#guard(turn.name, () => turn.settled?.());
  }

  #runOne(): boolean {
    if (this.#turn !== undefined) this.#settle();
    if (!this.clock.simulated && this.#guard('clock', () => this.clock.fireDue())) return true;
    const ready = this.#runnables.filter((runnable) => runnable.ready());
    const pick = ready[ready.length > 1 ? this.#random.below(ready.length) : 0];
    if (pick === undefined) {
      // Timers of this very moment come before anybody hears that there is nothing to do.
      if (this.#guard('clock', () => this.clock.fireDue())) return true;
      const resolve = this.#idle.shift();
      if (resolve !== undefined) {
        resolve();
        return true;
      }
      this.clock.advance();
      return this.#guard('clock', () => this.clock.fireDue());
    }
    this.steps++;
    this.onPick(pick.name);
    this.#turn = pick;
    this.watch?.begin(pick.name);
    this.#guard(pick.name, () => pick.run());
    return true;
  }

  #guard(name: string, work: () => unknown): boolean {
    try {
      return work() !== false;
    } catch (error) {
      this.#onError(name, error);
      return true;
    }
  }

  /** With nothing to do, a real clock's next timer is waited for; an empty simulation rests until somebody wakes it. */
  #sleep(): void {
    const { next } = this.clock;
    if (this.clock.simulated || next === undefined) return;
    this.#timeout = setTimeout(() => this.wake(), Math.min(Math.max(0, next - this.clock.now()), LONGEST));
  }
}
