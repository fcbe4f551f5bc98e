// Long, since it is one run told from its beginning to its end: what is disturbed, what is looked at, and what it comes to.
import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { filter, firstValueFrom } from 'rxjs';
import { assertNothingLeft } from '../../contract/assert-nothing-left.js';
import { type Domid, SECTOR_SIZE, XenStore } from '../../core/index.js';
import { vbdKeys, vdevOf } from '../../drivers/blk/index.js';
import { Random } from '../../platform/local/random.js';
import { ThreadsMachine } from '../../platform/threads/index.js';
import { type Comparison, compareThirds, type Sample, sampleAt } from './memory.js';
import { Model } from './model.js';
import { SECTOR_WORDS } from './pattern.js';
import { type GuestCommandLine, type GuestReport, ORDERS, type Order } from './protocol.js';

/** How a soak runs. */
export interface SoakOptions {
  readonly seed: number;
  readonly seconds: number;
  /** Seconds between two lines of the report. */
  readonly interval: number;
  /** Lines between two looks at everything: all devices detached, the image compared, the ledger empty. */
  readonly linesPerLook: number;
  /** Sectors of each guest's part of the image. */
  readonly sectors: number;
  /** A folder that lies in memory. */
  readonly folder: string;
  readonly say: (line: string) => void;
  /** Ends the run before its time. */
  readonly signal: AbortSignal;
}

/** What a soak has found. */
export interface SoakResult {
  readonly seed: number;
  readonly seconds: number;
  readonly interrupted: boolean;
  /** What differs from what it must be; none: all is well. */
  readonly differences: readonly string[];
  readonly requests: number;
  readonly bytes: number;
  /** Requests that were issued again. */
  readonly again: number;
  readonly connections: number;
  /** How often each thing was done to the machine. */
  readonly done: Readonly<Record<string, number>>;
  /** The longest that each took, in ms. */
  readonly longest: Readonly<Record<string, number>>;
  /** What was logged as an error, and how often: told, and no difference by itself. */
  readonly errors: Readonly<Record<string, number>>;
  readonly samples: readonly Sample[];
  /** Undefined when there were too few samples to compare. */
  readonly memory: readonly Comparison[] | undefined;
}

const GUESTS = 4;
const BACKENDS = 2;
const MEMORY = 64 * 2 ** 20;
/** Milliseconds between two disturbances, at most: when there is time for a load, and when there is none. */
const REST = 1500;
const RUSH = 40;
/** Milliseconds without an answer after which a guest that has its disk stands still. */
const STANDSTILL = 20_000;
/** Milliseconds that an orderly end may take. */
const PATIENCE = 30_000;
/** Lines of the log that a difference is told with. */
const LAST_LINES = 40;

const guestModule = new URL('guest.module.js', import.meta.url);
const backendModule = new URL('backend.module.js', import.meta.url);
const device = { device: 'vbd', id: vdevOf('xvda') } as const;

interface Totals {
  requests: number;
  bytes: number;
  again: number;
  connections: number;
}

interface SoakGuest {
  readonly index: number;
  readonly first: number;
  readonly bytes: Uint8Array;
  readonly model: Model;
  domid: Domid;
  lives: number;
  /** Of this life. */
  now: Totals;
  /** When it last got on, or was given its disk. */
  moved: number;
  attached: boolean;
  done: boolean;
}

interface SoakBackend {
  readonly index: number;
  domid: Domid;
  lives: number;
}

/** What is found ends the run: the machine is then as it was found. */
class Difference extends Error {}

const zero = (): Totals => ({ requests: 0, bytes: 0, again: 0, connections: 0 });

const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });

/**
 * Four guests under mixed block load against two backend domains, all on threads, while disks are taken away and given back and domains
 * die and come back.
 */
