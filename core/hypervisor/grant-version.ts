import { errno } from '../abi/errno.js';
import { gntst } from '../abi/gntst.js';
import type { Domid } from '../abi/units.js';
import type { GrantEntries } from './grant-entries.js';
import type { MachineMemory } from './memory.js';

/** The argument of GNTTABOP_set_version (grant_table.h `gnttab_set_version`). */
export interface SetVersion {
  /** In: the version that is wanted; out: the one that the table has. */
  version: number;
}

/** The argument of GNTTABOP_get_version (grant_table.h `gnttab_get_version`). */
export interface GetVersion {
  readonly dom: Domid;
  /** Out, when 0 was answered. */
  version?: number;
}

/** The argument of GNTTABOP_get_status_frames (grant_table.h `gnttab_get_status_frames`). */
export interface GetStatusFrames {
  readonly nrFrames: number;
  readonly dom: Domid;
  /** Out: a status of `gntst`. */
  status?: number;
  /** Out, when okay: frames of the statuses of version 2, none here. */
  frameList?: readonly number[];
}

/** The version of every grant table here, for good. */
export const GRANT_VERSION = 1;

/**
 * Versions of grant tables. Ours is a Xen with `gnttab=max-ver:1`: a table never changes its version, so nothing that is under way can
 * meet a switch, and no status page outlives one (XSA-379, 387, 486, 501, 517). For the same reason EBUSY, a table in use, and ERANGE,
 * an entry that version 1 cannot say, have no case: Xen answers for a version that stays before it looks for either.
 */
export class GrantVersion {
  readonly #memory: MachineMemory;
  readonly #entries: GrantEntries;

  constructor(memory: MachineMemory, entries: GrantEntries) {
    this.#memory = memory;
    this.#entries = entries;
  }

  /** 0 for version 1, whatever is mapped; -ENOSYS for 2, -EINVAL for any other; -ESRCH for a caller that is gone. */
  set(caller: Domid, version: number): number {
    if (this.#memory.callerOf(caller) < 0) return -errno.ESRCH;
    if (version === GRANT_VERSION) return 0;
    return version === 2 ? -errno.ENOSYS : -errno.EINVAL;
  }

  /** A table's version; -ESRCH no such domain, -EPERM another's without privilege. */
  get(caller: Domid, dom: Domid): number {
    const slot = this.#entries.target(caller, dom);
    if (slot === gntst.permission_denied) return -errno.EPERM;
    return slot < 0 ? -errno.ESRCH : GRANT_VERSION;
  }

  /** bad_domain, permission_denied; general_error for any status frame at all, since version 1 has none. */
  statusFrames(caller: Domid, dom: Domid, frames: number): number {
    const slot = this.#entries.target(caller, dom);
    if (slot < 0) return slot;
    return frames >>> 0 === 0 ? gntst.okay : gntst.general_error;
  }
}
