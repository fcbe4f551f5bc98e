/** How often is looked, in milliseconds. */
const PERIOD = 500;
/** Looks in a row that must find nothing. */
const LOOKS = 2;
/** Microseconds of the processor that a period takes in which nothing happens but the looks, at most. */
const IDLE_CPU = 100_000;

/** What threads of domains, signals and an open output keep in the event loop all the time. */
const standing = new Set(['MessagePort', 'CloseReq', 'PipeWrap', 'TTYWrap']);

/** Whether this thread is to do something yet: a timer, a file's read, a socket, a child. */
const isBusy = (before: ReadonlyMap<string, number>): boolean =>
  [...counted()].some(([name, count]) => count > (before.get(name) ?? 0) && name !== 'MessagePort');

const counted = (): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>();
  for (const name of process.getActiveResourcesInfo()) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
};

/** What is there before a machine runs and is nothing that a run waits for. */
const baseline = (): ReadonlyMap<string, number> => new Map([...counted()].filter(([name]) => standing.has(name)));

/**
 * Looks now and then whether anything can still happen, while threads keep a process alive in which nothing does: `beforeExit`, which
 * says so of a process without threads, does not come.
 */
export class StandstillWatch implements Disposable {
  readonly #standsStill: () => Promise<boolean>;
  readonly #found: () => void;
  readonly #before = baseline();
  readonly #timer: NodeJS.Timeout;
  #cpu = process.cpuUsage();
  #looking = false;
  #stood = 0;

  /**
   * @param standsStill whether the threads will do nothing more by themselves
   * @param found called once, when nothing can happen any more
   */
  constructor(standsStill: () => Promise<boolean>, found: () => void) {
    this.#standsStill = standsStill;
    this.#found = found;
    this.#timer = setInterval(() => void this.#look(), PERIOD).unref();
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    // Node does not list all that it works at: a digest, a compression.
    const { user, system } = process.cpuUsage(this.#cpu);
    this.#cpu = process.cpuUsage();
    const idle = user + system < IDLE_CPU && !isBusy(this.#before);
    const stands = idle && (await this.#standsStill()) && !isBusy(this.#before);
    this.#looking = false;
    this.#stood = stands ? this.#stood + 1 : 0;
    if (this.#stood < LOOKS) return;
    this[Symbol.dispose]();
    this.#found();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