export class Soak {
  readonly #options: SoakOptions;
  readonly #machine: ThreadsMachine;
  readonly #random: Random;
  readonly #image: string;
  readonly #guests: SoakGuest[] = [];
  readonly #backends: SoakBackend[] = [];
  readonly #log: string[] = [];
  readonly #differences: string[] = [];
  readonly #totals = zero();
  readonly #done: Record<string, number> = {};
  readonly #longest: Record<string, number> = {};
  readonly #errors: Record<string, number> = {};
  readonly #samples: Sample[] = [];
  #start = performance.now();

  private constructor(options: SoakOptions, machine: ThreadsMachine, image: string) {
    this.#options = options;
    this.#machine = machine;
    this.#random = new Random(options.seed);
    this.#image = image;
    machine.log$.subscribe(({ time, domain, source, level, text }) => {
      this.#note(`${(time / 1000).toFixed(3)} ${domain} ${source} ${level}: ${text}`);
      if (level !== 'error') return;
      const kind = text.replace(/[0-9]+/g, 'N');
      this.#errors[kind] = (this.#errors[kind] ?? 0) + 1;
    });
    machine.reports$.subscribe(({ domid, value }) => this.#hear(domid, value as GuestReport));
  }

  static async run(options: SoakOptions): Promise<SoakResult> {
    const folder = mkdtempSync(join(options.folder, 'splitring-soak-'));
    try {
      const image = join(folder, 'disk.img');
      const fd = openSync(image, 'w');
      ftruncateSync(fd, GUESTS * options.sectors * SECTOR_SIZE);
      closeSync(fd);
      const soak = new Soak(options, await ThreadsMachine.create({ memory: MEMORY }), image);
      return await soak.#run();
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  async #run(): Promise<SoakResult> {
    const { seed, say, signal } = this.#options;
    try {
      await this.#boot();
      this.#start = performance.now();
      await this.#load();
      await this.#finish();
    } catch (error) {
      this.#differences.push(error instanceof Difference ? error.message : `the soak itself failed: ${textOf(error)}`);
      say(['the last that was said:', ...this.#log.slice(-LAST_LINES)].join('\n  '));
    } finally {
      await this.#machine[Symbol.asyncDispose]();
    }
    this.#expectNobodyLeft();
    const memory = compareThirds(this.#samples);
    for (const { flat, text } of memory ?? []) if (!flat) this.#differences.push(`memory is not flat: ${text}`);
    for (const guest of this.#guests) this.#settle(guest);
    return {
      seed,
      seconds: this.#seconds(),
      interrupted: signal.aborted,
      differences: this.#differences,
      ...this.#totals,
      done: this.#done,
      longest: this.#longest,
      errors: this.#errors,
      samples: this.#samples,
      memory,
    };
  }

  async #boot(): Promise<void> {
    const { sectors } = this.#options;
    for (let index = 0; index < BACKENDS; index++) {
      const backend: SoakBackend = { index, domid: 0 as Domid, lives: 0 };
      this.#backends.push(backend);
      await this.#bootBackend(backend);
    }
    for (let index = 0; index < GUESTS; index++) {
      const bytes = new Uint8Array(new SharedArrayBuffer(Model.bytesFor(sectors)));
      const first = index * sectors;
      const guest: SoakGuest = {
        index,
        first,
        bytes,
        model: new Model(bytes, first, sectors),
        domid: 0 as Domid,
        lives: 0,
        now: zero(),
        moved: 0,
        attached: false,
        done: false,
      };
      this.#guests.push(guest);
      await this.#bootGuest(guest);
      await this.#attach(guest);
    }
  }

  /** Does one thing after another to the machine, and reports. */
  async #load(): Promise<void> {
    const { seconds, interval, linesPerLook, signal } = this.#options;
    const deeds: readonly (() => Promise<void>)[] = [
      () => this.#takeAway(this.#anyGuest()),
      () => this.#takeAway(this.#anyGuest()),
      () => this.#takeAwayAll(),
      () => this.#rebootGuest(this.#anyGuest()),
      () => this.#rebootBackend(this.#anyBackend()),
      () => this.#rebootWhileDetaching(),
      () => this.#rebootBoth(this.#anyBackend()),
    ];
    for (let line = 1; line * interval <= seconds && !signal.aborted; line++) {
      while (this.#seconds() < line * interval && !signal.aborted) {
        await sleep(Math.min(this.#restTime(), line * interval * 1000 - this.#seconds() * 1000), signal);
        this.#expectProgress();
        if (this.#seconds() < line * interval && !signal.aborted) await this.#any(deeds)();
      }
      this.#report();
      if (line % linesPerLook === 0 && !signal.aborted) await this.#look();
    }
  }

  // What is done to the machine.

  async #takeAway(guest: SoakGuest): Promise<void> {
    await this.#timed('detach', () => this.#detach(guest));
    await this.#pause(300);
    await this.#attach(guest);
  }

  async #takeAwayAll(): Promise<void> {
    await this.#timed('detach all', () => Promise.all(this.#guests.map((guest) => this.#detach(guest))));
    await Promise.all(this.#guests.map((guest) => this.#attach(guest)));
  }

  async #rebootGuest(guest: SoakGuest): Promise<void> {
    const how = await this.#kill(`guest ${guest.index}`, guest.domid);
    guest.attached = false;
    this.#settle(guest);
    await this.#timed(`guest ${how}`, () => this.#machine.toolstack.destroy(guest.domid));
    await this.#bootGuest(guest);
    await this.#attach(guest);
  }

  async #rebootBackend(backend: SoakBackend): Promise<void> {
    const how = await this.#kill(`backend ${backend.index}`, backend.domid);
    const guests = this.#guestsOf(backend);
    for (const guest of guests) guest.attached = false;
    await this.#timed(`backend ${how}`, () => this.#machine.toolstack.destroy(backend.domid));
    await this.#pause(300);
    await this.#bootBackend(backend);
    await Promise.all(guests.map((guest) => this.#attach(guest)));
  }

  /** A backend's domain is destroyed while a device of its is on its way out. */
  async #rebootWhileDetaching(): Promise<void> {
    const backend = this.#anyBackend();
    const guests = this.#guestsOf(backend);
    for (const guest of guests) guest.attached = false;
    const [guest] = guests as [SoakGuest];
    const detached = this.#machine.toolstack.detach({ ...device, frontend: guest.domid });
    await this.#pause(10);
    await this.#timed('backend destroyed in a detach', () => this.#machine.toolstack.destroy(backend.domid));
    await detached;
    await this.#bootBackend(backend);
    await Promise.all(guests.map((each) => this.#attach(each)));
  }

  /** A guest and its backend's domain end at the same time. */
  async #rebootBoth(backend: SoakBackend): Promise<void> {
    const guests = this.#guestsOf(backend);
    for (const guest of guests) guest.attached = false;
    const guest = this.#any(guests);
    this.#settle(guest);
    await this.#timed('guest and backend destroyed', () =>
      Promise.all([guest, backend].map(({ domid }) => this.#machine.toolstack.destroy(domid))),
    );
    await Promise.all([this.#bootGuest(guest), this.#bootBackend(backend)]);
    await Promise.all(guests.map((each) => this.#attach(each)));
  }

  /** Ends a domain's thread by one of the ways that there are, or leaves it to be destroyed; which. */
  async #kill(name: string, domid: Domid): Promise<string> {
    const order = this.#any(['exit', 'throw', 'destroy'] as const);
    if (order === 'destroy') return 'destroyed';
    const ended = this.#within(`${name} to end by ${order}`, this.#machine.shutdownOf(domid));
    await this.#order(domid, order);
    await ended;
    return order === 'exit' ? 'exits' : 'crashes';
  }

  async #bootGuest(guest: SoakGuest): Promise<void> {
    guest.lives++;
    guest.done = false;
    const { index, lives, first, bytes } = guest;
    const { seed, sectors } = this.#options;
    const cmdline: GuestCommandLine = {
      seed: seed ^ (index << 24) ^ Math.imul(lives, 0x9e3779b1),
      first,
      sectors,
      model: bytes,
    };
    guest.domid = await this.#machine.boot({
      name: `guest-${index}-${lives}`,
      module: guestModule,
      cmdline,
      abi: this.#any(['x86_64-abi', 'x86_32-abi'] as const),
    });
  }

  async #bootBackend(backend: SoakBackend): Promise<void> {
    backend.lives++;
    backend.domid = await this.#machine.boot({
      name: `backend-${backend.index}-${backend.lives}`,
      module: backendModule,
      blocking: this.#any([true, false]),
    });
  }

  async #attach(guest: SoakGuest): Promise<void> {
    const backend = this.#backends[guest.index % BACKENDS] as SoakBackend;
    const keys = vbdKeys({ vdev: 'xvda', params: this.#image, mode: 'w' });
    await this.#machine.toolstack.attach({ ...device, frontend: guest.domid, backend: backend.domid, keys });
    guest.attached = true;
    guest.moved = performance.now();
  }

  async #detach(guest: SoakGuest): Promise<void> {
    guest.attached = false;
    const closed = await this.#machine.toolstack.detach({ ...device, frontend: guest.domid });
    if (!closed) throw new Difference(`the backend of guest ${guest.index} did not close its disk in time`);
  }

  #order(domid: Domid, order: Order): Promise<void> {
    return this.#machine.dom0.get(XenStore).write(`/local/domain/${domid}/${ORDERS}`, order);
  }

  // What is looked at.

  /** Takes all disks away, looks at everything, and gives them back. */
  async #look(): Promise<void> {
    await Promise.all(this.#guests.map((guest) => this.#detach(guest)));
    await this.#within('all domains to come to rest', this.#machine.idle());
    for (const { name, watches: _, domid: __, ...held } of await this.#machine.ledger()) {
      for (const [what, count] of Object.entries(held)) {
        if (count !== 0) this.#differences.push(`with all devices detached, ${name} still holds ${count} ${what}`);
      }
    }
    this.#compareImage();
    this.#samples.push(sampleAt(this.#seconds(), this.#framesFree()));
    if (this.#differences.length > 0) throw new Difference('what was found is above');
    await Promise.all(this.#guests.map((guest) => this.#attach(guest)));
  }

  /** Lets the guests read their whole parts once more, and asks what is left. */
  async #finish(): Promise<void> {
    await Promise.all(this.#guests.map((guest) => this.#order(guest.domid, 'stop')));
    for (const guest of this.#guests) {
      const done$ = this.#machine.reportsOf$(guest.domid).pipe(filter((value) => isDone(value as GuestReport)));
      if (!guest.done) await this.#within(`guest ${guest.index} to finish`, firstValueFrom(done$));
    }
    this.#compareImage();
    await this.#within('nothing to be left', assertNothingLeft(this.#machine));
    if (this.#guests.some(({ model }) => model.underWay > 0)) throw new Difference('a write was never answered');
    for (const { domid } of [...this.#guests, ...this.#backends]) await this.#machine.toolstack.destroy(domid);
    this.#machine.hypervisor.frames.each((frame, owner) => {
      if (owner !== this.#machine.dom0.domid) {
        this.#differences.push(`frame ${frame} is still taken, by domain ${owner}, when all domains are gone`);
      }
    });
  }

  /** Reads the image on the host. */
  #compareImage(): void {
    const fd = openSync(this.#image, 'r');
    try {
      const words = new Int32Array(this.#options.sectors * SECTOR_WORDS);
      const bytes = new Uint8Array(words.buffer);
      for (const { index, first, model } of this.#guests) {
        readSync(fd, bytes, 0, bytes.length, first * SECTOR_SIZE);
        const difference = model.check(first, words);
        if (difference !== undefined)
          throw new Difference(`in the image, in the part of guest ${index}: ${difference}`);
      }
    } finally {
      closeSync(fd);
    }
  }

  #expectProgress(): void {
    if (this.#differences.length > 0) throw new Difference('what was found is above');
    const now = performance.now();
    for (const { index, attached, moved, now: totals } of this.#guests) {
      if (!attached || now - moved < STANDSTILL) continue;
      const text = `guest ${index} has its disk, and has got no answer for ${STANDSTILL / 1000} s`;
      throw new Difference(`${text}, after ${totals.requests} requests over ${totals.connections} links of this life`);
    }
  }

  #expectNobodyLeft(): void {
    const workers = process.getActiveResourcesInfo().filter((name) => name === 'Worker' || name === 'MessagePort');
    if (workers.length > 0)
      this.#differences.push(`when the machine has ended, there are still: ${workers.join(', ')}`);
  }

  #hear(domid: Domid, report: GuestReport): void {
    const guest = this.#guests.find((each) => each.domid === domid);
    if (guest === undefined) return;
    switch (report.event) {
      case 'stands': {
        const { requests, bytes, again, connections } = report;
        if (requests > guest.now.requests) guest.moved = performance.now();
        guest.now = { requests, bytes, again, connections };
        break;
      }
      case 'differs':
        this.#differences.push(`guest ${guest.index}: ${report.text}`);
        break;
      case 'done':
        guest.done = true;
    }
  }

  /** Adds what a guest did in this life to the whole. */
  #settle(guest: SoakGuest): void {
    for (const what of ['requests', 'bytes', 'again', 'connections'] as const) this.#totals[what] += guest.now[what];
    guest.now = zero();
  }

  #report(): void {
    const sum = (what: keyof Totals): number =>
      this.#guests.reduce((total, { now }) => total + now[what], this.#totals[what]);
    const { rss, heapUsed } = process.memoryUsage();
    const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
    const deeds = Object.values(this.#done).reduce((total, count) => total + count, 0);
    this.#options.say(
      [
        `${this.#seconds().toFixed(0).padStart(4)} s`,
        `${sum('requests')} requests, ${mib(sum('bytes'))} MiB`,
        `${sum('connections')} links, ${sum('again')} requests again`,
        `${deeds} disturbances`,
        `rss ${mib(rss)} MiB, heap ${mib(heapUsed)} MiB, ${this.#framesFree()} frames free`,
      ].join('; '),
    );
  }

  async #timed(what: string, work: () => Promise<unknown>): Promise<void> {
    const start = performance.now();
    this.#note(`${(this.#seconds()).toFixed(3)} soak: ${what}`);
    await this.#within(what, work());
    this.#done[what] = (this.#done[what] ?? 0) + 1;
    this.#longest[what] = Math.max(this.#longest[what] ?? 0, Math.round(performance.now() - start));
  }

  async #within<T>(what: string, work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Difference(`waited ${PATIENCE / 1000} s for: ${what}`)), PATIENCE);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Milliseconds until the next disturbance: time to work, or so few that what was begun last is still under way. */
  #restTime(): number {
    return this.#random.below(3) === 0 ? this.#random.below(RUSH) : this.#random.below(REST);
  }

  #pause(most: number): Promise<void> {
    return sleep(this.#random.below(most), this.#options.signal);
  }

  #any<T>(of: readonly T[]): T {
    return of[this.#random.below(of.length)] as T;
  }

  #anyGuest(): SoakGuest {
    return this.#any(this.#guests);
  }

  #anyBackend(): SoakBackend {
    return this.#any(this.#backends);
  }

  #guestsOf({ index }: SoakBackend): readonly SoakGuest[] {
    return this.#guests.filter((guest) => guest.index % BACKENDS === index);
  }

  #framesFree(): number {
    return this.#machine.hypervisor.frames.freeCount;
  }

  #seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  #note(line: string): void {
    this.#log.push(line);
    if (this.#log.length > 2 * LAST_LINES) this.#log.splice(0, LAST_LINES);
  }
}

const isDone = ({ event }: GuestReport): boolean => event === 'done';

const textOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));
