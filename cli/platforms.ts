import type { Machine } from '../core/toolstack/index.js';
import { RunError, UsageError } from './errors.js';

/** A machine, as its platform has made it. */
export interface Booted {
  readonly machine: Machine;
  /** One line on the order of events so far, where a seed decides it: the same for the same order, and hardly ever for another. */
  readonly order?: () => string;
  /**
   * Whether the domains will never do anything again by themselves; where they live in threads, which keep the process alive even then.
   */
  readonly standsStill?: () => Promise<boolean>;
}

/** A kind of machine to run domains on. */
export interface Platform {
  readonly name: string;
  readonly summary: string;
  /** Whether a seed decides the order of events. */
  readonly repeats: boolean;
  /** A new machine, dom0 alone. The seed decides all that is left to chance, on a platform that repeats. */
  create(options: { readonly seed: number }): Promise<Booted>;
}

/** FNV-1a over texts, 32 bits. */
class Digest {
  count = 0;
  #hash = 0x811c9dc5;

  add(text: string): void {
    this.count++;
    for (let i = 0; i < text.length; i++) this.#step(text.charCodeAt(i));
    this.#step(0);
  }

  toString(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0');
  }

  #step(byte: number): void {
    this.#hash = Math.imul(this.#hash ^ byte, 0x01000193);
  }
}

/** Seconds after which a domain that does not yield is named; milliseconds after which a callback that returns is. */
const NO_YIELD = 5;
const RUN_AWAY = 1000;

const threads: Platform = {
  name: 'threads',
  summary: 'our own Xen, each domain in a thread of its own',
  repeats: false,
  async create() {
    const { ThreadsMachine } = await import('../platform/threads/index.js');
    const machine = await ThreadsMachine.create({ watchdog: NO_YIELD });
    return { machine, standsStill: () => machine.standsStill() };
  },
};

const local: Platform = {
  name: 'local',
  summary: 'our own Xen in one thread, whose seed repeats a run',
  repeats: true,
  async create({ seed }) {
    const { LocalMachine } = await import('../platform/local/index.js');
    const machine = await LocalMachine.create({ seed, clock: 'real', runaway: RUN_AWAY, watchdog: NO_YIELD });
    const picks = new Digest();
    machine.onPick((name) => picks.add(name));
    return { machine, order: () => `${picks.count} turns, digest ${picks}` };
  },
};

/** The platforms, the one that is taken by default first; the code of each is loaded when it is used. */
const platforms: readonly Platform[] = [threads, local];

const nameOf = ({ name }: Platform): string => name;

/** The platforms in a line each, for help. */
export const listOfPlatforms = (): string => {
  const width = Math.max(...platforms.map(({ name }) => name.length));
  return ['Platforms:', ...platforms.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`)].join('\n');
};

/** The names of the platforms, for help. */
export const platformNames: readonly string[] = platforms.map(nameOf);

/**
 * The platform of a name; without one the default, but with a seed, which asks for a run that can be repeated, the one that repeats.
 * @throws RunError for a platform that is not there, UsageError for a seed where it would mean nothing
 */
export const platformOf = (name: string | undefined, seed: number | undefined): Platform => {
  if (name === undefined) return seed === undefined ? threads : local;
  const platform = platforms.find((one) => one.name === name);
  if (platform === undefined)
    throw new RunError(`there is no platform ${name}; there are ${platformNames.join(' and ')}`);
  if (seed !== undefined && !platform.repeats) {
    throw new UsageError(
      `--seed ${seed} cannot repeat a run on ${name}, where the host decides the order of events: leave one of them out, or take --platform local`,
    );
  }
  return platform;
};
