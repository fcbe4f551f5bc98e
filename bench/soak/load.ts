import { asSector, Disconnected, SECTOR_SIZE } from '../../core/index.js';
import type { BlockDevice } from '../../drivers/blk/index.js';
import type { Random } from '../../platform/local/random.js';
import type { Model } from './model.js';
import { SECTOR_WORDS } from './pattern.js';
import type { GuestReport } from './protocol.js';

/** What is under way at most, and what one request moves at most: 128 KiB. */
const MAX_DEPTH = 32;
const MAX_SECTORS = 256;
/** How many requests a phase has. */
const PHASE = { least: 20, more: 400 };
/** Looks for sectors that nobody is at. */
const TRIES = 8;
/** Milliseconds between two reports. */
const REPORT_EVERY = 500;

/** How requests are picked for a while. */
interface Phase {
  readonly depth: number;
  /** Sectors that a request has at most. */
  readonly most: number;
  readonly sequential: boolean;
  /** Of a hundred requests: writes, and flushes. */
  readonly writes: number;
  readonly flushes: number;
}

interface Request {
  readonly what: 'read' | 'write' | 'flush';
  readonly sector: number;
  readonly count: number;
}

/**
 * Mixed load on a part of a disk: so many requests under way at once, each issued again when its link ends before it is answered. No
 * two that are under way touch the same sectors, unless both read, for a disk promises no order among them.
 */
export class Load {
  readonly #model: Model;
  readonly #random: Random;
  readonly #report: (report: GuestReport) => void;
  readonly #buffers: readonly ArrayBuffer[] = Array.from(
    { length: MAX_DEPTH },
    () => new ArrayBuffer(MAX_SECTORS * SECTOR_SIZE),
  );
  /** By lane: what is under way. */
  readonly #underWay: (Request | undefined)[] = [];
  #disk: BlockDevice | undefined;
  #waiting: ((disk: BlockDevice) => void)[] = [];
  #stopped = false;
  #left = 0;
  #cursor = 0;
  #requests = 0;
  #bytes = 0;
  #again = 0;
  #connections = 0;
  #reported = 0;

  constructor(model: Model, random: Random, report: (report: GuestReport) => void) {
    this.#model = model;
    this.#random = random;
    this.#report = report;
  }

  /** There is a link from now on. */
  connected(disk: BlockDevice): void {
    this.#connections++;
    this.#disk = disk;
    for (const wake of this.#waiting.splice(0)) wake(disk);
  }

  /** Issues no more requests; {@link run} comes to its end. */
  stop(): void {
    this.#stopped = true;
    this.#left = 0;
  }

  /** Loads the disk until it is told to stop. @throws Error that says what the disk got wrong */
  async run(): Promise<void> {
    // What an earlier life of this guest has left without an answer is settled by what is there now.
    await this.#all((sector, words) => this.#model.settle(sector, words));
    while (!this.#stopped) await this.#phase(this.#nextPhase());
    await this.#all((sector, words) => this.#model.check(sector, words));
    await this.#carryOut(0, { what: 'flush', sector: this.#model.first, count: 0 });
    this.#tell();
  }

  #nextPhase(): Phase {
    const random = this.#random;
    this.#left = PHASE.least + random.below(PHASE.more);
    this.#cursor = random.below(this.#model.sectors);
    return {
      depth: 1 + random.below(MAX_DEPTH),
      most: [1, 8, 88, MAX_SECTORS][random.below(4)] ?? 1,
      sequential: random.below(3) === 0,
      writes: random.below(101),
      flushes: random.below(4) === 0 ? 10 : 1,
    };
  }

  async #phase(phase: Phase): Promise<void> {
    await Promise.all(Array.from({ length: phase.depth }, (_, lane) => this.#lane(lane, phase)));
  }

  async #lane(lane: number, phase: Phase): Promise<void> {
    while (this.#left > 0) {
      this.#left--;
      const request = this.#pick(phase);
      this.#underWay[lane] = request;
      await this.#carryOut(lane, request);
      this.#underWay[lane] = undefined;
      this.#requests++;
      this.#bytes += request.count * SECTOR_SIZE;
      const now = performance.now();
      if (now - this.#reported > REPORT_EVERY) this.#tell();
    }
  }

  #pick({ most, sequential, writes, flushes }: Phase): Request {
    const random = this.#random;
    const { first, sectors } = this.#model;
    const flush: Request = { what: 'flush', sector: first, count: 0 };
    if (random.below(100) < flushes) return flush;
    const what = random.below(100) < writes ? 'write' : 'read';
    for (let i = 0; i < TRIES; i++) {
      const count = sequential ? most : 1 + random.below(most);
      if (this.#cursor + count > sectors) this.#cursor = 0;
      const sector = first + (sequential ? this.#cursor : random.below(sectors - count + 1));
      this.#cursor += count;
      const request: Request = { what, sector, count };
      if (!this.#underWay.some((other) => other !== undefined && conflict(request, other))) return request;
    }
    return flush;
  }

  /** Issues a request until it is answered. */
  async #carryOut(lane: number, { what, sector, count }: Request): Promise<void> {
    const bytes = new Uint8Array(this.#buffers[lane] as ArrayBuffer, 0, count * SECTOR_SIZE);
    const words = new Int32Array(bytes.buffer, 0, count * SECTOR_WORDS);
    if (what === 'write') this.#model.write(sector, words);
    await this.#untilAnswered((disk) => {
      if (what === 'flush') return disk.flush();
      return what === 'write' ? disk.write(asSector(sector), bytes) : disk.read(asSector(sector), bytes);
    });
    if (what === 'write') this.#model.answered(sector, count);
    if (what === 'read') expectNothing(this.#model.check(sector, words));
  }

  async #untilAnswered(issue: (disk: BlockDevice) => Promise<void>): Promise<void> {
    for (;;) {
      const disk = this.#disk ?? (await new Promise<BlockDevice>((resolve) => this.#waiting.push(resolve)));
      try {
        await issue(disk);
        return;
      } catch (error) {
        if (!(error instanceof Disconnected)) throw error;
        this.#again++;
        if (this.#disk === disk) this.#disk = undefined;
      }
    }
  }

  /** Reads the whole part, a piece after the other. */
  async #all(check: (sector: number, words: Int32Array) => string | undefined): Promise<void> {
    const { first, sectors } = this.#model;
    const bytes = new Uint8Array(this.#buffers[0] as ArrayBuffer);
    for (let at = 0; at < sectors; at += MAX_SECTORS) {
      const count = Math.min(MAX_SECTORS, sectors - at);
      const piece = bytes.subarray(0, count * SECTOR_SIZE);
      await this.#untilAnswered((disk) => disk.read(asSector(first + at), piece));
      expectNothing(check(first + at, new Int32Array(bytes.buffer, 0, count * SECTOR_WORDS)));
    }
  }

  #tell(): void {
    this.#reported = performance.now();
    this.#report({
      event: 'stands',
      requests: this.#requests,
      bytes: this.#bytes,
      again: this.#again,
      connections: this.#connections,
      heapUsed: process.memoryUsage().heapUsed,
    });
  }
}

const conflict = (a: Request, b: Request): boolean =>
  (a.what === 'write' || b.what === 'write') && a.sector < b.sector + b.count && b.sector < a.sector + a.count;

const expectNothing = (difference: string | undefined): void => {
  if (difference !== undefined) throw new Error(difference);
};
