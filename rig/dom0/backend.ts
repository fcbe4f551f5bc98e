import { writeFileSync } from 'node:fs';
import { Running, run, until } from './shell.js';

export const CLI = '/splitring/dist/cli/main.js';

/** Runs the command to its end; resolves to what it wrote. @throws Error with what it wrote to stderr */
export const splitring = (...args: readonly string[]): Promise<string> => run(process.execPath, CLI, ...args);

/** A `splitring backend` that runs in dom0. */
export class Backend extends Running {
  /** Starts one, and waits until it serves. @param more options of the class */
  static async start(driver = 'blk', config?: object, ...more: readonly string[]): Promise<Backend> {
    const options = [...more];
    if (config !== undefined) {
      writeFileSync('/tmp/backend.json', JSON.stringify(config));
      options.push('--config', '/tmp/backend.json');
    }
    const backend = new Backend(process.execPath, CLI, 'backend', driver, ...options);
    const over = backend.ended.then((how): never => {
      throw new Error(`splitring backend ended with ${how}: ${backend.lines.join('; ')}`);
    });
    await Promise.race([backend.says(/^serves /), over]);
    over.catch(() => {});
    return backend;
  }

  /** What it holds, as it says when it is asked. */
  async holdings(): Promise<Readonly<Record<string, number>>> {
    const from = this.lines.length;
    this.kill('SIGUSR2');
    const line = await this.says(/^holds /, from);
    return Object.fromEntries([...line.matchAll(/(\d+) (\w+)/g)].map(([, count, what]) => [what, Number(count)]));
  }

  /** Waits until it holds no more than it did. @param save what may have changed: others go on mapping pages */
  async holdsNothing(idle: Readonly<Record<string, number>>, save = ''): Promise<void> {
    let last = '';
    const ask = async (): Promise<true | undefined> => {
      const now = await this.holdings();
      last = Object.entries(now)
        .filter(([what, count]) => count !== idle[what] && what !== save)
        .map(([what, count]) => `${count} ${what} instead of ${idle[what]}`)
        .join(', ');
      return last === '' ? true : undefined;
    };
    await until('a backend that holds nothing', ask, 20).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${last}`);
    });
  }

  /** Ends it as a service manager would. @throws Error unless it ends well */
  async end(): Promise<void> {
    this.kill('SIGTERM');
    const how = await this.ended;
    if (how !== 0) throw new Error(`splitring backend ended with ${how}: ${this.lines.slice(-3).join('; ')}`);
  }
}
