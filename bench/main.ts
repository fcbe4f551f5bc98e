import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { errorText } from '../core/errors.js';
import { unpinned } from './lib/cores.js';
import { withResults } from './lib/page.js';
import { plot } from './lib/plot.js';
import { complete, merged, readFile, thisRun, written } from './lib/results.js';
import type { Row } from './lib/rows.js';
import { full, quick, type Suite } from './lib/suite.js';
import { table } from './lib/table.js';
import { blk } from './suites/blk.js';
import { copy } from './suites/copy.js';
import { events } from './suites/events.js';
import { net } from './suites/net.js';
import { ring } from './suites/ring.js';
import { start } from './suites/start.js';
import { storm } from './suites/storm.js';
import { threads } from './suites/threads.js';

/** The suites by name, in the order in which all of them run. */
const suites: Readonly<Record<string, Suite>> = {
  ring,
  copy,
  events,
  threads,
  blk,
  net,
  storm,
  start,
};

interface Options {
  readonly json?: string;
  readonly quick?: true;
  readonly docs?: true;
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** What is wrong with the command; undefined when nothing is. */
const mistake = (names: readonly string[], options: Options): string | undefined => {
  const unknown = names.find((name) => !Object.hasOwn(suites, name));
  if (unknown !== undefined) return `there is no suite ${unknown}; there are ${Object.keys(suites).join(', ')}`;
  if (options.quick === true && options.docs === true) {
    return '--docs publishes whole runs: leave one of --quick and --docs out';
  }
  if (options.json !== undefined) {
    // Tried before anything is measured.
    try {
      closeSync(openSync(options.json, 'a'));
    } catch (error) {
      return `--json cannot write its file: ${errorText(error)}`;
    }
  }
  return undefined;
};

/** Puts the results into the page, beside those of the suites that did not run, and draws them all. */
const publish = (rows: readonly Row[], run: ReturnType<typeof thisRun>): void => {
  const file = (name: string): string =>
    fileURLToPath(new URL(`docs/${name}`, import.meta.resolve('splitring/package.json')));
  const results = merged(readFile(file('performance.json')), run, rows);
  let page = readFileSync(file('performance.md'), 'utf8');
  for (const [suite, its] of Object.entries(results)) page = withResults(page, suite, its);
  writeFileSync(file('performance.json'), written(results));
  writeFileSync(file('performance.md'), page);
  writeFileSync(file('performance.svg'), plot(results));
};

await new Command('npm run bench --')
  .description('Measures, interleaved with peers, and prints medians and ratios.')
  .argument('[suites...]', `of ${Object.keys(suites).join(', ')}; all without one`)
  .option('--json <file>', 'write the rows to a file too')
  .option('--quick', 'three short rounds instead of five')
  .option('--docs', 'put the results into docs/performance.md and draw them')
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  .action(async (names: readonly string[], options: Options) => {
    const wrong = mistake(names, options);
    if (wrong !== undefined) {
      process.stderr.write(`bench: ${wrong}\n`);
      process.exitCode = 2;
      return;
    }
    if (unpinned !== undefined) say(unpinned);
    const effort = options.quick === true ? quick : full;
    const run = thisRun(effort.rounds);
    const rows: Row[] = [];
    for (const [name, suite] of Object.entries(suites)) {
      if (names.length > 0 && !names.includes(name)) continue;
      const more = await suite(effort, say);
      say(`${name}\n${table(more)}\n`);
      rows.push(...more);
      // At once: what a later suite fails by is not to cost the results of this one.
      if (options.docs === true) publish(more, run);
    }
    const missed = rows.filter(({ met }) => met === false).length;
    const judged = rows.filter(({ met }) => met !== undefined).length;
    say(`${judged - missed} of ${judged} goals met`);
    if (options.json !== undefined) {
      writeFileSync(options.json, `${JSON.stringify({ rows: rows.map(complete) }, undefined, 2)}\n`);
    }
  })
  .parseAsync();
