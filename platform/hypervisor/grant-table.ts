import { errno } from '../../core/abi/errno.js';
import { type Domid, type GrantRef, PAGE_SIZE } from '../../core/abi/units.js';
import type { GrantCopies, PeerGrantCopies } from '../../core/domain/grant-copies.js';
import {
  type CopySegment,
  GrantTable,
  type GrantTableSize,
  type Page,
  type PeerCopySegment,
  type SharedPage,
} from '../../core/domain/grant-table.js';
import { type GrantError, XenError } from '../../core/errors.js';
import { CopyList } from '../../core/hypervisor/copy-list.js';
import { gntcopy } from '../../core/hypervisor/grant-copy.js';
import { gntmap } from '../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { GRANTS_PER_FRAME } from '../../core/hypervisor/layout.js';
import { HypervisorCopies, HypervisorPeerCopies } from './grant-copies.js';
import { copyError, mapError, peerCopyError } from './grant-errors.js';
import { OwnDomain } from './own-domain.js';
import { FramePage, FrameViews, GrantedPage, MappedPage, OwnPage } from './page.js';
import { PagePool } from './page-pool.js';
import { ParkedGrants } from './parked-grants.js';

const PAGE_SHIFT = 12;

/** The grant table of a domain of our Xen, and its mappings of other domains' pages. */
export class HypervisorGrantTable extends GrantTable {
  readonly #own: OwnDomain;
  readonly #views: FrameViews;
  readonly #pool: PagePool;
  readonly #parked: ParkedGrants;
  readonly #list = new CopyList();
  #owned = 0;
  #shared = 0;
  #mapped = 0;

  /** @throws RangeError when there is no such domain */
  constructor(hypervisor: Hypervisor, domid: Domid) {
    super();
    this.#own = new OwnDomain(hypervisor, domid);
    this.#views = new FrameViews(hypervisor.memory.memory);
    this.#pool = new PagePool(this.#own);
    this.#parked = new ParkedGrants(this.#own, this.#pool);
  }

