import type { DomainConfig } from '../../../core/index.js';
import type { Machine } from '../../../core/toolstack/index.js';
import { LocalMachine } from '../../../platform/local/index.js';

/** What a domain's thread does when there is nothing to do: sleep in Atomics.wait, or go back to its event loop. */
export type Rest = 'blocking' | 'loop';
/** How long it looks for more before it rests. */
export type Spin = 'adaptive' | 'never' | 'always';

export const machineOf = (_spin: Spin): Promise<Machine> => LocalMachine.create();

export const resting = (_rest: Rest, config: DomainConfig): DomainConfig => config;
