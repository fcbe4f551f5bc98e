import type { GrantRef } from '../../core/abi/units.js';
import type { OwnDomain } from './own-domain.js';
import type { PagePool } from './page-pool.js';

/** Parked runs that one operation asks again for; more than it can add, so the list shrinks once peers let go (CVE-2023-54081). */
const PER_PASS = 8;

interface Parked {
  readonly frame: number;
  readonly count: number;
  readonly refs: readonly GrantRef[];
}

/**
 * Own pages whose grants were to end while the peer had them mapped. Xen tells nobody when a mapping ends, so they are asked for
 * again and again, a few at a time, and belong to nobody until then (XSA-396).
 */
export class ParkedGrants {
  readonly #own: OwnDomain;
  readonly #pool: PagePool;
  readonly #parked: Parked[] = [];
  #next = 0;

  constructor(own: OwnDomain, pool: PagePool) {
    this.#own = own;
    this.#pool = pool;
  }

  /** Runs that wait. */
  get count(): number {
    return this.#parked.length;
  }

  /** Ends grants of a run of pages and frees it, or parks it with those that are in use. */
  end(frame: number, count: number, refs: readonly GrantRef[]): void {
    const inUse = this.#revoke(refs);
    if (inUse.length === 0) this.#pool.give(frame, count);
    else this.#parked.push({ frame, count, refs: inUse });
  }

  /** Asks again for up to `limit` runs; returns how many came free. */
  reclaim(limit: number = PER_PASS): number {
    const parked = this.#parked;
    if (parked.length === 0 || this.#own.isGone) return 0;
    let freed = 0;
    for (let asked = Math.min(limit, parked.length); asked > 0; asked--) {
      if (this.#next >= parked.length) this.#next = 0;
      const run = parked[this.#next] as Parked;
      const inUse = this.#revoke(run.refs);
      if (inUse.length > 0) {
        if (inUse.length < run.refs.length) parked[this.#next] = { ...run, refs: inUse };
        this.#next++;
        continue;
      }
      parked[this.#next] = parked[parked.length - 1] as Parked;
      parked.pop();
      this.#pool.give(run.frame, run.count);
      freed++;
    }
    return freed;
  }

  #revoke(refs: readonly GrantRef[]): readonly GrantRef[] {
    const { hypervisor, domid } = this.#own;
    return refs.filter((ref) => {
      if (!hypervisor.grantEntries.endAccess(domid, ref)) return true;
      hypervisor.grantEntries.freeRef(domid, ref);
      return false;
    });
  }
}
