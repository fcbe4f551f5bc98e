import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A file of the package, by its path in the sources. */
const source = (path: string): string => fileURLToPath(new URL(path, import.meta.resolve('splitring/package.json')));

const runs = (program: string, ...args: readonly string[]): boolean => spawnSync(program, args).status === 0;

/** Puts a program on one core where the machine has `taskset`, so that two rounds do not differ by the core that they got. */
const pinned = runs('taskset', '-c', '0', 'true') ? ['taskset', '-c', '0'] : [];

/** Runs a program on one core and returns the number that it prints. */
export const number = (program: string, ...args: readonly string[]): number => {
  const [first = program, ...rest] = [...pinned, program, ...args];
  return Number(execFileSync(first, rest, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
};

/** Runs a compiled script of the benchmarks in a process of its own. */
export const script = (path: string, nodeOptions: readonly string[], ...args: readonly string[]): number =>
  number(process.execPath, ...nodeOptions, fileURLToPath(new URL(`../${path}`, import.meta.url)), ...args);

/** A C peer, compiled now, for as long as `work` runs; where there is no gcc, undefined and the reason. */
export const withPeer = <T>(
  path: string,
  work: (run: ((...args: readonly string[]) => number) | undefined, missing: string | undefined) => T,
): T => {
  if (!runs('gcc', '--version'))
    return work(undefined, 'gcc is not installed: the rows that compare with C are left out');
  const folder = mkdtempSync(join(tmpdir(), 'splitring-bench-'));
  try {
    const program = join(folder, 'peer');
    execFileSync('gcc', ['-O2', source(path), '-o', program]);
    return work((...args) => number(program, ...args), undefined);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
