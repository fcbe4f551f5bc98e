import { type CaseClock, type ClockName, clockOf } from './clocks.js';

/**
 * Milliseconds of a case before anything counts: they are for the compiler, which has no core of its own while two threads spin on
 * two cores.
 */
const WARM_UP: Readonly<Record<ClockName, number>> = { core: 300, wall: 800 };
/** Completions between two looks at the clock. */
const LOOK_EVERY = 1024;

/** Measures how often something is done, from within a case: first it lets the case warm up, then it counts for so long. */
export class Meter {
  readonly #clock: CaseClock;
  readonly #length: number;
  #untilLook = LOOK_EVERY;
  #looks = 0;
  #warm = false;
  #start: number;
  #end: number;
  /** Called when counting begins. */
  onWarm: () => void = () => {};

  /**
   * @param clock the name of the clock to measure by
   * @param length milliseconds to count for
   * @param warmUp those before it
   */
  constructor(clock: string | undefined, length: number, warmUp: number = WARM_UP[clock as ClockName]) {
    this.#clock = clockOf(clock);
    this.#length = length * 1e6;
    this.#start = 0;
    this.#end = this.#clock.rough() + warmUp * 1e6;
  }

  /** To be called after each completion; true once, when it has counted for long enough. */
  done(): boolean {
    this.#untilLook = (this.#untilLook - 1) | 0;
    return this.#untilLook === 0 && this.#look();
  }

  /** Completions that were counted. */
  get count(): number {
    return this.#looks * LOOK_EVERY;
  }

  /** Completions a second; only after {@link done} was true. */
  get rate(): number {
    return (this.count / (this.#end - this.#start)) * 1e9;
  }

  #look(): boolean {
    this.#untilLook = LOOK_EVERY;
    this.#looks++;
    if (this.#clock.rough() < this.#end) return false;
    if (this.#warm) {
      this.#end = this.#clock.exact();
      return true;
    }
    this.#warm = true;
    this.#looks = 0;
    this.onWarm();
    this.#start = this.#clock.exact();
    this.#end = this.#clock.rough() + this.#length;
    return false;
  }
}