  override alloc(pages = 1): Page {
    this.#check();
    this.#parked.reclaim();
    const page = new OwnPage(this.#views, this.#pool.take(pages), pages, this.#give);
    this.#owned++;
    return page;
  }

  override share(peer: Domid, pages = 1, options?: { readonly readonly?: boolean }): SharedPage {
    const { hypervisor, domid } = this.#check();
    this.#parked.reclaim();
    const frame = this.#pool.take(pages);
    const refs: GrantRef[] = [];
    for (let i = 0; i < pages; i++) {
      const ref = hypervisor.grantEntries.allocRef(domid);
      if (ref < 0) {
        this.#parked.end(frame, pages, refs);
        throw new XenError(-ref, `a grant reference for domain ${peer}`);
      }
      hypervisor.grantEntries.grantAccess(domid, ref as GrantRef, peer, frame + i, options?.readonly ?? false);
      refs.push(ref as GrantRef);
    }
    this.#shared++;
    return new GrantedPage(this.#views, frame, refs, this.#isInUse, this.#unshare);
  }

  /**
   * As {@link GrantTable.map}. All memory is one, so several pages have a view side by side only if their frames are: a ring's,
   * which `share` took as one run, are. @throws XenError EOPNOTSUPP for frames that are not side by side (XSA-229)
   */
  override map(peer: Domid, refs: readonly GrantRef[], options?: { readonly readonly?: boolean }): Page {
    const { hypervisor, domid } = this.#check();
    const flags = gntmap.hostMap | (options?.readonly ? gntmap.readonly : 0);
    const first = this.#mapOne(peer, refs[0], flags);
    const frame = hypervisor.grantMap.frameOf(domid, first);
    const handles = refs.length === 1 ? first : this.#mapRest(peer, refs, flags, first, frame);
    this.#mapped++;
    return new MappedPage(this.#views, frame, refs.length, handles, this.#unmap);
  }

  override mapEach(
    peer: Domid,
    refs: readonly GrantRef[],
    options?: { readonly readonly?: boolean },
  ): readonly (Page | GrantError)[] {
    const { hypervisor, domid } = this.#check();
    const flags = gntmap.hostMap | (options?.readonly ? gntmap.readonly : 0);
    return refs.map((ref) => {
      const handle = hypervisor.grantMap.map(domid, peer, ref, flags);
      if (handle < 0) return mapError(handle, peer, ref);
      this.#mapped++;
      return new MappedPage(this.#views, hypervisor.grantMap.frameOf(domid, handle), 1, handle, this.#unmap);
    });
  }

  override copyTo(peer: Domid, segments: readonly CopySegment[]): void {
    this.#copy(peer, segments, true);
  }

  override copyFrom(peer: Domid, segments: readonly CopySegment[]): void {
    this.#copy(peer, segments, false);
  }

  override copyBetween(from: Domid, to: Domid, segments: readonly PeerCopySegment[]): void {
    const { hypervisor, domid } = this.#check();
    const { grantCopy } = hypervisor;
    const flags = gntcopy.sourceGref | gntcopy.destGref;
    let failed: GrantError | undefined;
    for (let i = 0; i < segments.length; i++) {
      const { from: source, fromOffset, to: dest, toOffset, length } = segments[i] as PeerCopySegment;
      const status = grantCopy.copy(domid, from, source, fromOffset, to, dest, toOffset, length, flags);
      if (status < 0) failed ??= peerCopyError(status, from, source, to, dest);
    }
    if (failed !== undefined) throw failed;
  }

  override copiesFrom(peer: Domid): GrantCopies {
    return new HypervisorCopies(this.#check(), peer, false);
  }

  override copiesTo(peer: Domid): GrantCopies {
    return new HypervisorCopies(this.#check(), peer, true);
  }

  override copiesBetween(from: Domid, to: Domid): PeerGrantCopies {
    return new HypervisorPeerCopies(this.#check(), from, to);
  }

  override copier(from: Page, to: Page): (fromOffset: number, toOffset: number, length: number) => void {
    const source = FramePage.live(from);
    const dest = FramePage.live(to);
    const { code } = this.#own.hypervisor.memory;
    const sourceAddress = source.frame * PAGE_SIZE;
    const destAddress = dest.frame * PAGE_SIZE;
    const sourceSize = source.count * PAGE_SIZE;
    const destSize = dest.count * PAGE_SIZE;
    return (fromOffset, toOffset, length) => {
      const bytes = length >>> 0;
      const fromByte = fromOffset >>> 0;
      const toByte = toOffset >>> 0;
      if (fromByte + bytes > sourceSize || toByte + bytes > destSize) {
        throw new RangeError(`${length} bytes from ${fromOffset} to ${toOffset} leave a page`);
      }
      if (source.isGone || dest.isGone) throw new TypeError('a page of this copier has been disposed');
      code.copy(destAddress + toByte, sourceAddress + fromByte, bytes);
    };
  }

  /**
   * Own pages that this domain was built with, such as the store's ring; disposing them only ends the view.
   * @throws RangeError unless the frames are the domain's pages
   */
  adopt(frame: number, pages = 1): Page {
    const { hypervisor, domid } = this.#check();
    for (let i = 0; i < pages; i++) {
      if (!hypervisor.frames.isPage(frame + i, domid)) {
        throw new RangeError(`frame ${frame + i} is no page of domain ${domid}`);
      }
    }
    return new FramePage(this.#views, frame, pages);
  }

  override get size(): GrantTableSize {
    const { hypervisor, domid } = this.#check();
    const { nrFrames, maxNrFrames } = hypervisor.grantEntries.querySize(domid, domid);
    return { entries: nrFrames * GRANTS_PER_FRAME, maxEntries: maxNrFrames * GRANTS_PER_FRAME };
  }

  /** Asks again for `limit` of the pages that were disposed while a peer had them mapped; returns how many came back. */
  reclaim(limit?: number): number {
    return this.#parked.reclaim(limit);
  }

  /** Gives the free pages that are kept for reuse back to Xen. */
  trim(): void {
    this.#pool.trim();
  }

  /** Runs of own pages not disposed: by `alloc`, by `share`; mappings; runs that wait for a peer; pages kept for reuse. */
  get counts(): {
    readonly owned: number;
    readonly shared: number;
    readonly mapped: number;
    readonly parked: number;
    readonly pooled: number;
  } {
    return {
      owned: this.#owned,
      shared: this.#shared,
      mapped: this.#mapped,
      parked: this.#parked.count,
      pooled: this.#pool.kept,
    };
  }

  /** Runs of pages that were disposed while a peer had them mapped. */
  get parked(): number {
    return this.#parked.count;
  }

  readonly #give = (page: OwnPage): void => {
    this.#owned--;
    this.#pool.give(page.frame, page.count);
  };

  readonly #isInUse = (page: GrantedPage): boolean => {
    const { hypervisor, domid, isGone } = this.#own;
    return !isGone && page.refs.some((ref) => hypervisor.grantEntries.isInUse(domid, ref));
  };

  readonly #unshare = (page: GrantedPage): void => {
    this.#shared--;
    if (this.#own.isGone) return;
    this.#parked.end(page.frame, page.count, page.refs);
    this.#parked.reclaim();
  };

  readonly #unmap = (page: MappedPage): void => {
    this.#mapped--;
    const { hypervisor, domid, isGone } = this.#own;
    if (isGone) return;
    if (typeof page.handles === 'number') {
      hypervisor.grantMap.unmap(domid, page.handles, page.frame * PAGE_SIZE, 0);
      return;
    }
    page.handles.forEach((handle, i) => {
      hypervisor.grantMap.unmap(domid, handle, (page.frame + i) * PAGE_SIZE, 0);
    });
  };

  #check(): OwnDomain {
    if (this.#own.isGone) throw new XenError('ESRCH', `domain ${this.#own.domid} has been destroyed`);
    return this.#own;
  }

  #mapOne(peer: Domid, ref: GrantRef | undefined, flags: number): number {
    if (ref === undefined) throw new RangeError('map needs one grant reference or more');
    const { hypervisor, domid } = this.#own;
    const handle = hypervisor.grantMap.map(domid, peer, ref, flags);
    if (handle < 0) throw mapError(handle, peer, ref);
    return handle;
  }

  #mapRest(peer: Domid, refs: readonly GrantRef[], flags: number, first: number, frame: number): readonly number[] {
    const { hypervisor, domid } = this.#own;
    const handles = [first];
    try {
      for (let i = 1; i < refs.length; i++) {
        const handle = this.#mapOne(peer, refs[i], flags);
        handles.push(handle);
        if (hypervisor.grantMap.frameOf(domid, handle) !== frame + i) {
          const what = `references ${refs.join(', ')} of domain ${peer} are not of frames side by side: map them one by one`;
          throw new XenError(errno.EOPNOTSUPP, what);
        }
      }
    } catch (error) {
      for (const handle of handles) {
        hypervisor.grantMap.unmap(domid, handle, hypervisor.grantMap.frameOf(domid, handle) * PAGE_SIZE, 0);
      }
      throw error;
    }
    return handles;
  }

  /**
   * Every element is done, as in Xen's batch; the first that failed is thrown at the end. A segment that is a mistake is thrown at once,
   * after what comes before it.
   */
  #copy(peer: Domid, segments: readonly CopySegment[], toPeer: boolean): void {
    this.#check();
    const pageSize = PAGE_SIZE;
    // A list that is in use has a segment's own code calling this.
    const list = this.#list.end === 0 ? this.#list : new CopyList();
    let failed: GrantError | undefined;
    try {
      for (let i = 0; i < segments.length; i++) {
        const { ref, offset, page, pageOffset, length } = segments[i] as CopySegment;
        const own = FramePage.live(page);
        if (!(pageOffset >= 0 && length >= 0 && pageOffset + length <= own.count * pageSize)) {
          throw new RangeError(`${length} bytes from ${pageOffset} leave the page`);
        }
        list.add(ref, offset, own.frame + (pageOffset >>> PAGE_SHIFT), pageOffset & (pageSize - 1), length);
        if (list.isFull) {
          const error = this.#copyList(peer, list, toPeer);
          failed ??= error;
        }
      }
    } finally {
      const error = list.end === 0 ? undefined : this.#copyList(peer, list, toPeer);
      failed ??= error;
    }
    if (failed !== undefined) throw failed;
  }

  /** Copies what the list holds and empties it; the first element's error. */
  #copyList(peer: Domid, list: CopyList, toPeer: boolean): GrantError | undefined {
    const { hypervisor, domid } = this.#own;
    const failed = hypervisor.grantCopy.copyList(domid, peer, list, toPeer);
    const error = failed < 0 ? undefined : copyError(list, failed, peer);
    list.clear();
    return error;
  }
}
