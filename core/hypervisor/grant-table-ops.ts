// Long, since it tells of every operation what a guest must know.
import { errno } from '../abi/errno.js';
import { gntst } from '../abi/gntst.js';
import { DOMID_SELF, type Domid } from '../abi/units.js';
import type { CacheFlush, GrantCache } from './grant-cache.js';
import type { GnttabCopy, GrantCopy } from './grant-copy.js';
import type { GrantEntries } from './grant-entries.js';
import type { GrantMap, MapGrantRef, UnmapAndReplace, UnmapGrantRef } from './grant-map.js';
import type { GrantSwap, SwapGrantRef } from './grant-swap.js';
import {
  type GetStatusFrames,
  type GetVersion,
  GRANT_VERSION,
  type GrantVersion,
  type SetVersion,
} from './grant-version.js';

/** The numbers of grant-table operations (grant_table.h `GNTTABOP_*`). No Xen of today answers dump_table. */
export const gnttabop = {
  map_grant_ref: 0,
  unmap_grant_ref: 1,
  setup_table: 2,
  dump_table: 3,
  transfer: 4,
  copy: 5,
  query_size: 6,
  unmap_and_replace: 7,
  set_version: 8,
  get_status_frames: 9,
  get_version: 10,
  swap_grant_ref: 11,
  cache_flush: 12,
} as const satisfies Readonly<Record<string, number>>;

/** The argument of GNTTABOP_setup_table (grant_table.h `gnttab_setup_table`). */
export interface SetupTable {
  readonly dom: Domid;
  readonly nrFrames: number;
  /** Out: a status of `gntst`. */
  status?: number;
  /** Out, when okay: the table's first `nrFrames` frames. */
  frameList?: readonly number[];
}

/** The argument of GNTTABOP_query_size (grant_table.h `gnttab_query_size`). */
export interface QuerySize {
  readonly dom: Domid;
  /** Out: a status of `gntst`. */
  status?: number;
  /** Out, when okay: frames of the table. */
  nrFrames?: number;
  /** Out, when okay: frames to which it may grow. */
  maxNrFrames?: number;
}

/** One element of GNTTABOP_transfer (grant_table.h `gnttab_transfer`). */
export interface GnttabTransfer {
  readonly mfn: number;
  readonly domid: Domid;
  readonly ref: number;
  /** Out in a Xen that has the operation. */
  status?: number;
}

/** What each operation's array holds. */
export interface GnttabArgs {
  readonly [gnttabop.map_grant_ref]: MapGrantRef;
  readonly [gnttabop.unmap_grant_ref]: UnmapGrantRef;
  readonly [gnttabop.setup_table]: SetupTable;
  readonly [gnttabop.transfer]: GnttabTransfer;
  readonly [gnttabop.copy]: GnttabCopy;
  readonly [gnttabop.query_size]: QuerySize;
  readonly [gnttabop.unmap_and_replace]: UnmapAndReplace;
  readonly [gnttabop.set_version]: SetVersion;
  readonly [gnttabop.get_status_frames]: GetStatusFrames;
  readonly [gnttabop.get_version]: GetVersion;
  readonly [gnttabop.swap_grant_ref]: SwapGrantRef;
  readonly [gnttabop.cache_flush]: CacheFlush;
}

/** The number of an operation that our Xen has. */
export type GnttabOp = keyof GnttabArgs;

const CMD_MASK = 4095;

/**
 * The grant-table hypercall (grant_table.h `HYPERVISOR_grant_table_op`): every operation as a method, and {@link GrantTableOps.call} by
 * number. What it answers is of the call as a whole, 0 or a negated errno; what became of an element stands in the element's
 * `status`, a number of `gntst`, which is written for every element.
 *
 * Batches are not atomic: elements are done in order, one that fails stops no other, and each takes the lock for itself, so others'
 * calls come in between as they do where Xen preempts a batch and continues it (XSA-295, 316, 318, 380).
 */
export class GrantTableOps {
  readonly #entries: GrantEntries;
  readonly #map: GrantMap;
  readonly #copy: GrantCopy;
  readonly #swap: GrantSwap;
  readonly #cache: GrantCache;
  readonly #version: GrantVersion;

  constructor(parts: {
    readonly entries: GrantEntries;
    readonly map: GrantMap;
    readonly copy: GrantCopy;
    readonly swap: GrantSwap;
    readonly cache: GrantCache;
    readonly version: GrantVersion;
  }) {
    this.#entries = parts.entries;
    this.#map = parts.map;
    this.#copy = parts.copy;
    this.#swap = parts.swap;
    this.#cache = parts.cache;
    this.#version = parts.version;
  }

