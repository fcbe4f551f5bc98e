import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { type Row, table } from './lib/rows.js';
import { blk } from './suites/blk.js';
import { copy } from './suites/copy.js';
import { events } from './suites/events.js';
import { type Effort, ring } from './suites/ring.js';
import { start } from './suites/start.js';

const suites: Readonly<Record<string, (effort: Effort, say: (line: string) => void) => readonly Row[]>> = {
  ring,
  copy,
  events,
  blk,
  start,
};

/** Every row with every member: JSON has no other word for what is not there than null. */
const complete = ({ suite, name, value, unit, peer, ratio, min, max, goal, met, note }: Row): object => ({
  suite,
  name,
  value,
  unit,
  peer: peer ?? null,
  ratio: ratio ?? null,
  min,
  max,
  goal: goal ?? null,
  met: met ?? null,
  note: note ?? null,
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

new Command('npm run bench --')
  .description('Measures, interleaved with peers, and prints medians and ratios.')
  .argument('[suites...]', `of ${Object.keys(suites).join(', ')}; all without one`)
  .option('--json <file>', 'write the rows to a file too')
  .option('--quick', 'three short rounds instead of five')
  .action((names: readonly string[], options: { readonly json?: string; readonly quick?: boolean }) => {
    const unknown = names.find((name) => !Object.hasOwn(suites, name));
    if (unknown !== undefined) {
      process.stderr.write(`bench: there is no suite ${unknown}; there are ${Object.keys(suites).join(', ')}\n`);
      process.exitCode = 2;
      return;
    }
    const effort: Effort = options.quick === true ? { rounds: 3, scale: 0.5 } : { rounds: 5, scale: 1 };
    const rows = Object.entries(suites)
      .filter(([name]) => names.length === 0 || names.includes(name))
      .flatMap(([, suite]) => suite(effort, say));
    say(table(rows));
    if (options.json !== undefined) {
      writeFileSync(options.json, `${JSON.stringify({ rows: rows.map(complete) }, undefined, 2)}\n`);
    }
  })
  .parse();
