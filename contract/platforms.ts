import type { Machine } from '../core/toolstack/index.js';
import { LocalMachine } from '../platform/local/index.js';
import { ThreadsMachine } from '../platform/threads/index.js';

/** The platforms that suites run on. */
export type PlatformName = 'local' | 'threads';

/** How a platform's machine is made for a test. */
export interface Platform {
  readonly name: PlatformName;
  /** @param options the seed decides the order of events, where the host does not */
  create(options: { readonly seed: number }): Promise<Machine>;
}

/** All platforms of this process. */
export const platforms: readonly Platform[] = [
  { name: 'local', create: ({ seed }) => LocalMachine.create({ seed, clock: 'simulated' }) },
  { name: 'threads', create: () => ThreadsMachine.create() },
];
