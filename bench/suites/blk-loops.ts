// What the cases of the suite `blk` do: reads of a file, by Node's own calls and through a disk's frontend.
import { closeSync, fstatSync, openSync, read, readSync } from 'node:fs';
import { asSector, type Sector } from '../../core/index.js';
import { type BlockDevice, REQUEST_BYTES, type RequestPages } from '../../drivers/blk/index.js';

/** What a case does: reads of so many bytes, so many at once, one after another or anywhere on the file. */
export interface Load {
  readonly file: string;
  readonly bytes: number;
  readonly depth: number;
  readonly sequential: boolean;
  readonly ms: number;
  /** Compare every read with the file instead of timing; or time by the processor's time that the process has had, or by the clock. */
  readonly mode: 'check' | 'processor' | 'clock';
}

/** Where the next read is, in bytes: the same numbers for every case. */
const positions = ({ bytes, sequential }: Load, size: number): (() => number) => {
  const blocks = Math.floor(size / bytes);
  const state = { x: 12345, at: 0 };
  if (sequential) {
    return () => {
      const at = state.at;
      state.at = at + 1 === blocks ? 0 : at + 1;
      return at * bytes;
    };
  }
  return () => {
    state.x = (Math.imul(state.x, 1664525) + 1013904223) | 0;
    return ((state.x >>> 0) % blocks) * bytes;
  };
};

/**
 * Seconds; of the processor, those that all threads of this process have had. On one core, which is never idle here, that is the time
 * that the reads took, without what other programs on the machine took of it.
 */
