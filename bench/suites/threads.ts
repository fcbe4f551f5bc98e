import type { ClockName } from '../lib/clocks.js';
import { type Cores, notTwoCores, unpinned } from '../lib/cores.js';
import { interleave, ratios, type Samples, type Subject } from '../lib/measure.js';
import { type Readings, readings, scriptReadings, withCompiled } from '../lib/programs.js';
import { boundRow, leftOutRow, type Row, ratioRow } from '../lib/rows.js';
import type { Effort } from '../lib/suite.js';
import type { LoadOptions } from './threads/protocol.js';
import type { Spin } from './threads/spin.js';

/** What a domain's thread does when it has nothing to do: sleep in Atomics.wait, or go back to its event loop. */
type Rest = 'blocking' | 'loop';

const suite = 'threads';
const unit = 'k req/s';
/** Milliseconds of each case that are measured, in a full run. */
const LENGTH = 300;
/** Events there and back that are measured, in a full run. */
const TRIPS = 20_000;
/** Channels of the event rows: one, and all that a domain can have but for port 0 and its store's. */
const FEW = 1;
const MANY = 4094;
/** Rounds on two cores that have to be undisturbed. */
const ENOUGH = 3;

const RPC = 'MessagePort';
const FUTEX = 'C futex';
const RINGBUF = 'ringbuf.js';

/** Threads that share a core are measured by its time; those that have their own, or run anywhere, by time. */
const clockFor = (cores: Cores): ClockName => (cores === 1 && unpinned === undefined ? 'core' : 'wall');

/** Loads of this suite's domains, and the same by its peers; each runs in a process of its own. */
const casesOf = (scale: number, futex: string | undefined) => {
  const length = LENGTH * scale;
  const ms = String(length);
  const load = (cores: Cores, rest: Rest, options: Partial<LoadOptions>): Readings => {
    const all: LoadOptions = {
      depth: 32,
      length,
      clock: clockFor(cores),
      load: 'steady',
      counting: false,
      spin: 'adaptive',
      ...options,
    };
    return scriptReadings(cores, 'suites/threads/case.js', rest, JSON.stringify(all));
  };
  const rate =
    (measure: () => Readings): (() => number) =>
    () =>
      (measure().rate ?? Number.NaN) / 1e3;
  return {
    load,
    ours: (cores: Cores, rest: Rest, depth: number, spin: Spin = 'adaptive') =>
      rate(() => load(cores, rest, { depth, spin })),
    rpc: (cores: Cores, depth: number) =>
      rate(() => scriptReadings(cores, 'suites/threads/rpc.js', String(depth), ms, clockFor(cores))),
    ringbuf: (cores: Cores, depth: number) =>
      rate(() => scriptReadings(cores, 'suites/threads/ringbuf.js', String(depth), ms)),
    futex: (depth: number) =>
      futex === undefined ? undefined : rate(() => readings(1, futex, String(depth), ms, clockFor(1))),
    /** The median time of an event there and back, in microseconds. */
    event: (rest: Rest, channels: number) => () =>
      scriptReadings(1, 'suites/threads/event-case.js', rest, String(channels), String(Math.round(TRIPS * scale)))
        .p50 ?? Number.NaN,
  };
};
type Cases = ReturnType<typeof casesOf>;

interface Compared {
  readonly name: string;
  /** A subject's name, as is the peer's. */
  readonly of: string;
  readonly to: string;
  readonly peer: string;
  readonly goal?: number;
  readonly unit?: string;
  readonly wanted?: '<=';
}

/** The rows that compare two subjects; one whose peer is not there is left out, with the reason. */
const compare = (
  lines: readonly Compared[],
  samples: Samples,
  cores: Cores,
  absent: (line: Compared) => string | undefined,
): readonly Row[] =>
  lines.map(({ name, of, to, peer, ...goal }) => {
    const head = { suite, name, unit, peer, cores, ...goal };
    const why = absent({ name, of, to, peer, ...goal });
    if (why !== undefined) return leftOutRow(head, why);
    const values = samples.get(of) ?? [];
    return ratioRow(head, values, ratios(values, samples.get(to) ?? []));
  });

const oneCore: readonly Compared[] = [
  { name: 'depth 32, blocking', of: 'blocking 32', to: 'rpc 32', peer: RPC, goal: 11 },
  { name: 'depth 32, loop', of: 'loop 32', to: 'rpc 32', peer: RPC, goal: 7 },
  { name: 'depth 32, blocking, of C', of: 'blocking 32', to: 'futex 32', peer: FUTEX, goal: 0.35 },
  { name: 'depth 32, loop, of C', of: 'loop 32', to: 'futex 32', peer: FUTEX, goal: 0.22 },
  { name: 'round trip, blocking', of: 'blocking 1', to: 'rpc 1', peer: RPC, goal: 1.6 },
  { name: 'round trip, loop', of: 'loop 1', to: 'rpc 1', peer: RPC, goal: 0.95 },
  { name: 'round trip, blocking, of C', of: 'blocking 1', to: 'futex 1', peer: FUTEX },
  { name: 'round trip, loop, of C', of: 'loop 1', to: 'futex 1', peer: FUTEX },
  { name: 'adaptive spin, depth 1', of: 'blocking 1', to: 'never 1', peer: 'never spinning', goal: 0.95 },
  { name: 'adaptive spin, depth 32', of: 'blocking 32', to: 'never 32', peer: 'never spinning', goal: 0.95 },
];

const events: readonly Compared[] = (['blocking', 'loop'] as const).map((rest) => ({
  name: `event there and back, ${MANY} channels, ${rest}`,
  of: `${rest} event ${MANY}`,
  to: `${rest} event ${FEW}`,
  peer: 'one channel',
  unit: 'us',
  goal: 1.12,
  wanted: '<=' as const,
}));

