import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { inject, injectable } from 'inversify';
import { Clock, Domain, Log } from '../../../core/index.js';
import { VifObserver } from '../backend.js';
import { descriptions, nanoseconds, PcapngWriter } from '../pcapng.js';
import type { Vif } from '../vif.js';
import { makeFolder } from './capture-folder.js';

/** Where a domain's captures go. */
export abstract class CaptureFolder {
  /** A folder, which is made if it is not there; undefined for no capture. */
  abstract readonly path: string | undefined;
}

/** Bytes that are written together; what there is at the end of an upcall is written then. */
const BUFFER = 256 * 1024;

/**
 * Writes what goes through all vifs of a domain to one pcapng file, DOMAIN.pcapng in the folder, while it happens. A file that cannot be
 * written to is given up, and named in the log.
 */
@injectable()
export class Capture extends VifObserver {
  readonly #folder: string | undefined;
  readonly #domain: Domain;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #writer = new PcapngWriter();
  readonly #buffer = new Uint8Array(BUFFER);
  /** Milliseconds between 1970 and the machine's boot. */
  readonly #epoch: number;
  #used = 0;
  #scheduled = false;
  #file: number | undefined;
  #failed = false;

  constructor(
    @inject(CaptureFolder) folder: CaptureFolder,
    @inject(Domain) domain: Domain,
    @inject(Clock) clock: Clock,
    @inject(Log) log: Log,
  ) {
    super();
    this.#folder = folder.path;
    this.#domain = domain;
    this.#clock = clock;
    this.#log = log;
    this.#epoch = Date.now() - clock.now();
    domain.subscription.add(() => this.#close());
  }

  connected(vif: Vif): Disposable {
    if (this.#folder === undefined) return { [Symbol.dispose]() {} };
    if (this.#file === undefined && !this.#failed) this.#open(this.#folder);
    const numbers = { tx: 0, rx: 0 };
    for (const direction of ['tx', 'rx'] as const) {
      const { number, block } = this.#writer.interface(`${vif.name}-${direction}`, descriptions[direction]);
      numbers[direction] = number;
      this.#write(block);
    }
    const subscription = vif.passing$.subscribe((passing) => {
      const now = nanoseconds(this.#epoch + this.#clock.now());
      this.#write(this.#writer.packet(numbers[passing.direction], now, passing));
    });
    return { [Symbol.dispose]: () => subscription.unsubscribe() };
  }

  #open(folder: string): void {
    try {
      makeFolder(folder);
      this.#file = openSync(join(folder, `${this.#domain.name}.pcapng`), 'w');
    } catch (error) {
      this.#giveUp(error);
      return;
    }
    this.#write(this.#writer.section());
  }

  #write(block: Uint8Array): void {
    if (this.#file === undefined) return;
    if (this.#used + block.length > BUFFER) this.#flush();
    if (block.length > BUFFER) {
      this.#store(block);
      return;
    }
    this.#buffer.set(block, this.#used);
    this.#used += block.length;
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const used = this.#used;
    this.#used = 0;
    if (used > 0) this.#store(this.#buffer.subarray(0, used));
  }

  #store(bytes: Uint8Array): void {
    if (this.#file === undefined) return;
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done);
    } catch (error) {
      this.#giveUp(error);
    }
  }

  #giveUp(error: unknown): void {
    this.#failed = true;
    const text = `the capture in ${this.#folder} is given up: ${error instanceof Error ? error.message : String(error)}`;
    this.#log.write({ level: 'error', source: 'capture', text });
    this.#close();
  }

  #close(): void {
    if (this.#file === undefined) return;
    if (!this.#failed) this.#flush();
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) closeSync(file);
  }
}