const seconds = (mode: Load['mode']): number => {
  if (mode === 'clock') return performance.now() / 1e3;
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** How long the compiler is given first, in seconds. */
const WARM_UP = 0.4;

/** Counts what is done; says when it is time to stop. The first reads are for the compiler and are not counted. */
class Meter {
  readonly #load: Load;
  #done = 0;
  #start = 0;
  #end: number;
  #warm = false;
  rate = 0;

  constructor(load: Load) {
    this.#load = load;
    this.#end = seconds(load.mode) + WARM_UP;
  }

  /** Whether to go on. */
  count(): boolean {
    this.#done = (this.#done + 1) | 0;
    return (this.#done & 4095) !== 0 || this.#look();
  }

  #look(): boolean {
    const now = seconds(this.#load.mode);
    if (now < this.#end) return true;
    if (this.#warm) {
      this.rate = this.#done / (now - this.#start);
      return false;
    }
    this.#warm = true;
    this.#done = 0;
    this.#start = now;
    this.#end = now + this.#load.ms / 1e3;
    return true;
  }
}

const withFile = async <T>(file: string, work: (fd: number, size: number) => T | Promise<T>): Promise<T> => {
  const fd = openSync(file, 'r');
  try {
    return await work(fd, fstatSync(fd).size);
  } finally {
    closeSync(fd);
  }
};

/** fs.readSync straight into shared memory, as the backend's is. */
export const readSyncLoop = (load: Load): Promise<number> =>
  withFile(load.file, (fd, size) => {
    const next = positions(load, size);
    const { bytes, depth } = load;
    const buffer = new Uint8Array(new SharedArrayBuffer(bytes * depth));
    const meter = new Meter(load);
    for (let i = 0; ; i = i + 1 === depth ? 0 : i + 1) {
      readSync(fd, buffer, i * bytes, bytes, next());
      if (!meter.count()) return meter.rate;
    }
  });

/** fs.read with `depth` callbacks under way. */
export const readLoop = (load: Load): Promise<number> =>
  withFile(
    load.file,
    (fd, size) =>
      new Promise<number>((resolve, reject) => {
        const next = positions(load, size);
        const { bytes, depth } = load;
        const buffer = new Uint8Array(new SharedArrayBuffer(bytes * depth));
        const meter = new Meter(load);
        const state = { left: depth };
        const go = (i: number): void =>
          read(fd, buffer, i * bytes, bytes, next(), (error) => {
            if (error !== null) reject(error);
            else if (meter.rate === 0 && meter.count()) go(i);
            else if (--state.left === 0) resolve(meter.rate);
          });
        for (let i = 0; i < depth; i++) go(i);
      }),
  );

/** Compares what was read with the file. @throws Error where they differ */
const comparer = (file: string): ((found: Uint8Array, at: number) => void) => {
  const fd = openSync(file, 'r');
  const expected = new Uint8Array(1 << 20);
  return (found, at) => {
    readSync(fd, expected, 0, found.length, at);
    if (Buffer.compare(found, expected.subarray(0, found.length)) !== 0) {
      throw new Error(`${found.length} bytes at ${at} are not those of the file`);
    }
  };
};

/** How many reads a checking run makes. */
const CHECKED = 20_000;

/** The callback tier where a read is one request: `depth` of them under way. */
const oneEach = (disk: BlockDevice, load: Load): Promise<number> =>
  new Promise((resolve, reject) => {
    const { requests } = disk;
    const { bytes, depth } = load;
    const next = positions(load, disk.sectors * 512);
    const meter = new Meter(load);
    const compare = load.mode === 'check' ? comparer(load.file) : undefined;
    /** By request: where it is, in units of 512 bytes. */
    const sectors = new Int32Array(requests.entries);
    const state = { running: depth, checked: 0 };
    const begin = (): void => {
      const sector = next() / 512;
      const id = requests.read(sector as Sector, bytes, done);
      sectors[id] = sector;
    };
    const done = (id: number, pages: RequestPages, error: Error | undefined): void => {
      if (error !== undefined) {
        reject(error);
        return;
      }
      if (compare !== undefined) {
        try {
          for (let p = 0; p < pages.length; p++) compare(pages.at(p), (sectors[id] as number) * 512 + p * 4096);
        } catch (wrong) {
          reject(wrong);
        }
        state.checked++;
      }
      if (compare === undefined ? meter.rate === 0 && meter.count() : state.checked < CHECKED) begin();
      else if (--state.running === 0) resolve(compare === undefined ? meter.rate : state.checked);
    };
    for (let i = 0; i < depth; i++) begin();
    requests.push();
  });

/** The callback tier where a read may take several requests: `depth` reads under way. */
const severalEach = (disk: BlockDevice, load: Load): Promise<number> =>
  new Promise((resolve, reject) => {
    const { requests } = disk;
    const { bytes, depth } = load;
    const next = positions(load, disk.sectors * 512);
    const meter = new Meter(load);
    const compare = load.mode === 'check' ? comparer(load.file) : undefined;
    /** By read: where it is, the bytes that were not sent, the requests that were not answered. */
    const at = new Float64Array(depth);
    const unsent = new Int32Array(depth);
    const unanswered = new Int32Array(depth);
    /** By request: the read that it is of, and where it is. */
    const reads = new Int32Array(requests.entries);
    const places = new Float64Array(requests.entries);
    /** Reads that have something to send, in turn. */
    const waiting: number[] = [];
    const state = { running: depth, checked: 0 };
    const begin = (i: number): void => {
      at[i] = next();
      unsent[i] = bytes;
      waiting.push(i);
    };
    const pump = (): void => {
      while (waiting.length > 0) {
        const i = waiting[0] as number;
        while ((unsent[i] as number) > 0) {
          const left = unsent[i] as number;
          const part = Math.min(left, REQUEST_BYTES);
          const place = (at[i] as number) + bytes - left;
          const id = requests.read(asSector(place / 512), part, done);
          if (id < 0) return;
          reads[id] = i;
          places[id] = place;
          unsent[i] = left - part;
          unanswered[i] = (unanswered[i] as number) + 1;
        }
        waiting.shift();
      }
    };
    const done = (id: number, pages: RequestPages, error: Error | undefined): void => {
      if (error !== undefined) {
        reject(error);
        return;
      }
      const i = reads[id] as number;
      if (compare !== undefined) {
        try {
          for (let p = 0; p < pages.length; p++) compare(pages.at(p), (places[id] as number) + p * 4096);
        } catch (wrong) {
          reject(wrong);
        }
      }
      unanswered[i] = (unanswered[i] as number) - 1;
      if (unanswered[i] === 0 && unsent[i] === 0) {
        const more = compare === undefined ? meter.rate === 0 && meter.count() : ++state.checked < CHECKED;
        if (more) begin(i);
        else if (--state.running === 0) resolve(compare === undefined ? meter.rate : state.checked);
      }
      pump();
    };
    for (let i = 0; i < depth; i++) begin(i);
    pump();
    requests.push();
  });

const requestsLoop: DiskLoop = (disk, load) => (load.bytes > REQUEST_BYTES ? severalEach : oneEach)(disk, load);

/** The promise tier: `depth` calls of `read` under way. */
const deviceLoop = async (disk: BlockDevice, load: Load): Promise<number> => {
  const { bytes, depth, mode, file } = load;
  const next = positions(load, disk.sectors * 512);
  const meter = new Meter(load);
  const compare = mode === 'check' ? comparer(file) : undefined;
  const state = { checked: 0 };
  const one = async (): Promise<void> => {
    const into = new Uint8Array(bytes);
    for (;;) {
      const at = next();
      await disk.read(asSector(at / 512), into);
      compare?.(into, at);
      const more = compare !== undefined ? ++state.checked < CHECKED : meter.rate === 0 && meter.count();
      if (!more) return;
    }
  };
  await Promise.all(Array.from({ length: depth }, one));
  return compare === undefined ? meter.rate : state.checked;
};

/** A way of reading through a disk's frontend. */
export type DiskLoop = (disk: BlockDevice, load: Load) => Promise<number>;

/** The ways there are. */
export const diskLoops = { requests: requestsLoop, device: deviceLoop } as const satisfies Readonly<
  Record<string, DiskLoop>
>;
