import type { Abi } from '../abi/layout.js';
import type { Domid } from '../abi/units.js';

/** A value that survives a structured clone: what may cross from one domain's program to another's thread. */
export type Plain =
  | string
  | number
  | boolean
  | undefined
  | Uint8Array
  | readonly Plain[]
  | { readonly [key: string]: Plain };

/** What a new domain is made of. */
export interface DomainConfig {
  /** The domain's name, as `xl list` would show it; unique on its machine. */
  readonly name: string;
  /** URL of the module that the domain runs: its exported drivers, and as default export the ContainerModule of its bindings. */
  readonly module?: string | URL;
  /** What the module's program is started with, bound to the token `CommandLine` (start_info's `cmd_line`). */
  readonly cmdline?: Plain;
  /** How the domain lays its structs out; x86_64-abi without it. */
  readonly abi?: Abi;
  /** Values of keys, of InitWait or Connected, that the domain's backends write instead of what their drivers say. */
  readonly offer?: { readonly [key: string]: Plain };
  /**
   * Whether the domain's thread sleeps in Atomics.wait between events, where domains are threads: quicker to wake, for drivers that do no
   * more than answer callbacks. Not for a domain in the machine's own thread. Default false; means nothing on other platforms.
   */
  readonly blocking?: boolean;
}

/** Why a domain stopped (sched.h `SHUTDOWN_*`). */
export type ShutdownReason = 'poweroff' | 'crash';

/** How a domain ended. */
export interface Shutdown {
  readonly domid: Domid;
  readonly name: string;
  /** URL of the module that it booted from, if it did. */
  readonly module: string | undefined;
  readonly reason: ShutdownReason;
  /** What a crash was caused by. */
  readonly error?: Error;
}

/** The privileged calls with which a toolstack makes and unmakes domains (domctl.h). */
export abstract class Domctl {
  /** Makes a domain that does not run yet, with its store ring and channel. @throws XenError ENOMEM, ENOSPC, EPERM */
  abstract create(config: DomainConfig): Promise<Domid>;
  /** Lets a new domain run its module. @throws when the module does not load, naming it and the reason */
  abstract unpause(domid: Domid): Promise<void>;
  /** Ends a domain at once, wherever it is: its channels close, its mappings are undone. @throws XenError ESRCH */
  abstract destroy(domid: Domid): Promise<void>;
}
