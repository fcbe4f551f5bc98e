import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { currentBundle } from '../../platform/threads/thread-code.js';

/** Where the command is run from: the bundle that `npm test` makes, which starts sooner, or what is compiled. */
const folder = currentBundle()?.folder ?? new URL('../../../', import.meta.url);
const main = fileURLToPath(new URL('dist/cli/main.js', folder));

/** How the command ended, and what it wrote. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A machine of spec/cli/machines, as a path for the command line. */
export const machineAt = (name: string): string => fileURLToPath(new URL(`dist/spec/cli/machines/${name}.js`, folder));

/** A module of an example, as a path for the command line. */
export const exampleAt = (path: string): string => fileURLToPath(new URL(`dist/examples/${path}`, folder));

/** A folder that is both the working directory and the place for temporary files of the commands run in it. */
export class Playground implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'splitring-spec-'));

  /** A path in the folder. */
  at(name: string): string {
    return join(this.path, name);
  }

  /** What lies in the folder. */
  get files(): readonly string[] {
    return readdirSync(this.path).sort();
  }

  /** Runs `splitring` to its end. @param when is handed the process once it has written a text to stdout; `uid` is another user's */
  splitring(
    args: readonly string[],
    text = '',
    when: (child: ChildProcess) => void = () => {},
    environment: NodeJS.ProcessEnv = {},
    uid?: number,
  ): Promise<Ended> {
    const { NO_COLOR: _colour, COLUMNS: _columns, ...env } = process.env;
    const child = spawn(process.execPath, [main, ...args], {
      cwd: this.path,
      env: { ...env, TMPDIR: this.path, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(uid !== undefined && { uid, gid: uid }),
    });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (more) => {
        const before = output.stdout;
        output[name] += more;
        if (!before.includes(text) && output.stdout.includes(text)) when(child);
      });
    }
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, ...output }));
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A run's output without its times and rates. */
export const withoutTimes = (text: string): string => text.replace(/ *\d+\.\d (ms|MiB\/s)/g, '');
