import { Worker } from 'node:worker_threads';

/** What the watchdog's own thread does: the machine's is the one that may hang, so it writes by itself. */
const CODE = `
const { parentPort, workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const { words, seconds } = workerData;
const names = new Map();
parentPort.on('message', ([number, name]) => names.set(number, name));
let turn = 0;
let since = 0;
let told = false;
setInterval(() => {
  const now = Atomics.load(words, 0);
  if (now === 0 || now !== turn) {
    turn = now;
    since = performance.now();
    told = false;
    return;
  }
  const stands = (performance.now() - since) / 1000;
  if (told || stands < seconds) return;
  told = true;
  const number = Atomics.load(words, 1);
  const name = names.get(number) ?? 'number ' + number;
  try {
    writeSync(2, 'splitring: domain ' + name + ' has not yielded for ' + Math.round(stands) + ' s\\n');
  } catch {
    // Where nobody reads stderr there is nobody to tell.
  }
}, 250);
`;

/**
 * Finds out who never yields on a machine of one thread, where nothing else can run then: a thread of its own looks whether turns end,
 * and writes one line with the domain and the seconds to stderr.
 */
export class Watchdog implements AsyncDisposable {
  readonly #words = new Int32Array(new SharedArrayBuffer(8));
  readonly #worker: Worker;
  readonly #numbers = new Map<string, number>();
  #turns = 0;

  /** @param seconds how long a turn may take before its domain is named */
  constructor(seconds: number) {
    if (!(seconds > 0)) throw new RangeError(`a watchdog waits for more than 0 s, not ${seconds}`);
    this.#worker = new Worker(CODE, { eval: true, workerData: { words: this.#words, seconds } });
    this.#worker.unref();
  }

  /** A turn begins. */
  begin(name: string): void {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#numbers.size + 1;
      this.#numbers.set(name, number);
      this.#worker.postMessage([number, name]);
    }
    this.#turns = this.#turns === 0x7fffffff ? 1 : this.#turns + 1;
    Atomics.store(this.#words, 1, number);
    Atomics.store(this.#words, 0, this.#turns);
  }

  /** The turn has ended. */
  end(): void {
    Atomics.store(this.#words, 0, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}
