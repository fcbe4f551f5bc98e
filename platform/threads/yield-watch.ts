import type { Domid } from '../../core/abi/units.js';
import type { DomainThread } from './domain-thread.js';

/** A domain with a thread of its own. */
export interface Watched {
  readonly domid: Domid;
  readonly name: string;
  readonly thread: DomainThread;
}

/** How often threads are asked, in milliseconds. */
const PERIOD = 500;

/**
 * Finds threads of domains that do not yield: asks each now and then for a sign of life, which its event loop gives, and tells of one that
 * has owed it too long: while it does, and when it has yielded at last.
 */
export class YieldWatch implements Disposable {
  readonly #timer: NodeJS.Timeout;
  readonly #asked = new Map<DomainThread, { readonly since: number; told: boolean }>();
  readonly #limit: number;
  readonly #tell: (watched: Watched, text: string) => void;

  /**
   * @param seconds how long a thread may owe its sign of life
   * @param watched the threads that there are
   */
  constructor(seconds: number, watched: () => readonly Watched[], tell: (watched: Watched, text: string) => void) {
    if (!(seconds > 0)) throw new RangeError(`a watchdog waits for more than 0 s, not ${seconds}`);
    this.#limit = seconds * 1000;
    this.#tell = tell;
    this.#timer = setInterval(() => {
      for (const one of watched()) this.#look(one);
    }, PERIOD);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#asked.clear();
  }

  #look(watched: Watched): void {
    const { thread } = watched;
    const owed = this.#asked.get(thread);
    if (owed === undefined) {
      const question = { since: performance.now(), told: false };
      this.#asked.set(thread, question);
      void thread.ask('settle').then((answer) => {
        this.#asked.delete(thread);
        if (answer !== undefined && question.told) this.#tell(watched, `yielded after ${seconds(question.since)} s`);
      });
    } else if (!owed.told && performance.now() - owed.since >= this.#limit) {
      owed.told = true;
      this.#tell(watched, `has not yielded for ${seconds(owed.since)} s`);
    }
  }
}

const seconds = (since: number): string => ((performance.now() - since) / 1000).toFixed(1);
