import { type MessagePort, Worker } from 'node:worker_threads';
import type { LogEntry, Plain } from '../../core/index.js';
import {
  type DomainThreadData,
  errorFrom,
  type FromDomain,
  type Settled,
  type ThreadStart,
  type ToDomain,
} from './messages.js';
import { rehearse } from './rehearse.js';
import { shareCode, threadCode } from './thread-code.js';

/** What a machine hears of a domain's thread. */
export interface DomainThreadEvents {
  readonly log: (entry: LogEntry, time: number) => void;
  readonly report: (value: Plain) => void;
  /** The program has ended. */
  readonly stopped: (error: Error | undefined) => void;
  /** The domain has shut down by a call. */
  readonly shutdown: (code: number) => void;
  /** A watchdog timer of the domain was set or stopped. */
  readonly watchdog: () => void;
  /** The thread is gone, without having been stopped by the machine; undefined: it left by process.exit(0). */
  readonly died: (error: Error | undefined) => void;
}

interface Question {
  readonly resolve: (answer: Settled | undefined) => void;
}

/** The machine's end of a domain's thread. */
export class DomainThread {
  readonly #worker: Worker;
  readonly #mail = new Int32Array(new SharedArrayBuffer(4));
  readonly #questions = new Map<number, Question>();
  #asked = 0;
  #events: DomainThreadEvents | undefined;
  #wake: () => void = () => {};
  readonly #module: string;
  #loaded: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
  #error: Error | undefined;
  #stopping = false;
  /** It does not run any more, and answers nothing. */
  #over = false;
  #runs = false;
  readonly #gone: Promise<void>;

  /**
   * Starts a thread, which gets itself ready and waits to be given its domain.
   * @param module the URL of what that will boot from
   */
  constructor(name: string, module: string) {
    this.#module = module;
    const { entry, code } = threadCode(module);
    const workerData: ThreadStart = { code, mail: this.#mail };
    const worker = new Worker(entry, { workerData, name });
    this.#worker = worker;
    // Done while the thread starts, which takes longer.
    shareCode(rehearse);
    worker.on('message', (message: FromDomain) => this.#hear(message));
    worker.on('error', (error: unknown) => {
      this.#error = error instanceof Error ? error : new Error(String(error));
    });
    this.#gone = new Promise((resolve) => {
      worker.on('exit', (exitCode) => {
        this.#over = true;
        this.#error ??= exitCode === 0 ? undefined : new Error(`its thread ended with exit code ${exitCode}`);
        const loaded = this.#loaded;
        this.#loaded = undefined;
        for (const { resolve: answer } of this.#questions.values()) answer(undefined);
        this.#questions.clear();
        loaded?.reject(this.#doesNotLoad());
        resolve();
        if (!this.#stopping) this.#events?.died(this.#error);
      });
    });
  }

  /**
   * Gives the thread its domain.
   * @param wake wakes the thread from its sleep, so that it looks into its mail
   */
  house(data: DomainThreadData, events: DomainThreadEvents, wake: () => void): void {
    this.#events = events;
    this.#wake = wake;
    // Whoever houses it here does not expect to be told of its end before this returns.
    if (this.#over) setImmediate(() => !this.#stopping && events.died(this.#error));
    this.#send(data, [data.main, ...data.peers.map(([, port]) => port)]);
  }

  /** Whether it is loading its module or being stopped, of which nothing in any event loop need tell. */
  get isChanging(): boolean {
    return this.#loaded !== undefined || (this.#stopping && !this.#over);
  }

  /** Whether it has said that its module is loaded. True before {@link run} resolves: the thread's end may come between the two. */
  get runs(): boolean {
    return this.#runs;
  }

  /** Lets the thread load its module. @throws when that does not load, or the thread ends */
  run(): Promise<void> {
    if (this.#over) return Promise.reject(this.#doesNotLoad());
    return new Promise((resolve, reject) => {
      this.#loaded = { resolve, reject };
      this.tell({ type: 'go' });
    });
  }

  tell(message: ToDomain, transfer: readonly MessagePort[] = []): void {
    this.#send(message, transfer);
    this.#wake();
  }

  /** Resolves to the thread's answer; undefined when it ended instead. */
  ask(type: 'settle' | 'trim'): Promise<Settled | undefined> {
    if (this.#stopping || this.#over) return Promise.resolve(undefined);
    const id = this.#asked++;
    return new Promise((resolve) => {
      this.#questions.set(id, { resolve });
      this.tell({ type, id });
    });
  }

  /** Ends the thread wherever it is. Resolves when it does not run any more. */
  async stop(): Promise<void> {
    this.#stopping = true;
    void this.#worker.terminate();
    await this.#gone;
  }

  #send(message: ToDomain | DomainThreadData, transfer: readonly MessagePort[]): void {
    Atomics.add(this.#mail, 0, 1);
    this.#worker.postMessage(message, transfer);
    Atomics.notify(this.#mail, 0);
  }

  #doesNotLoad(): Error {
    return new Error(`${this.#module} does not load: ${this.#error?.message ?? 'it ends its thread'}`);
  }

  #hear(message: FromDomain): void {
    const events = this.#events;
    switch (message.type) {
      case 'runs':
        this.#runs = true;
        this.#loaded?.resolve();
        this.#loaded = undefined;
        break;
      case 'refused':
        this.#loaded?.reject(errorFrom(message.error));
        this.#loaded = undefined;
        break;
      case 'stopped':
        events?.stopped(message.error && errorFrom(message.error));
        break;
      case 'shutdown':
        events?.shutdown(message.code);
        break;
      case 'watchdog':
        events?.watchdog();
        break;
      case 'log':
        events?.log(message.entry, message.time);
        break;
      case 'report':
        events?.report(message.value);
        break;
      case 'answer':
        this.#questions.get(message.id)?.resolve(message);
        this.#questions.delete(message.id);
    }
  }
}
