import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { median } from '../lib/measure.js';

/** What the process and the machine hold at a moment when no device is attached. */
export interface Sample {
  /** Seconds since the start. */
  readonly at: number;
  /** Bytes of the whole process, in memory. */
  readonly rss: number;
  /** Bytes in use on the heap of the machine's own thread, after a collection. */
  readonly heapUsed: number;
  /** Frames of the machine that nobody has. */
  readonly freeFrames: number;
}

/** How much more of something the last third of a run may hold than the first: a part of it, and so many on top. */
interface Tolerance {
  readonly what: keyof Omit<Sample, 'at'>;
  readonly part: number;
  readonly more: number;
  readonly show: (value: number) => string;
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

export const tolerances: readonly Tolerance[] = [
  { what: 'rss', part: 0.1, more: 16 * 2 ** 20, show: mib },
  { what: 'heapUsed', part: 0.1, more: 2 ** 20, show: mib },
  { what: 'freeFrames', part: 0, more: 16, show: String },
];

/** Samples that there must be before thirds of them are compared. */
export const ENOUGH = 6;

const collector = (): (() => void) => {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
};
let collect: (() => void) | undefined;

export const sampleAt = (at: number, freeFrames: number): Sample => {
  collect ??= collector();
  collect();
  const { rss, heapUsed } = process.memoryUsage();
  return { at, rss, heapUsed, freeFrames };
};

export interface Comparison {
  readonly what: string;
  readonly first: number;
  readonly last: number;
  readonly flat: boolean;
  /** The two, and what was allowed. */
  readonly text: string;
}

/** Compares the median of the last third with that of the first; undefined when there are too few to say. */
export const compareThirds = (samples: readonly Sample[]): readonly Comparison[] | undefined => {
  if (samples.length < ENOUGH) return undefined;
  const third = Math.floor(samples.length / 3);
  return tolerances.map(({ what, part, more, show }) => {
    const of = (some: readonly Sample[]): number => median(some.map((sample) => sample[what]));
    const [first, last] = [of(samples.slice(0, third)), of(samples.slice(-third))];
    // Of free frames fewer are worse, of all else more.
    const growth = what === 'freeFrames' ? first - last : last - first;
    const allowed = part * first + more;
    return {
      what,
      first,
      last,
      flat: growth <= allowed,
      text: `${what} ${show(first)} in the first third, ${show(last)} in the last (it may ${what === 'freeFrames' ? 'fall' : 'grow'} by ${show(allowed)})`,
    };
  });
};
