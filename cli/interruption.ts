import { Interrupted, RunError, UncaughtError } from './errors.js';
import { StandstillWatch } from './standstill-watch.js';

/** Signals that end a run, and their numbers. */
const signals = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
const SIGPIPE = 13;

/**
 * Watches for what ends a run before it is done: a signal, a closed pipe, an error that nobody caught, or that nothing is left that
 * could ever happen. A second signal ends the process at once.
 */
export class Interruption {
  readonly #standstill: () => string;
  #reject: (reason: unknown) => void = () => {};
  #over = false;
  /** Rejects with the reason. */
  readonly happened = new Promise<never>((_resolve, reject) => {
    this.#reject = reject;
  });

  /** @param standstill says what a run that stands still has come to */
  constructor(standstill: () => string) {
    this.#standstill = standstill;
    this.happened.catch(() => {}); // nobody may be listening yet
    for (const [signal, number] of Object.entries(signals)) {
      process.on(signal, () => this.#signal(128 + number));
    }
    process.stdout.on('error', (error) => this.#end(brokenOutput(error)));
    process.stderr.on('error', (error) => this.#end(brokenOutput(error)));
    process.on('uncaughtException', (error) => this.#end(new UncaughtError(error)));
    process.on('beforeExit', () => {
      if (this.#over) process.exit(1);
      this.#stoodStill();
    });
  }

  /** Ends the run, too, when nothing can happen any more although threads keep the process alive; until the result is disposed. */
  watch(standsStill: () => Promise<boolean>): Disposable {
    return new StandstillWatch(standsStill, () => this.#stoodStill());
  }

  /** The run is done, and only its last words are still being written. */
  done(): void {
    this.#over = true;
  }

  #signal(exitCode: number): void {
    if (this.#over) process.exit(exitCode);
    this.#end(new Interrupted(exitCode, 'interrupted'));
  }

  #stoodStill(): void {
    this.#end(new RunError(this.#standstill()));
  }

  #end(reason: unknown): void {
    this.#over = true;
    this.#reject(reason);
  }
}

const brokenOutput = (error: Error): Error =>
  'code' in error && error.code === 'EPIPE'
    ? new Interrupted(128 + SIGPIPE, '')
    : new RunError(`the output cannot be written: ${error.message}`);
