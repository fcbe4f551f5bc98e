import type { Domid, GrantRef } from '../abi/units.js';
import type { GrantError } from '../errors.js';
import { type GrantCopies, type PeerGrantCopies, PeerSegmentCopies, SegmentCopies } from './grant-copies.js';

/** A run of whole pages that this domain can touch. After disposal both views throw. */
export interface Page extends Disposable {
  /** The pages' bytes, live: a peer that has them too may change them at any time. */
  readonly bytes: Uint8Array;
  /** The same memory as 32-bit words. */
  readonly words: Int32Array;
}

/**
 * Own pages that a peer may map or copy. Disposal revokes the grants and returns the pages; a page that the peer still has
 * mapped is parked until it lets go and never reused before (XSA-396).
 */
export interface SharedPage extends Page {
  /** The first page's grant reference. */
  readonly ref: GrantRef;
  /** One reference for each page. */
  readonly refs: readonly GrantRef[];
  /** Whether the peer has any of the pages mapped now (the in-use bits GTF_reading and GTF_writing). */
  readonly inUse: boolean;
}

/** One element of a grant copy (grant_table.h `gnttab_copy`), between a peer's granted page and a page of this domain. */
export interface CopySegment {
  readonly ref: GrantRef;
  /** Bytes into the peer's page. */
  readonly offset: number;
  readonly page: Page;
  /** Bytes into `page`. */
  readonly pageOffset: number;
  /** Bytes; neither side may cross a 4096-byte page. */
  readonly length: number;
}

/** One element of a grant copy between granted pages of two peers. */
export interface PeerCopySegment {
  /** What the bytes are read from: a reference of the first peer's, and bytes into its page. */
  readonly from: GrantRef;
  readonly fromOffset: number;
  /** What they are written to: a reference of the second peer's, and bytes into its page. */
  readonly to: GrantRef;
  readonly toOffset: number;
  /** Bytes; neither side may cross a 4096-byte page. */
  readonly length: number;
}

/** How many entries a grant table has. */
export interface GrantTableSize {
  /** Entries that there are, the eight reserved ones included. */
  readonly entries: number;
  /** Entries to which the table grows as they are needed. */
  readonly maxEntries: number;
}

/**
 * A domain's grant table, and its mappings of other domains' pages (grant_table.h). What Xen refuses is a {@link GrantError},
 * whose message names the operation, the reference, its domain, and the rule that was broken.
 */
export abstract class GrantTable {
  /** Fresh own pages, zeroed, side by side. @throws XenError ENOMEM */
  abstract alloc(pages?: number): Page;
  /** Fresh zeroed pages, granted to `peer`. @throws XenError ENOMEM; ENOSPC when the table is full */
  abstract share(peer: Domid, pages?: number, options?: { readonly readonly?: boolean }): SharedPage;
  /**
   * Maps a peer's pages side by side (GNTTABOP_map_grant_ref); all or none.
   * @throws GrantError with the status of the first element that failed
   */
  abstract map(peer: Domid, refs: readonly GrantRef[], options?: { readonly readonly?: boolean }): Page;
  /**
   * Maps a peer's pages each for itself (GNTTABOP_map_grant_ref): for each reference its page, or why there is none. One that
   * fails stops no other.
   */
  abstract mapEach(
    peer: Domid,
    refs: readonly GrantRef[],
    options?: { readonly readonly?: boolean },
  ): readonly (Page | GrantError)[];
  /** Copies from this domain's pages into a peer's (GNTTABOP_copy). @throws GrantError of the first element that failed */
  abstract copyTo(peer: Domid, segments: readonly CopySegment[]): void;
  /** Copies from a peer's pages into this domain's (GNTTABOP_copy). @throws GrantError of the first element that failed */
  abstract copyFrom(peer: Domid, segments: readonly CopySegment[]): void;
  /**
   * Copies from pages that one peer granted to this domain into pages that another did (GNTTABOP_copy), as a switch forwards a
   * packet; every element is done. @throws GrantError of the first element that failed
   */
  abstract copyBetween(from: Domid, to: Domid, segments: readonly PeerCopySegment[]): void;
  /** A list of copies from a peer's pages into this domain's, to be filled and run again and again: what a data path copies by. */
  copiesFrom(peer: Domid): GrantCopies {
    return new SegmentCopies((segments) => this.copyFrom(peer, segments));
  }
  /** The same from this domain's pages into a peer's. */
  copiesTo(peer: Domid): GrantCopies {
    return new SegmentCopies((segments) => this.copyTo(peer, segments));
  }
  /** The same from one peer's pages into another's. */
  copiesBetween(from: Domid, to: Domid): PeerGrantCopies {
    return new PeerSegmentCopies((segments) => this.copyBetween(from, to, segments));
  }
  /**
   * Copies bytes between two places of this domain's own pages and mappings, one pass, overlap allowed: what a ring takes its
   * private copies with. Returns a function bound to the two pages that allocates nothing when called.
   */
  abstract copier(from: Page, to: Page): (fromOffset: number, toOffset: number, length: number) => void;
  /**
   * How large this domain's table is, and may become (GNTTABOP_query_size).
   * @throws XenError ENOSYS where the platform cannot ask
   */
  abstract get size(): GrantTableSize;
}
