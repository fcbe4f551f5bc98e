import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Cores, pinning, runs } from './cores.js';

/** What a case measured, by name. */
export type Readings = Readonly<Record<string, number>>;

/** A file of the package, by its path in the sources. */
const source = (path: string): string => fileURLToPath(new URL(path, import.meta.resolve('splitring/package.json')));

/** A compiled script of the benchmarks. */
const compiled = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Longest that a case may take, in milliseconds: one that hangs is an error, not an endless run. */
const PATIENCE = 120_000;

const output = (cores: Cores, program: string, args: readonly string[]): string => {
  const [first = program, ...rest] = [...pinning(cores), program, ...args];
  return execFileSync(first, rest, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: PATIENCE });
};

/** Runs a program on one core and returns the number that it prints. */
export const number = (program: string, ...args: readonly string[]): number => Number(output(1, program, args));

/** Runs a program on so many cores and returns the object of numbers that it prints as JSON. */
export const readings = (cores: Cores, program: string, ...args: readonly string[]): Readings =>
  JSON.parse(output(cores, program, args)) as Readings;

/** Runs a compiled script of the benchmarks in a process of its own, on one core, and returns the number that it prints. */
export const script = (path: string, nodeOptions: readonly string[], ...args: readonly string[]): number =>
  number(process.execPath, ...nodeOptions, compiled(path), ...args);

/** The same for a script that prints an object of numbers, on so many cores. */
export const scriptReadings = (cores: Cores, path: string, ...args: readonly string[]): Readings =>
  readings(cores, process.execPath, compiled(path), ...args);

/** A C program, compiled now, for as long as `work` runs; where there is no gcc, undefined and the reason. */
export const withCompiled = <T>(
  path: string,
  work: (program: string | undefined, missing: string | undefined) => T,
): T => {
  if (!runs('gcc', '--version'))
    return work(undefined, 'gcc is not installed: the rows that compare with C are left out');
  const folder = mkdtempSync(join(tmpdir(), 'splitring-bench-'));
  try {
    const program = join(folder, 'peer');
    execFileSync('gcc', ['-O2', '-pthread', source(path), '-o', program]);
    return work(program, undefined);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

/** A C peer that prints a number, compiled now, for as long as `work` runs; where there is no gcc, undefined and the reason. */
export const withPeer = <T>(
  path: string,
  work: (run: ((...args: readonly string[]) => number) | undefined, missing: string | undefined) => T,
): T =>
  withCompiled(path, (program, missing) =>
    work(program === undefined ? undefined : (...args) => number(program, ...args), missing),
  );
