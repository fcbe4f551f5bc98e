import type { CommanderError } from 'commander';

/** What was asked for cannot be: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  /** What there is to choose from, in lines of its own. */
  readonly choice: string | undefined;

  constructor(message: string, choice?: string) {
    super(message);
    this.choice = choice;
  }
}

/** What was asked for did not work, for a reason that needs no stack: exit code 1. */
export class RunError extends Error {
  override readonly name = 'RunError';
}

/** The user, or a closed pipe, has ended the run; an empty message says nothing. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  /** As a shell would report the signal. */
  readonly exitCode: number;

  constructor(exitCode: number, why: string) {
    super(why);
    this.exitCode = exitCode;
  }
}

/** An error that nobody caught. */
export class UncaughtError extends Error {
  override readonly name = 'UncaughtError';

  constructor(cause: unknown) {
    super(`nobody caught ${cause instanceof Error ? `${cause.name}: ${messageOf(cause)}` : String(cause)}`, { cause });
  }
}

/** Errors that the language throws: mistakes in the code, whose place matters. All others were thrown to be read. */
const mistakes = [TypeError, RangeError, ReferenceError, SyntaxError];

/** An error's message in one line. */
export const messageOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).trim().replace(/\s*\n\s*/g, ' ');

/** An error as stderr shows it: one line, and for one that is a mistake in the code the places that led to it. */
export const explain = (error: unknown): string => {
  const cause = error instanceof UncaughtError ? error.cause : error;
  if (!(cause instanceof Error)) return messageOf(error);
  if (cause === error && !mistakes.some((kind) => cause instanceof kind)) return messageOf(error);
  const places = (cause.stack ?? '').split('\n').filter((line) => /^\s+at (?!.*(node:|node_modules))/.test(line));
  return [cause === error ? `${cause.name}: ${messageOf(cause)}` : messageOf(error), ...places].join('\n');
};

/** Commander's errors in our words: one line, and where to look further; help that was asked for passes. */
export const refusal =
  (name: string) =>
  (error: CommanderError): never => {
    if (error.exitCode === 0) throw error;
    throw new UsageError(`${messageOf(error).replace(/^error: /, '')}; see ${name} --help`);
  };
