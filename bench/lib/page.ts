import type { KeptRow, SuiteResults } from './results.js';
import { markdownTable } from './table.js';

const begin = (suite: string): string => `<!-- bench:${suite} -->`;
const end = (suite: string): string => `<!-- /bench:${suite} -->`;

const noted = ({ time, ...row }: KeptRow): KeptRow =>
  time === undefined ? row : { ...row, note: [...(row.note === undefined ? [] : [row.note]), `of ${time}`].join('; ') };

/** A suite's results as they stand between the page's markers. */
export const section = ({ run, rows }: SuiteResults): string => {
  const { time, node, gcc, processors, rounds, load } = run;
  const head = [
    time,
    `Node ${node}`,
    ...(gcc === undefined ? [] : [`gcc ${gcc}`]),
    `${processors} processors`,
    `${rounds} rounds`,
    `load ${load}`,
  ].join(', ');
  return `${head}.\n\n${markdownTable(rows.map(noted))}`;
};

/**
 * The page with a suite's results between its markers, which are HTML comments; what stands outside of them is left as it is.
 * @throws Error when the page has no markers for the suite
 */
export const withResults = (page: string, suite: string, results: SuiteResults): string => {
  const from = page.indexOf(begin(suite));
  const to = page.indexOf(end(suite), from);
  if (from < 0 || to < 0) {
    throw new Error(`the page has no place for ${suite}: it takes a line ${begin(suite)} and a line ${end(suite)}`);
  }
  return `${page.slice(0, from + begin(suite).length)}\n${section(results)}\n${page.slice(to)}`;
};