  /**
   * `HYPERVISOR_grant_table_op(cmd, args, count)`: what the operation's method answers. -ENOSYS an unknown operation; -EINVAL bits
   * above the operation's 12, in which cache_flush alone keeps where it goes on.
   */
  call<Op extends GnttabOp>(caller: Domid, cmd: Op, args: readonly GnttabArgs[Op][]): number;
  call(caller: Domid, cmd: number, args: readonly unknown[]): number {
    const op = cmd & CMD_MASK;
    const from = (cmd & ~CMD_MASK) >>> 0;
    if (from !== 0 && op !== gnttabop.cache_flush) return -errno.EINVAL;
    switch (op) {
      case gnttabop.map_grant_ref:
        return this.mapGrantRef(caller, args as readonly MapGrantRef[]);
      case gnttabop.unmap_grant_ref:
        return this.unmapGrantRef(caller, args as readonly UnmapGrantRef[]);
      case gnttabop.setup_table:
        return this.setupTable(caller, args as readonly SetupTable[]);
      case gnttabop.transfer:
        return this.transfer(caller, args as readonly GnttabTransfer[]);
      case gnttabop.copy:
        return this.copy(caller, args as readonly GnttabCopy[]);
      case gnttabop.query_size:
        return this.querySize(caller, args as readonly QuerySize[]);
      case gnttabop.unmap_and_replace:
        return this.unmapAndReplace(caller, args as readonly UnmapAndReplace[]);
      case gnttabop.set_version:
        return this.setVersion(caller, args as readonly SetVersion[]);
      case gnttabop.get_status_frames:
        return this.getStatusFrames(caller, args as readonly GetStatusFrames[]);
      case gnttabop.get_version:
        return this.getVersion(caller, args as readonly GetVersion[]);
      case gnttabop.swap_grant_ref:
        return this.swapGrantRef(caller, args as readonly SwapGrantRef[]);
      case gnttabop.cache_flush:
        return this.cacheFlush(caller, args as readonly CacheFlush[], from);
      default:
        return -errno.ENOSYS;
    }
  }

  /**
   * GNTTABOP_map_grant_ref (0): maps granted pages. In: `dom`, the granter, never DOMID_SELF; `ref`; `flags`, of `gntmap`; bits 16 to 31
   * are the guest's own. Out: `status`, and when okay `handle` and `devBusAddr`. Answers 0.
   *
   * Statuses, in the order of their checks: bad_gntref no half to map; general_error application_map or contains_pte, which need page
   * tables; bad_domain no such granter; no_space no handle left, or no memory for more; bad_gntref beyond the table; general_error
   * pinned by another domain, or 128 times for this kind; general_error revoked, granted to another, no plain access, or a write
   * to what is read-only; bad_page not a page of the granter's. A granter can take nothing back before the last unmap.
   */
  mapGrantRef(caller: Domid, args: readonly MapGrantRef[]): number {
    this.#map.mapGrantRefs(caller, args);
    return 0;
  }

  /**
   * GNTTABOP_unmap_grant_ref (1): ends mappings, or one half of each. In: `handle`; `hostAddr` and `devBusAddr`, where 0 leaves that
   * half mapped (XSA-394). Out: `status`. Answers 0.
   *
   * Statuses: bad_handle not a mapping of the caller's; bad_dev_addr, then general_error, an address of another page.
   */
  unmapGrantRef(caller: Domid, args: readonly UnmapGrantRef[]): number {
    this.#map.unmapGrantRefs(caller, args);
    return 0;
  }

  /**
   * GNTTABOP_setup_table (2): grows a table to `nrFrames` frames of 512 entries; it never shrinks. In: one element with `dom`,
   * DOMID_SELF or, for a privileged caller, any; `nrFrames`. Out: `status`, and when okay `frameList`. Answers -EINVAL unless the
   * array has one element.
   *
   * Statuses: bad_domain; permission_denied another's table; general_error more frames than the domain may have, or no memory.
   */
  setupTable(caller: Domid, args: readonly SetupTable[]): number {
    const [element] = args;
    if (element === undefined || args.length !== 1) return -errno.EINVAL;
    const { dom, nrFrames } = element;
    const status = this.#entries.setupTable(caller, dom, nrFrames);
    element.status = status;
    if (status === gntst.okay) {
      element.frameList = this.#entries.tableFrames(dom === DOMID_SELF ? caller : dom).slice(0, nrFrames >>> 0);
    }
    return 0;
  }

  /**
   * GNTTABOP_transfer (4): answers -EOPNOTSUPP and looks at nothing, as Xen does with `gnttab=no-transfer`: a page that changes its
   * owner has been a source of errors (XSA-217, 284, 287), and no driver of today transfers any.
   */
  transfer(_caller: Domid, _args: readonly GnttabTransfer[]): number {
    return -errno.EOPNOTSUPP;
  }

  /**
   * GNTTABOP_copy (5): copies bytes within pages. In: `source` and `dest`, each `domid`, `refOrFrame`, `offset`; `len`; `flags`, of
   * `gntcopy`, which say what is a reference: else it is a frame of the caller's, and `domid` DOMID_SELF. Out: `status`. Answers 0.
   *
   * Statuses: okay at once for no bytes; permission_denied a frame of any domain but DOMID_SELF; bad_domain; then of source and
   * destination bad_gntref, general_error, bad_page as in mapGrantRef, general_error a grant in use whose frame was changed since
   * (XSA-500), bad_domain one in use of a domain that is dying; last bad_copy_arg a run that leaves its page. Every element is
   * checked from the start, whatever came before it (CVE-2026-102703, 102704).
   */
  copy(caller: Domid, args: readonly GnttabCopy[]): number {
    this.#copy.copyAll(caller, args);
    return 0;
  }

