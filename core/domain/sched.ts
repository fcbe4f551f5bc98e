import type { Port } from '../abi/units.js';
import type { ShutdownReason } from './domctl.js';

/**
 * A domain's scheduling operations (sched.h `SCHEDOP_*`), for the vCPU on which its code runs. What waits on it when the domain is shut down
 * or destroyed neither resolves nor rejects: no code of a vCPU that stands still goes on. Each rejects with XenError ESRCH after its end.
 */
export abstract class Sched {
  /** Lets others run first; resolves when the vCPU is entered again (SCHEDOP_yield). */
  abstract yield(): Promise<void>;
  /**
   * Clears the vCPU's upcall mask and waits for an event; resolves after the upcall of one, or at once when one is pending
   * (SCHEDOP_block).
   */
  abstract block(): Promise<void>;
  /**
   * Waits until one of the ports is pending, be it masked, or the time has come; the ports stay pending, and who waits looks for itself. Also
   * resolves when an upcall comes, and, with several ports or none, for any event of the domain (SCHEDOP_poll).
   * @param timeout system time in nanoseconds; without it for ever
   * @throws XenError EINVAL for more than 128 ports, or a port that is free
   */
  abstract poll(ports: readonly Port[], timeout?: number): Promise<void>;
  /** Ends the domain: its code is not called again. The promise never resolves (SCHEDOP_shutdown). */
  abstract shutdown(reason: Exclude<ShutdownReason, 'suspend'>): Promise<never>;
  /** Sets the reason that a shutdown to come will tell, whatever it says itself; the first one set stays (SCHEDOP_shutdown_code). */
  abstract shutdownCode(reason: ShutdownReason): void;
  /**
   * Suspends the domain until the toolstack resumes it (SCHEDOP_shutdown, `SHUTDOWN_suspend`). `cancelled`, where Xen returns 1: it goes
   * on in the same domain, with its event channels and grants as they were. `resumed`, where Xen returns 0: it goes on in a new one, all
   * ports are dead, and it connects anew.
   */
  abstract suspend(): Promise<'cancelled' | 'resumed'>;
  /**
   * A watchdog: unless it is set again before it fires, the domain shuts down as `watchdog`. Id 0 takes a new one and returns its id;
   * another sets that anew, or stops it with a timeout of 0 (SCHEDOP_watchdog).
   * @param seconds from now
   * @throws XenError EINVAL for an id that is not in use, ENOSPC when both are
   */
  abstract watchdog(id: number, seconds: number): number;
}
