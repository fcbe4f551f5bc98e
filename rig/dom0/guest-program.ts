import type { Guest } from './guest.js';
import { until } from './shell.js';

/** A program of rig/guests that goes on in a guest, writes lines of JSON, and ends at SIGTERM with the last of them. */
export class GuestProgram {
  readonly #guest: Guest;
  readonly #name: string;

  private constructor(guest: Guest, name: string) {
    this.#guest = guest;
    this.#name = name;
  }

  /** Starts one, with Node. */
  static async start(guest: Guest, name: string, ...args: readonly string[]): Promise<GuestProgram> {
    const command = ['node', `/splitring/dist/rig/guests/${name}.js`, ...args].join(' ');
    await guest.sh(`${command} > /tmp/${name}.out 2> /tmp/${name}.err & echo $! > /tmp/${name}.pid`);
    return new GuestProgram(guest, name);
  }

  /** Waits for a line. @throws Error with what it wrote when it ends before, or takes too long */
  async says(pattern: RegExp, seconds = 60): Promise<void> {
    const name = this.#name;
    const state = `cat /tmp/${name}.out /tmp/${name}.err; kill -0 $(cat /tmp/${name}.pid) || echo it has ended`;
    let last = '';
    const ask = async (): Promise<true | undefined> => {
      last = await this.#guest.sh(state);
      if (/^it has ended/m.test(last)) throw new Error(`${name} in the guest: ${last.replaceAll('\n', '; ')}`);
      return pattern.test(last) ? true : undefined;
    };
    await until(`a line like ${pattern} of ${name}`, ask, seconds).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${last}`);
    });
  }

  /** Sends it SIGUSR2; resolves to the line that it then writes. */
  async ask<T>(): Promise<T> {
    const out = `/tmp/${this.#name}.out`;
    const wait = `i=0; while [ $(wc -l < ${out}) = $had ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done`;
    const kill = `kill -USR2 $(cat /tmp/${this.#name}.pid)`;
    return JSON.parse(await this.#guest.sh(`had=$(wc -l < ${out}); ${kill}; ${wait}; tail -n 1 ${out}`)) as T;
  }

  /** Ends it; resolves to its last line. @throws Error unless it ends well */
  async end<T>(): Promise<T> {
    const name = this.#name;
    await this.#guest.sh(
      `kill -TERM $(cat /tmp/${name}.pid); wait $(cat /tmp/${name}.pid) || { cat /tmp/${name}.err; false; }`,
    );
    return JSON.parse(await this.#guest.sh(`tail -n 1 /tmp/${name}.out`)) as T;
  }
}
