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
  /**
   * Virtual processors, 1 … 32. Default 1. vCPU 0 is up from the start, the others wait to be brought up (token `Vcpus`). Where domains are
   * threads, the domain's one thread serves all of them.
   */
  readonly vcpus?: number;
  /** Values of keys, of InitWait or Connected, that the domain's backends write instead of what their drivers say. */
  readonly offer?: { readonly [key: string]: Plain };
  /**
   * Whether the domain's thread sleeps in Atomics.wait between events, where domains are threads: quicker to wake, for drivers that do no
   * more than answer callbacks. Not for a domain in the machine's own thread. Default false; means nothing on other platforms.
   */
  readonly blocking?: boolean;
}

/** Why a domain stopped, by the numbers of sched.h `SHUTDOWN_*`. A suspended one has not ended: it waits to be resumed. */
export const shutdownReasons = ['poweroff', 'reboot', 'suspend', 'crash', 'watchdog', 'soft_reset'] as const;
/** Why a domain stopped. */
export type ShutdownReason = (typeof shutdownReasons)[number];

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
  /**
   * Lets a new domain run its module, or takes one {@link pause} back. @throws when the module does not load, naming it and the reason;
   * XenError ESRCH, EINVAL when the domain is not paused (XEN_DOMCTL_unpausedomain)
   */
  abstract unpause(domid: Domid): Promise<void>;
  /**
   * Keeps a domain from running: none of its vCPUs is entered, events for it are kept. Pauses count.
   * @throws XenError ESRCH, EINVAL for the caller's own domain, EOVERFLOW after 255 (XEN_DOMCTL_pausedomain)
   */
  abstract pause(domid: Domid): Promise<void>;
  /** Shuts a domain down, as if it did so itself. @throws XenError ESRCH (SCHEDOP_remote_shutdown) */
  abstract shutdown(domid: Domid, reason: ShutdownReason): Promise<void>;
  /**
   * Lets a suspended domain go on where it was: its suspension is cancelled, its ports and grants are as they were.
   * @throws XenError ESRCH, EINVAL for the caller's own domain (XEN_DOMCTL_resumedomain)
   */
  abstract resume(domid: Domid): Promise<void>;
  /** Ends a domain at once, wherever it is: its channels close, its mappings are undone. @throws XenError ESRCH */
  abstract destroy(domid: Domid): Promise<void>;
}