const twoCores: readonly Compared[] = [
  { name: 'round trip, hot', of: 'hot 1', to: 'rpc 1', peer: RPC, goal: 200 },
  { name: 'round trip, hot, of ringbuf.js', of: 'hot 1', to: 'ringbuf 1', peer: RINGBUF, goal: 2.5 },
  { name: 'depth 8, hot, of ringbuf.js', of: 'hot 8', to: 'ringbuf 8', peer: RINGBUF, goal: 7 },
  { name: 'adaptive spin, depth 1, hot', of: 'hot 1', to: 'always 1', peer: 'always spinning', goal: 0.75 },
  { name: 'adaptive spin, depth 8, hot', of: 'hot 8', to: 'always 8', peer: 'always spinning', goal: 0.75 },
];

const onOneCore = (cases: Cases, rounds: number): readonly Row[] => {
  const futex: readonly Subject[] = [1, 32].flatMap((depth) => {
    const measure = cases.futex(depth);
    return measure === undefined ? [] : [{ name: `futex ${depth}`, measure }];
  });
  const subjects: readonly Subject[] = [
    ...[1, 32].flatMap((depth) => [
      { name: `blocking ${depth}`, measure: cases.ours(1, 'blocking', depth) },
      { name: `loop ${depth}`, measure: cases.ours(1, 'loop', depth) },
      { name: `never ${depth}`, measure: cases.ours(1, 'blocking', depth, 'never') },
      { name: `rpc ${depth}`, measure: cases.rpc(1, depth) },
    ]),
    ...futex,
    ...(['blocking', 'loop'] as const).flatMap((rest) =>
      [FEW, MANY].map((channels) => ({
        name: `${rest} event ${channels}`,
        measure: cases.event(rest, channels),
      })),
    ),
  ];
  const samples = interleave(subjects, rounds);
  const absent = ({ to }: Compared): string | undefined => (samples.has(to) ? undefined : 'no gcc');
  return compare([...oneCore, ...events], samples, 1, absent);
};

const onTwoCores = (cases: Cases, rounds: number, say: (line: string) => void): readonly Row[] => {
  const ringbuf = hasRingbuf();
  if (!ringbuf) say(`${RINGBUF} is not installed: the rows that compare with it are left out`);
  const subjects: readonly Subject[] = [1, 8].flatMap((depth) => [
    { name: `hot ${depth}`, measure: cases.ours(2, 'blocking', depth) },
    { name: `always ${depth}`, measure: cases.ours(2, 'blocking', depth, 'always') },
    { name: `rpc ${depth}`, measure: cases.rpc(2, depth) },
    ...(ringbuf ? [{ name: `ringbuf ${depth}`, measure: cases.ringbuf(2, depth) }] : []),
  ]);
  let why: string | undefined;
  const samples = interleave(subjects, rounds, () => {
    const now = notTwoCores();
    why = now ?? why;
    return now === undefined;
  });
  const undisturbed = samples.get('hot 1')?.length ?? 0;
  if (undisturbed < Math.min(ENOUGH, rounds)) say(`rows for two cores are left out: ${why}`);
  const absent = ({ to }: Compared): string | undefined => {
    if (undisturbed < Math.min(ENOUGH, rounds)) return why;
    return samples.has(to) ? undefined : `no ${RINGBUF}`;
  };
  return compare(twoCores, samples, 2, absent);
};

const hasRingbuf = (): boolean => {
  try {
    import.meta.resolve(RINGBUF);
    return true;
  } catch {
    return false;
  }
};

/** What each end sends: at depth 32 without a pause, and when an idle ring gets work. */
const doorbells = (cases: Cases, rounds: number): readonly Row[] => {
  const each = Array.from({ length: rounds }, () => ({
    steady: cases.load(1, 'blocking', { counting: true }),
    bursts: cases.load(1, 'blocking', { counting: true, load: 'bursts' }),
  }));
  const part = (of: number | undefined, among: number | undefined): number =>
    (of ?? Number.NaN) / (among ?? Number.NaN);
  const perRequest = { suite, unit: 'per req', goal: 0.022, wanted: '<=', cores: 1 } as const;
  const perBurst = { suite, unit: 'per burst', goal: 1, wanted: '=', cores: 1 } as const;
  return [
    boundRow(
      { ...perRequest, name: 'events sent to the backend, depth 32' },
      each.map(({ steady: { sends, requests } }) => part(sends, requests)),
    ),
    boundRow(
      { ...perRequest, name: 'events sent to the frontend, depth 32' },
      each.map(({ steady: { answers, served } }) => part(answers, served)),
    ),
    boundRow(
      { ...perBurst, name: 'events sent to an idle backend, 32 at once' },
      each.map(({ bursts: { sends, bursts } }) => part(sends, bursts)),
    ),
    boundRow(
      { ...perBurst, name: 'events sent to an idle frontend, 32 answers' },
      each.map(({ bursts: { answers, served } }) => part(answers, part(served, 32))),
    ),
  ];
};

/** Two domains on threads with a blkif ring between them, against MessagePort, ringbuf.js, and two threads in C. */
export const threads = ({ rounds, scale }: Effort, say: (line: string) => void): readonly Row[] =>
  withCompiled('bench/peers/futex.c', (futex, missing) => {
    if (missing !== undefined) say(missing);
    const cases = casesOf(scale, futex);
    return [...onOneCore(cases, rounds), ...doorbells(cases, rounds), ...onTwoCores(cases, rounds, say)];
  });
