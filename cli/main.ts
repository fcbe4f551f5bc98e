import { CommanderError } from 'commander';
import { runCommand } from './command.js';
import { explain, Interrupted, UsageError } from './errors.js';
import { Interruption } from './interruption.js';
import { TerminalOutput } from './terminal-output.js';

const out = new TerminalOutput(process.stdout, process.env);
const interruption = new Interruption(() =>
  ['the run stands still: nothing is left that could happen, and it is not finished', ...out.waits].join('; '),
);

const say = (error: unknown): void => {
  const text = explain(error);
  // A reader that has gone has nothing to be told.
  if (text !== '') process.stderr.write(`splitring: ${text}\n`);
};

/** Tells what went wrong, and what the process ends with. */
const exitCodeOf = (error: unknown): number => {
  if (error instanceof CommanderError) return error.exitCode;
  if (error instanceof AggregateError) return Math.max(1, ...error.errors.map(exitCodeOf));
  say(error);
  if (error instanceof UsageError && error.choice !== undefined) process.stderr.write(`${error.choice}\n`);
  if (error instanceof Interrupted) return error.exitCode;
  return error instanceof UsageError ? 2 : 1;
};

const flushed = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => {
    stream.write('', () => resolve());
  });

const run = async (): Promise<number> => {
  try {
    return (await runCommand(process.argv.slice(2), { out, interruption })) ? 0 : 1;
  } catch (error) {
    out.close();
    return exitCodeOf(error);
  }
};

const exitCode = await run();
interruption.done();
await flushed(process.stdout);
await flushed(process.stderr);
process.exit(exitCode);