  /**
   * GNTTABOP_query_size (6): how large a table is and may become. In: one element with `dom`. Out: `status`, and when okay
   * `nrFrames` and `maxNrFrames`. Answers -EINVAL unless the array has one element.
   *
   * Statuses: bad_domain; permission_denied another's table without privilege.
   */
  querySize(caller: Domid, args: readonly QuerySize[]): number {
    const [element] = args;
    if (element === undefined || args.length !== 1) return -errno.EINVAL;
    Object.assign(element, this.#entries.querySize(caller, element.dom));
    return 0;
  }

  /**
   * GNTTABOP_unmap_and_replace (7): ends the host half of mappings, and puts what is at `newAddr` in its place. In: `handle`, `hostAddr`,
   * `newAddr`, 0 for nothing. Out: `status`. Answers 0.
   *
   * Statuses: bad_handle; general_error a `newAddr`, since it is page tables that such a replacement changes, and our guests have
   * none of their own: so Xen answers a guest with translated memory; general_error a `hostAddr` of another page.
   */
  unmapAndReplace(caller: Domid, args: readonly UnmapAndReplace[]): number {
    this.#map.unmapAndReplaceRefs(caller, args);
    return 0;
  }

  /**
   * GNTTABOP_set_version (8): chooses the version of the caller's table; every table has version 1 for good, as with
   * `gnttab=max-ver:1`. In: one element's `version`; out: the same, always 1. Answers 0 for 1, -ENOSYS for 2, -EINVAL for any
   * other, -EFAULT without an element. Of Xen's other errors, EBUSY and ERANGE belong to a switch, of which there is none.
   */
  setVersion(caller: Domid, args: readonly SetVersion[]): number {
    const [element] = args;
    if (element === undefined) return -errno.EFAULT;
    const result = this.#version.set(caller, element.version);
    if (result !== -errno.ESRCH) element.version = GRANT_VERSION;
    return result;
  }

  /**
   * GNTTABOP_get_status_frames (9): the frames with the statuses of a table of version 2. In: one element with `dom` and `nrFrames`.
   * Out: `status`, and when okay `frameList`. Answers -EINVAL unless the array has one element.
   *
   * Statuses: bad_domain; permission_denied another's table; general_error for more than 0 frames: version 1 has none.
   */
  getStatusFrames(caller: Domid, args: readonly GetStatusFrames[]): number {
    const [element] = args;
    if (element === undefined || args.length !== 1) return -errno.EINVAL;
    element.status = this.#version.statusFrames(caller, element.dom, element.nrFrames);
    if (element.status === gntst.okay) element.frameList = [];
    return 0;
  }

  /**
   * GNTTABOP_get_version (10): a table's version. In: one element with `dom`. Out: `version`. Answers 0, -ESRCH no such domain, -EPERM
   * another's table without privilege, -EFAULT without an element.
   */
  getVersion(caller: Domid, args: readonly GetVersion[]): number {
    const [element] = args;
    if (element === undefined) return -errno.EFAULT;
    const version = this.#version.get(caller, element.dom);
    if (version < 0) return version;
    element.version = version;
    return 0;
  }

  /**
   * GNTTABOP_swap_grant_ref (11): exchanges what pairs of the caller's references grant. In: `refA`, `refB`. Out: `status`. Answers 0.
   *
   * Statuses: bad_gntref beyond the table (XSA-18, 134); okay at once for the same reference twice; eagain while either is mapped
   * or copied.
   */
  swapGrantRef(caller: Domid, args: readonly SwapGrantRef[]): number {
    for (const element of args) element.status = this.#swap.swap(caller, element.refA, element.refB);
    return 0;
  }

  /**
   * GNTTABOP_cache_flush (12): cleans the cache of parts of pages that are the caller's, or that it maps. In: `devBusAddr`, `offset`,
   * `length`, `op`, of `gnttabCache`. An element has no status: the call ends with the error of the first that fails, what comes
   * before it being done.
   *
   * Answers 0; -EINVAL a part that leaves its page, an unknown bit of `op` (GNTTAB_CACHE_SOURCE_GREF is one to Xen), no such page,
   * or another's page that the caller does not map; -EPERM a page of nobody or of Xen; -EOPNOTSUPP invalidating without cleaning,
   * which no x86 processor does; -EILSEQ nothing to do where an earlier part is gone on with.
   */
  cacheFlush(caller: Domid, args: readonly CacheFlush[], from = 0): number {
    let first = from;
    for (const element of args) {
      const result = this.#cache.flush(caller, element, first);
      if (result < 0) return result;
      first = 0;
    }
    return 0;
  }
}
