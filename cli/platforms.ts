import type { Machine } from '../core/toolstack/index.js';
import { UsageError } from './errors.js';

/** A machine, as its platform has made it. */
export interface Booted {
  readonly machine: Machine;
  /** One line on the order of events so far, where a seed decides it: the same for the same order, and hardly ever for another. */
  readonly order?: () => string;
}

/** A kind of machine to run domains on. */
export interface Platform {
  readonly summary: string;
  /** A new machine, dom0 alone. The seed decides all that is left to chance. */
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

/** The platforms by name; each is loaded when it is used. */
const platforms: ReadonlyMap<string, Platform> = new Map([
  [
    'local',
    {
      summary: 'our own Xen in one thread, whose seed repeats a run',
      async create({ seed }) {
        const { LocalMachine } = await import('../platform/local/index.js');
        const machine = await LocalMachine.create({ seed, clock: 'real' });
        const picks = new Digest();
        machine.onPick((name) => picks.add(name));
        return { machine, order: () => `${picks.count} turns, digest ${picks}` };
      },
    },
  ],
]);

/** The names of the platforms, for help. */
export const platformNames: readonly string[] = [...platforms.keys()];

/** @throws UsageError that names the platforms */
export const platformOf = (name: string): Platform => {
  const platform = platforms.get(name);
  if (platform === undefined)
    throw new UsageError(`there is no platform ${name}; there is ${platformNames.join(', ')}`);
  return platform;
};
