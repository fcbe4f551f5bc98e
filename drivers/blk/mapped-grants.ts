import type { BackGrants, GrantRef, Page } from '../../core/index.js';

/** Grants that a ring's backend keeps mapped at most (blkback `xen_blkif_max_pgrants`). */
export const MAX_PERSISTENT_GRANTS = 1056;

const READONLY = { readonly: true };
const WRITABLE = { readonly: false };
/** Places where a reference is looked for first, by its low bits; a power of two. */
const NEAR = 4096;

/** How a link's grants are mapped. */
export interface MappedGrantsOptions {
  /** Both ends have written `feature-persistent`. */
  readonly persistent: boolean;
  /** {@link MAX_PERSISTENT_GRANTS} without it. */
  readonly limit?: number;
}

/** A page of the frontend's, mapped for those who use it. */
export class Mapping {
  ref: GrantRef;
  /** The page, as long as it is mapped. */
  page: Page | undefined;
  /** Its bytes, and where in which memory they lie. */
  bytes: Uint8Array;
  buffer: ArrayBufferLike;
  at: number;
  /** How many segments use it now. */
  users = 0;
  /** Whether it stays mapped when nobody uses it. */
  kept: boolean;
  /** Its neighbours by the time of their last use, when it is kept. */
  newer: Mapping = this;
  older: Mapping = this;

  constructor(ref: GrantRef, page: Page | undefined, bytes: Uint8Array, kept: boolean) {
    this.ref = ref;
    this.page = page;
    this.bytes = bytes;
    this.buffer = bytes.buffer;
    this.at = bytes.byteOffset;
    this.kept = kept;
  }
}

/**
 * The pages that one link's requests use. With persistent grants (blkif.h `feature-persistent`) a page stays mapped, writable even
 * where it is only read, and is found by its reference when that comes again; beyond the limit the one that was used longest ago makes
 * room. Else each use maps and unmaps.
 *
 * What a reference means is looked at when it is mapped, and not again: a frontend that ends a grant and uses its number for another
 * page goes on meaning the first one, which stays its own until this end lets go (Xen counts the mapping). It harms nobody else.
 */
export class MappedGrants implements Disposable {
  declare private readonly grants: BackGrants;
  declare private readonly persistent: boolean;
  declare private readonly limit: number;
  /** What is kept, by reference; `#near` finds almost all of it sooner. */
  readonly #kept = new Map<GrantRef, Mapping>();
  readonly #near = new Array<Mapping | undefined>(NEAR).fill(undefined);
  /** The kept ones in a circle: `newer` of this one is the one used longest ago, `older` the one used last. */
  readonly #ends = new Mapping(0 as GrantRef, undefined, new Uint8Array(0), false);
  /** Records to use again. */
  readonly #spare: Mapping[] = [];
  #ended = false;

  constructor(grants: BackGrants, { persistent, limit = MAX_PERSISTENT_GRANTS }: MappedGrantsOptions) {
    this.grants = grants;
    this.persistent = persistent;
    this.limit = limit;
  }

  /** Pages that stay mapped. */
  get size(): number {
    return this.#kept.size;
  }

  /**
   * The page of a reference, until {@link release}.
   * @param readonly whether it is only read; with persistent grants that makes no difference (blkif.h, note 8)
   * @throws GrantError
   */
  map(ref: GrantRef, readonly: boolean): Mapping {
    if (this.persistent !== true) return this.#map(ref, readonly, false);
    const near = this.#near[ref & (NEAR - 1)];
    const kept = near !== undefined && near.ref === ref ? near : this.#kept.get(ref);
    if (kept === undefined) return this.#keep(ref);
    kept.users++;
    if (kept !== this.#ends.older) this.#touch(kept);
    return kept;
  }

  /** One user less; a page that is not kept is unmapped with its last. */
  release(mapping: Mapping): void {
    mapping.users--;
    if (mapping.users > 0 || (mapping.kept === true && this.#ended !== true)) return;
    this.#unmap(mapping);
  }

  /** Keeps nothing any longer: what nobody uses is unmapped now, the rest with its last user. */
  [Symbol.dispose](): void {
    this.#ended = true;
    for (const mapping of this.#kept.values()) if (mapping.users === 0) this.#unmap(mapping);
    this.#kept.clear();
  }

  #keep(ref: GrantRef): Mapping {
    if (this.#kept.size >= this.limit && !this.#makeRoom()) return this.#map(ref, false, false);
    const mapping = this.#map(ref, false, true);
    this.#kept.set(ref, mapping);
    this.#near[ref & (NEAR - 1)] = mapping;
    this.#insert(mapping);
    return mapping;
  }

  /** Unmaps the kept page that was used longest ago and is not in use; false when all are. */
  #makeRoom(): boolean {
    for (let oldest = this.#ends.newer; oldest !== this.#ends; oldest = oldest.newer) {
      if (oldest.users > 0) continue;
      const place = oldest.ref & (NEAR - 1);
      if (this.#near[place] === oldest) this.#near[place] = undefined;
      this.#kept.delete(oldest.ref);
      this.#unmap(oldest);
      return true;
    }
    return false;
  }

  #map(ref: GrantRef, readonly: boolean, kept: boolean): Mapping {
    const page = this.grants.map(ref, readonly ? READONLY : WRITABLE);
    const { bytes } = page;
    const mapping = this.#spare.pop() ?? new Mapping(ref, page, bytes, kept);
    mapping.ref = ref;
    mapping.page = page;
    mapping.bytes = bytes;
    mapping.buffer = bytes.buffer;
    mapping.at = bytes.byteOffset;
    mapping.kept = kept;
    mapping.users = 1;
    return mapping;
  }

  #unmap(mapping: Mapping): void {
    if (mapping.kept) this.#remove(mapping);
    const { page } = mapping;
    mapping.page = undefined;
    this.#spare.push(mapping);
    page?.[Symbol.dispose]();
  }

  #touch(mapping: Mapping): void {
    mapping.newer.older = mapping.older;
    mapping.older.newer = mapping.newer;
    this.#insert(mapping);
  }

  #insert(mapping: Mapping): void {
    const ends = this.#ends;
    const last = ends.older;
    mapping.older = last;
    mapping.newer = ends;
    last.newer = mapping;
    ends.older = mapping;
  }

  #remove(mapping: Mapping): void {
    mapping.newer.older = mapping.older;
    mapping.older.newer = mapping.newer;
    mapping.newer = mapping.older = mapping;
  }
}
