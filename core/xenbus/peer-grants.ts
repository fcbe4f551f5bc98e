import { gntst } from '../abi/gntst.js';
import type { Domid, GrantRef } from '../abi/units.js';
import { PAGE_SIZE } from '../abi/units.js';
import type { CopyRun, GrantCopies, PeerGrantCopies } from '../domain/grant-copies.js';
import type { CopySegment, GrantTable, Page, SharedPage } from '../domain/grant-table.js';
import { Disconnected, GrantError } from '../errors.js';

/** The grants of a frontend: its own pages, offered to the one peer of its link. */
export interface FrontGrants {
  /**
   * Fresh zeroed pages that the backend may map or copy (XSA-403). Disposal ends the grant, when the link has ended only after the backend
   * has let go; a page that is still mapped is parked, and reused only afterwards (XSA-396).
   */
  share(pages?: number, options?: { readonly readonly?: boolean }): SharedPage;
  /** Own zeroed pages that nobody else may touch, side by side. @throws XenError ENOMEM */
  alloc(pages?: number): Page;
  /** As {@link GrantTable.copier}, between pages of this link, shared or own. */
  copier(from: Page, to: Page): (fromOffset: number, toOffset: number, length: number) => void;
}

/** A backend's access to the pages that its link's one frontend has granted. */
export interface BackGrants {
  /** Maps the peer's pages side by side, all or none. @throws GrantError */
  map(refs: GrantRef | readonly GrantRef[], options?: { readonly readonly?: boolean }): Page;
  /**
   * Copies bytes into the peer's page at `offset` and returns how many.
   * @param from a page of this domain, from `pageOffset` on; bare bytes are staged through a page of the link's own
   * @throws GrantError for a bad reference or a place outside the page
   */
  copyTo(ref: GrantRef, from: Uint8Array, offset?: number): number;
  copyTo(ref: GrantRef, from: Page, offset: number, pageOffset: number, length: number): number;
  /** Copies bytes out of the peer's page into a page of this domain and returns how many. @throws GrantError */
  copyFrom(ref: GrantRef, to: Page, offset: number, pageOffset: number, length: number): number;
  /** Copies between the peer's pages and pages of this domain, as one batch. @throws GrantError of the first element that failed */
  copyAllFrom(segments: readonly CopySegment[]): void;
  copyAllTo(segments: readonly CopySegment[]): void;
  /** Lists of copies from the peer's pages into this domain's, and the other way, which end with the link. */
  copiesFrom(): GrantCopies;
  copiesTo(): GrantCopies;
  /**
   * A list of copies from the pages of another link's frontend into this one's peer's; it ends with either link.
   * @throws TypeError unless both links' devices are this domain's
   */
  copiesBetween(from: BackGrants): PeerGrantCopies;
  /** Own zeroed pages, for staging. @throws XenError ENOMEM */
  alloc(pages?: number): Page;
}

/** A domain's grant table, bound to the one frontend of a link. */
export class PeerGrants implements BackGrants, Disposable {
  readonly #table: GrantTable;
  readonly #peer: Domid;
  #staging: Page | undefined;
  #closed = false;
  /** Its lists of copies, those between it and others among them. */
  #lists: CopyRun[] = [];

  constructor(table: GrantTable, peer: Domid) {
    this.#table = table;
    this.#peer = peer;
  }

  map(refs: GrantRef | readonly GrantRef[], options: { readonly readonly?: boolean } = {}): Page {
    return this.#open().map(this.#peer, typeof refs === 'number' ? [refs] : refs, options);
  }

  copyTo(ref: GrantRef, from: Uint8Array | Page, offset = 0, pageOffset = 0, length?: number): number {
    if (!(from instanceof Uint8Array)) {
      const count = length ?? PAGE_SIZE;
      this.#open().copyTo(this.#peer, [{ ref, offset, page: from, pageOffset, length: count }]);
      return count;
    }
    if (offset + from.length > PAGE_SIZE)
      throw new GrantError(gntst.bad_copy_arg, `a copy of ${from.length} bytes to ${offset}`);
    const table = this.#open();
    this.#staging ??= table.alloc();
    this.#staging.bytes.set(from);
    table.copyTo(this.#peer, [{ ref, offset, page: this.#staging, pageOffset: 0, length: from.length }]);
    return from.length;
  }

  copyFrom(ref: GrantRef, to: Page, offset: number, pageOffset: number, length: number): number {
    this.#open().copyFrom(this.#peer, [{ ref, offset, page: to, pageOffset, length }]);
    return length;
  }

  copyAllFrom(segments: readonly CopySegment[]): void {
    this.#open().copyFrom(this.#peer, segments);
  }

  copyAllTo(segments: readonly CopySegment[]): void {
    this.#open().copyTo(this.#peer, segments);
  }

  copiesFrom(): GrantCopies {
    return this.#ending(this.#open().copiesFrom(this.#peer));
  }

  copiesTo(): GrantCopies {
    return this.#ending(this.#open().copiesTo(this.#peer));
  }

  copiesBetween(from: BackGrants): PeerGrantCopies {
    if (!(#peer in from) || from.#table !== this.#table)
      throw new TypeError('only from the grants of another link of the same domain can be copied');
    from.#open();
    return from.#ending(this.#ending(this.#open().copiesBetween(from.#peer, this.#peer)));
  }

  alloc(pages = 1): Page {
    return this.#open().alloc(pages);
  }

  /** After it every call throws Disconnected: a late handler must not touch what is another link's by now. */
  [Symbol.dispose](): void {
    this.#closed = true;
    for (const list of this.#lists) list.end(this.#over());
    this.#lists = [];
    this.#staging?.[Symbol.dispose]();
    this.#staging = undefined;
  }

  #open(): GrantTable {
    if (this.#closed) throw this.#over();
    return this.#table;
  }

  #ending<T extends CopyRun>(list: T): T {
    this.#lists = [...this.#lists.filter(({ ended }) => !ended), list];
    return list;
  }

  #over(): Disconnected {
    return new Disconnected(`the link to domain ${this.#peer} has ended`);
  }
}
