import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

/** Runs a program to its end and resolves to what it wrote. @throws Error with what it wrote to stderr */
export const run = (program: string, ...args: readonly string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = execFile(program, args, { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout.trim());
      else
        reject(new Error(`${program} ${args.join(' ')}: ${(stderr.trim() || error.message).replaceAll('\n', '; ')}`));
    });
    child.stdin?.end();
  });

/** As {@link run}, for one that is expected to fail: its exit code and what it wrote to stderr. */
export const failing = (program: string, ...args: readonly string[]): Promise<{ code: number; said: string }> =>
  new Promise((resolve, reject) => {
    execFile(program, args, (error, _stdout, stderr) => {
      if (error === null) reject(new Error(`${program} ${args.join(' ')} did not fail`));
      else resolve({ code: Number(error.code ?? -1), said: stderr.trim() });
    });
  });

/** Asks again and again until the answer is not undefined. @throws Error when that takes too long */
export const until = async <T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  seconds = 60,
): Promise<T> => {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > end) throw new Error(`${what} did not come about in ${seconds} s`);
    await delay(100);
  }
};

/** Throws unless it holds. */
export const check: (holds: boolean, what: string) => asserts holds = (holds, what) => {
  if (!holds) throw new Error(what);
};

/** @throws Error unless they are equal */
export const same = (what: string, one: string, other: string): void =>
  check(one === other && one !== '', `${what}: ${one} is not ${other}`);

/** A program that goes on, and what it has written. */
export class Running {
  /** All that were ever started, in their order. */
  static readonly all: Running[] = [];
  readonly #child: ChildProcess;
  readonly lines: string[] = [];
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly command: string;

  constructor(program: string, ...args: readonly string[]) {
    this.command = [program, ...args].join(' ');
    Running.all.push(this);
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.lines.push(line));
    }
    this.ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code ?? -1)));
  }

  /** The first line that fits, from the line numbered `from` on. */
  says(pattern: RegExp, from = 0, seconds = 60): Promise<string> {
    return until(`a line like ${pattern}`, () => this.lines.slice(from).find((line) => pattern.test(line)), seconds);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }
}
