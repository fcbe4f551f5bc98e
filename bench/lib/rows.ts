import type { Cores } from './cores.js';
import { median } from './measure.js';

/** How a figure is to stand to its goal. */
export type Wanted = '>=' | '<=' | '<' | '=';

/** One line of a suite's result, as `--json` writes it. */
export interface Row {
  readonly suite: string;
  readonly name: string;
  /** The median of the rounds; NaN when the row was left out. */
  readonly value: number;
  readonly unit: string;
  /** What it is compared with; undefined: with nothing, or the peer is not on this machine. */
  readonly peer?: string;
  /** The median of the rounds' ratios to the peer. */
  readonly ratio?: number;
  /** The least and the greatest of the rounds: of the ratio where there is a peer, else of the value. */
  readonly min: number;
  readonly max: number;
  /** What the ratio is to be, or the value where there is no peer. */
  readonly goal?: number;
  /** How the figure is to stand to the goal; without it at least for a ratio, below for a value. */
  readonly wanted?: Wanted;
  readonly met?: boolean;
  /** The cores that it ran on; without it one, as far as anything was pinned. */
  readonly cores?: Cores;
  readonly note?: string;
}

/** What a row begins with. */
type Head = Pick<Row, 'suite' | 'name' | 'unit' | 'cores'>;

const holds: Readonly<Record<Wanted, (figure: number, goal: number) => boolean>> = {
  '>=': (figure, goal) => figure >= goal,
  '<=': (figure, goal) => figure <= goal,
  '<': (figure, goal) => figure < goal,
  '=': (figure, goal) => figure === goal,
};

/** What a row's goal applies to. */
export const figureOf = ({ ratio, value }: Pick<Row, 'ratio' | 'value'>): number => ratio ?? value;

/** How a row's figure is to stand to its goal. */
export const wantedOf = ({ wanted, peer }: Pick<Row, 'wanted' | 'peer'>): Wanted =>
  wanted ?? (peer === undefined ? '<' : '>=');

/** Whether a row was left out: its note says why. */
export const isLeftOut = ({ value }: Row): boolean => Number.isNaN(value);

const judged = (row: Row, missed?: string): Row => {
  if (row.goal === undefined) return row;
  const met = holds[wantedOf(row)](figureOf(row), row.goal);
  return { ...row, met, ...(met || missed === undefined ? {} : { note: missed }) };
};

/** A row that compares with a peer. `goal`: the ratio that it should reach; `missed`: the note when it does not. */
export const ratioRow = (
  {
    missed,
    ...head
  }: Head & {
    readonly peer: string;
    readonly goal?: number;
    readonly wanted?: Wanted;
    readonly missed?: string;
    readonly note?: string;
  },
  values: readonly number[],
  perRound: readonly number[],
): Row =>
  judged(
    {
      ...head,
      value: median(values),
      ratio: median(perRound),
      min: Math.min(...perRound),
      max: Math.max(...perRound),
    },
    missed,
  );

/** A row whose value is to stay below its goal, or to stand to it as `wanted` says. */
export const boundRow = (
  {
    missed,
    ...head
  }: Head & {
    readonly goal: number;
    readonly wanted?: Wanted;
    readonly missed?: string;
    readonly note?: string;
  },
  values: readonly number[],
): Row => judged({ ...head, value: median(values), min: Math.min(...values), max: Math.max(...values) }, missed);

/** A row without anything to compare. */
export const plainRow = (head: Head & { readonly note?: string }, values: readonly number[]): Row => ({
  ...head,
  value: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
});

/** A row that could not be measured; it says why, and has neither figures nor a verdict. */
export const leftOutRow = (
  head: Head & { readonly peer?: string; readonly goal?: number; readonly wanted?: Wanted },
  why: string,
): Row => ({ ...head, value: Number.NaN, min: Number.NaN, max: Number.NaN, note: `left out: ${why}` });
