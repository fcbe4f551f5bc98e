import { notTwoCores } from '../lib/cores.js';
import { median } from '../lib/measure.js';
import { type Readings, scriptReadings } from '../lib/programs.js';
import { leftOutRow, plainRow, type Row, ratioRow } from '../lib/rows.js';
import type { Effort } from '../lib/suite.js';
import type { Pace, Storm } from './storm/protocol.js';

const suite = 'storm';
/** Milliseconds of each window, in a full run. */
const LENGTH = 200;
/** Of undisturbed (XSA-391). */
const GOAL = 0.8;
/** Rounds that have to be undisturbed by others on the machine. */
const ENOUGH = 3;
const CALM = 'undisturbed';
const DECOY = 'the same events lost';

const storms: Readonly<Record<Storm, string>> = {
  backend: 'blk of a guest, storm at its backend',
  store: 'store of a guest, storm at the store',
  guest: 'blk of a guest, storm of another backend',
};
const paces: Readonly<Record<Pace, string>> = { bursts: '100 a ms', even: 'evenly' };

/** A case's rounds as rows. */
const rowsOf = (storm: Storm, pace: Pace, rounds: readonly Readings[], why: string | undefined): readonly Row[] => {
  const of = (what: string): readonly number[] => rounds.map((round) => round[what] ?? Number.NaN);
  const head = (peer: string) =>
    ({ suite, name: `${storms[storm]}, ${paces[pace]}`, unit: 'k req/s', peer, cores: 2 }) as const;
  const calm = { ...head(CALM), ...(pace === 'bursts' ? { goal: GOAL } : {}) };
  const decoy = { ...head(DECOY), goal: GOAL };
  if (why !== undefined) return [leftOutRow(calm, why), leftOutRow(decoy, why)];
  const rates = of('rate').map((rate) => rate / 1e3);
  return [ratioRow(calm, rates, of('ofCalm')), ratioRow(decoy, rates, of('ofDecoy'))];
};

/**
 * What 10^5 spurious events a second of one domain leave of another's throughput (XSA-391, XSA-332), against the time before, and against
 * the same domain raising as many events that reach nobody: what is lost then is the events', not the share of two cores that a third
 * thread takes for itself, which is the host's to give. Raised evenly, it wakes thousands of times a second, and takes much.
 */
export const storm = ({ rounds, scale }: Effort, say: (line: string) => void): readonly Row[] => {
  const cases = (Object.keys(storms) as Storm[]).flatMap((kind) =>
    (Object.keys(paces) as Pace[]).map((pace) => ({ kind, pace, readings: [] as Readings[] })),
  );
  let busy: string | undefined;
  for (let round = 0; round < rounds; round++) {
    for (const { kind, pace, readings } of cases) {
      const before = notTwoCores();
      busy = before ?? busy;
      if (before !== undefined) continue;
      const measured = scriptReadings(2, 'suites/storm/case.js', kind, pace, String(LENGTH * scale));
      const after = notTwoCores();
      busy = after ?? busy;
      if (after === undefined) readings.push(measured);
    }
  }
  const why = (readings: readonly Readings[]): string | undefined =>
    readings.length >= Math.min(ENOUGH, rounds) ? undefined : (busy ?? 'machine busy');
  if (cases.some(({ readings }) => why(readings) !== undefined)) say(`rows of the storm suite are left out: ${busy}`);
  const raised = cases.flatMap(({ readings }) => readings.map((each) => (each.raised ?? Number.NaN) / 1e3));
  return [
    ...cases.flatMap(({ kind, pace, readings }) => rowsOf(kind, pace, readings, why(readings))),
    ...(median(raised) > 0 ? [plainRow({ suite, name: 'events raised', unit: 'k/s', cores: 2 }, raised)] : []),
  ];
};
