import { median } from './measure.js';

/** One line of a suite's result, as `--json` writes it. */
export interface Row {
  readonly suite: string;
  readonly name: string;
  /** The median of the rounds. */
  readonly value: number;
  readonly unit: string;
  /** What it is compared with; undefined: with nothing, or the peer is not on this machine. */
  readonly peer?: string;
  /** The median of the rounds' ratios to the peer. */
  readonly ratio?: number;
  /** The least and the greatest of the rounds: of the ratio where there is a peer, else of the value. */
  readonly min: number;
  readonly max: number;
  /** What the ratio, or the value, is to be: at least for a ratio, below for a value. */
  readonly goal?: number;
  readonly met?: boolean;
  readonly note?: string;
}

/** A row that compares with a peer. `goal`: the ratio that it should reach; `missed`: the note when it does not. */
export const ratioRow = (
  {
    missed,
    ...head
  }: Pick<Row, 'suite' | 'name' | 'unit'> & {
    readonly peer: string;
    readonly goal?: number;
    readonly missed?: string;
  },
  values: readonly number[],
  perRound: readonly number[],
): Row => {
  const ratio = median(perRound);
  return {
    ...head,
    value: median(values),
    ratio,
    min: Math.min(...perRound),
    max: Math.max(...perRound),
    ...(head.goal === undefined ? {} : { met: ratio >= head.goal }),
    ...(head.goal === undefined || ratio >= head.goal || missed === undefined ? {} : { note: missed }),
  };
};

/** A row whose value is to stay below its goal. */
export const boundRow = (
  head: Pick<Row, 'suite' | 'name' | 'unit'> & { readonly goal: number; readonly note?: string },
  values: readonly number[],
): Row => {
  const value = median(values);
  return { ...head, value, min: Math.min(...values), max: Math.max(...values), met: value < head.goal };
};

/** A row without anything to compare. */
export const plainRow = (
  head: Pick<Row, 'suite' | 'name' | 'unit'> & { readonly note?: string },
  values: readonly number[],
): Row => ({ ...head, value: median(values), min: Math.min(...values), max: Math.max(...values) });

const digits = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));

const goalText = ({ ratio, goal, met }: Row): string => {
  if (goal === undefined) return '';
  const wanted = ratio === undefined ? `< ${goal}` : `>= ${goal}`;
  return `${wanted}  ${met === true ? 'met' : 'MISSED'}`;
};

/** The rows as a table for a terminal. */
export const table = (rows: readonly Row[]): string => {
  const cells = [
    ['', '', 'of peer', 'min..max', 'goal', ''],
    ...rows.map((row) => [
      row.name,
      `${digits(row.value)} ${row.unit}`,
      row.ratio === undefined ? '' : `${row.ratio.toFixed(3)} ${row.peer ?? ''}`,
      `${digits(row.min)}..${digits(row.max)}`,
      goalText(row),
      row.note ?? '',
    ]),
  ];
  const widths = cells.reduce<number[]>((all, line) => line.map((cell, i) => Math.max(all[i] ?? 0, cell.length)), []);
  return cells
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
};
