import { closeSync, openSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { errorText } from '../../core/index.js';
import { inMemory } from './folder.js';
import { ENOUGH } from './memory.js';
import { Soak, type SoakResult } from './soak.js';

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly json?: string;
}

/** Lines of a whole run, and the seconds between two at least and at most. */
const LINES = 60;
const INTERVAL = { least: 1, most: 10 };
const LINES_PER_LOOK = 3;
/** Sectors of a guest's part: 4 MiB. */
const SECTORS = 8192;

const minutes = (text: string): number => {
  const value = Number(text);
  if (!(value > 0 && value <= 10_000)) throw new InvalidArgumentError('it takes a number of minutes above 0');
  return value;
};

const seed = (text: string): number => {
  if (!/^[0-9]{1,10}$/.test(text) || Number(text) >= 2 ** 32) {
    throw new InvalidArgumentError('it takes a whole number below 2^32');
  }
  return Number(text);
};

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const summary = (result: SoakResult): readonly string[] => {
  const { seconds, requests, bytes, again, connections, done, longest, memory, samples, errors, differences } = result;
  const deeds = Object.entries(done).map(([what, count]) => `${what} ${count} (at most ${longest[what]} ms)`);
  return [
    '',
    `seed ${result.seed}, ${seconds.toFixed(0)} s${result.interrupted ? ', interrupted' : ''}`,
    `${requests} requests, ${(bytes / 2 ** 20).toFixed(0)} MiB, over ${connections} links; ${again} requests were issued again`,
    `done: ${deeds.join(', ')}`,
    ...(memory?.map(({ flat, text }) => `${flat ? 'flat' : 'NOT FLAT'}: ${text}`) ?? [
      `memory was looked at ${samples.length} times: too few to compare thirds (${ENOUGH})`,
    ]),
    ...Object.entries(errors).map(([text, count]) => `logged ${count} times: ${text}`),
    ...differences.map((difference) => `DIFFERS: ${difference}`),
    differences.length === 0
      ? 'nothing differs: each byte read was right, the ledger is empty, no thread is left'
      : `${differences.length} differences; --seed ${result.seed} picks the same requests and disturbances again`,
  ];
};

await new Command('npm run soak --')
  .description(
    'Mixed block load of four guests on threads, while disks and domains come and go; each byte read is verified.',
  )
  .option('--minutes <n>', 'how long', minutes, 10)
  .option('--seed <n>', 'what the picks follow from', seed, Math.floor(Math.random() * 2 ** 32))
  .option('--json <file>', 'write the result to a file too')
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  .action(async (options: Options) => {
    if (options.json !== undefined) {
      // Tried before anything runs.
      try {
        closeSync(openSync(options.json, 'a'));
      } catch (error) {
        process.stderr.write(`soak: --json cannot write its file: ${errorText(error)}\n`);
        process.exitCode = 2;
        return;
      }
    }
    const controller = new AbortController();
    process.on('SIGINT', () => {
      if (controller.signal.aborted) process.exit(130);
      say('interrupted: what was begun is brought to its end (once more, and it ends at once)');
      controller.abort();
    });
    const seconds = options.minutes * 60;
    const folder = inMemory();
    say(`seed ${options.seed}, ${options.minutes} minutes, images in ${folder ?? tmpdir()}`);
    const result = await Soak.run({
      seed: options.seed,
      seconds,
      interval: Math.min(INTERVAL.most, Math.max(INTERVAL.least, seconds / LINES)),
      linesPerLook: LINES_PER_LOOK,
      sectors: SECTORS,
      folder: folder ?? tmpdir(),
      say,
      signal: controller.signal,
    });
    for (const line of summary(result)) say(line);
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, undefined, 2)}\n`);
    process.exitCode = result.differences.length === 0 ? 0 : 1;
  })
  .parseAsync();
