import type { TurnWatch } from './scheduler.js';
import type { Watchdog } from './watchdog.js';

/** What the turns of a local machine are watched by. */
export interface TurnTimerOptions {
  /** Milliseconds of the host's time that a turn may take before it is reported. */
  readonly limit: number;
  /** Told of a turn that took longer, after its end. */
  readonly report: (name: string, ms: number) => void;
  /** What finds a turn that does not end. */
  readonly watchdog: Watchdog | undefined;
}

/** Times turns: one in which a domain's code runs away is reported when it is over, with its duration. */
export class TurnTimer implements TurnWatch {
  readonly #options: TurnTimerOptions;
  #name = '';
  #began = 0;

  constructor(options: TurnTimerOptions) {
    this.#options = options;
  }

  begin(name: string): void {
    this.#name = name;
    this.#began = performance.now();
    this.#options.watchdog?.begin(name);
  }

  end(): void {
    const { watchdog, limit, report } = this.#options;
    watchdog?.end();
    if (this.#name === '') return;
    const ms = performance.now() - this.#began;
    const name = this.#name;
    this.#name = '';
    if (ms > limit) report(name, ms);
  }
}
