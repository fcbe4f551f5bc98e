import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { runs } from './cores.js';
import { isLeftOut, type Row } from './rows.js';

/** Where and when a suite was measured. */
export interface Run {
  /** ISO 8601, UTC, to the minute. */
  readonly time: string;
  readonly rounds: number;
  readonly node: string;
  /** The C compiler's version; undefined where there is none. */
  readonly gcc: string | undefined;
  readonly processors: number;
  /** The load of the minute before the run. */
  readonly load: number;
}

/** A row of a document; `time` where it was not measured in its suite's last run, for that had to leave it out. */
export type KeptRow = Row & { readonly time?: string };

/** One suite's last results. */
export interface SuiteResults {
  readonly run: Run;
  readonly rows: readonly KeptRow[];
}

/** The last results of each suite, by name. */
export type Results = Readonly<Record<string, SuiteResults>>;

/** Where and when this is. */
export const thisRun = (rounds: number): Run => ({
  time: `${new Date().toISOString().slice(0, 16)}Z`,
  rounds,
  node: process.versions.node,
  gcc: runs('gcc', '--version') ? execFileSync('gcc', ['-dumpfullversion'], { encoding: 'utf8' }).trim() : undefined,
  processors: availableParallelism(),
  load: Number((loadavg()[0] ?? Number.NaN).toFixed(2)),
});

/** Every row with every member: JSON has no other word for what is not there than null. */
export const complete = (row: KeptRow): object => {
  const { suite, name, value, unit, peer, ratio, min, max, goal, wanted, met, cores, note, time } = row;
  return {
    suite,
    name,
    value,
    unit,
    peer: peer ?? null,
    ratio: ratio ?? null,
    min,
    max,
    goal: goal ?? null,
    wanted: wanted ?? null,
    met: met ?? null,
    cores: cores ?? null,
    note: note ?? null,
    ...(time === undefined ? {} : { time }),
  };
};

/** A row as {@link complete} has written it. */
const revived = (written: Record<string, unknown>): KeptRow => {
  const row: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(written)) if (value !== null) row[key] = value;
  // NaN is null in JSON: a row that was left out.
  return { value: Number.NaN, min: Number.NaN, max: Number.NaN, ...row } as unknown as KeptRow;
};

/**
 * The results with those of a new run in the place of the same suites' former ones. A row that had to be left out now, and was
 * measured before, stands with its former figures and the time of them.
 */
export const merged = (former: Results, run: Run, rows: readonly Row[]): Results => {
  const results: Record<string, SuiteResults> = { ...former };
  for (const suite of new Set(rows.map((row) => row.suite))) {
    const before = former[suite];
    const kept = (row: Row): KeptRow => {
      const earlier = before?.rows.find(({ name }) => name === row.name);
      if (before === undefined || earlier === undefined || !isLeftOut(row) || isLeftOut(earlier)) return row;
      return { ...earlier, time: earlier.time ?? before.run.time };
    };
    results[suite] = { run, rows: rows.filter((row) => row.suite === suite).map(kept) };
  }
  return results;
};

/** Results as JSON. */
export const written = (results: Results): string => {
  const document = Object.entries(results).map(([suite, { run, rows }]) => [
    suite,
    { run: { ...run, gcc: run.gcc ?? null }, rows: rows.map(complete) },
  ]);
  return `${JSON.stringify(Object.fromEntries(document), undefined, 2)}\n`;
};

/** Results from JSON. */
export const read = (json: string): Results => {
  const document = JSON.parse(json) as Record<string, { run: Run; rows: Record<string, unknown>[] }>;
  return Object.fromEntries(
    Object.entries(document).map(([suite, { run, rows }]) => [
      suite,
      { run: { ...run, gcc: run.gcc ?? undefined }, rows: rows.map(revived) },
    ]),
  );
};

/** The results in a file; none where there is no such file. */
export const readFile = (file: string): Results => (existsSync(file) ? read(readFileSync(file, 'utf8')) : {});
