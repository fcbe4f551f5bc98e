import { isLeftOut, type Row, wantedOf } from './rows.js';

/** Three digits, or all that are before the point. */
export const digits = (value: number): string => {
  if (Number.isNaN(value)) return '-';
  return Math.abs(value) >= 100 || value === 0 ? value.toFixed(0) : value.toPrecision(3);
};

/** A row's verdict: nothing without a goal. */
export const goalText = (row: Row): string => {
  const { goal, met } = row;
  if (goal === undefined) return '';
  return `${wantedOf(row)} ${goal}${met === undefined ? '' : met ? '  met' : '  MISSED'}`;
};

/** What a row's least and greatest rounds were. */
export const spanText = (row: Row): string => (isLeftOut(row) ? '' : `${digits(row.min)}..${digits(row.max)}`);

/** What a row tells beside its figures. */
export const noteText = ({ cores, note }: Row): string =>
  [...(cores === 2 ? ['two cores'] : []), ...(note === undefined ? [] : [note])].join('; ');

/** Columns side by side, each as wide as its widest cell. */
const aligned = (cells: readonly (readonly string[])[]): string => {
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

/** The rows as a table for a terminal. */
export const table = (rows: readonly Row[]): string =>
  aligned([
    ['', '', 'of peer', 'min..max', 'goal', ''],
    ...rows.map((row) => [
      row.name,
      isLeftOut(row) ? '-' : `${digits(row.value)} ${row.unit}`,
      row.ratio === undefined ? '' : `${digits(row.ratio)} ${row.peer ?? ''}`,
      spanText(row),
      goalText(row),
      noteText(row),
    ]),
  ]);

/** The rows as a table in Markdown. */
export const markdownTable = (rows: readonly Row[]): string => {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('MISSED', '**missed**');
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;
  return [
    line(['row', 'median', 'ratio', 'min..max', 'goal', '']),
    '|---|---|---|---|---|---|',
    ...rows.map((row) =>
      line([
        row.name,
        isLeftOut(row) ? '-' : `${digits(row.value)} ${row.unit}`,
        row.ratio === undefined ? '' : `${digits(row.ratio)} of ${row.peer ?? ''}`,
        spanText(row),
        goalText(row).replace('  ', ', '),
        noteText(row),
      ]),
    ),
  ].join('\n');
};
