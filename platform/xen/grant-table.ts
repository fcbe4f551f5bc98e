import { errno } from '../../core/abi/errno.js';
import { gntst } from '../../core/abi/gntst.js';
import { asGrantRef, type Domid, type GrantRef, PAGE_SIZE } from '../../core/abi/units.js';
import {
  type CopySegment,
  GrantTable,
  type GrantTableSize,
  type Page,
  type PeerCopySegment,
  type SharedPage,
} from '../../core/domain/grant-table.js';
import { GrantError, XenError } from '../../core/errors.js';
import { FramePage, FrameViews, GrantedPage, MappedPage, OwnPage } from '../hypervisor/page.js';
import type { Arena } from './arena.js';
import { CopyBlock } from './copy-block.js';
import type { XenDevice } from './device.js';
import { GNTALLOC_FLAG_WRITABLE, gntalloc, gntdev } from './ioctls.js';
import type { Libc } from './libc.js';

/** References that one call maps or grants: its argument has a page. */
const MAX_REFS = 500;

/** Where a table gets its pages and grants. */
export interface GrantDevices {
  readonly libc: Libc;
  readonly arena: Arena;
  readonly gntdev: XenDevice;
  /** Opens gntalloc; called when a page is shared for the first time. @throws XenUnavailable */
  readonly openGntalloc: () => XenDevice;
}

/**
 * The grants of the domain that this process runs in, through /dev/xen/gntdev and /dev/xen/gntalloc. All pages lie in one arena. What is
 * disposed of is blanked, not unmapped, so a view that somebody kept reads zeros; a mapping whose domain is gone stays until it is disposed of.
 * Own pages that a peer still has mapped when they are disposed of are kept by the kernel until it lets go (XSA-396).
 */
export class XenGrantTable extends GrantTable implements Disposable {
  readonly #libc: Libc;
  readonly #arena: Arena;
  readonly #gntdev: XenDevice;
  readonly #openGntalloc: () => XenDevice;
  #opened: XenDevice | undefined;
  readonly #views: FrameViews;
  readonly #block: CopyBlock;
  /** The page that arguments other than a copy's lie in. */
  readonly #argument: { readonly address: number; readonly words: Int32Array };
  /** Where the kernel has what a shared page shows. */
  readonly #offsets = new Map<number, number>();
  #owned = 0;
  #shared = 0;
  #mapped = 0;
  #closed = false;

  constructor({ libc, arena, gntdev: mapping, openGntalloc }: GrantDevices) {
    super();
    this.#libc = libc;
    this.#arena = arena;
    this.#gntdev = mapping;
    this.#openGntalloc = openGntalloc;
    this.#views = new FrameViews(arena);
    this.#block = new CopyBlock(libc, arena, mapping.fd);
    const page = arena.take(1);
    this.#argument = {
      address: arena.addressOf(page),
      words: new Int32Array(arena.buffer, page * PAGE_SIZE, PAGE_SIZE / 4),
    };
  }

  /** Runs of pages not disposed of: own ones, those that were shared, mappings. */
  get counts(): { readonly owned: number; readonly shared: number; readonly mapped: number } {
    return { owned: this.#owned, shared: this.#shared, mapped: this.#mapped };
  }

  /**
   * The devices are about to be closed, which ends all grants; pages that are disposed of later, since a disk was still at them, are blanked
   * all the same, and only then does the kernel let go of them.
   */
  [Symbol.dispose](): void {
    this.#closed = true;
  }

  override alloc(pages = 1): Page {
    const frame = this.#arena.take(pages);
    this.#arena.bytes.fill(0, frame * PAGE_SIZE, (frame + pages) * PAGE_SIZE);
    this.#owned++;
    return new OwnPage(this.#views, frame, pages, this.#give);
  }

  /**
   * As {@link GrantTable.share}. The pages are the kernel's (gntalloc), which does not say whether a peer has them mapped: `inUse` is
   * always false. @throws XenError ENOSPC beyond gntalloc's limit, 1024 pages by default
   */
  override share(peer: Domid, pages = 1, options?: { readonly readonly?: boolean }): SharedPage {
    checkCount(pages, 'pages are shared');
    const { words, address } = this.#argument;
    const { fd } = this.#gntalloc;
    const frame = this.#arena.take(pages);
    words[0] = peer | ((options?.readonly ? 0 : GNTALLOC_FLAG_WRITABLE) << 16);
    words[1] = pages;
    const result = this.#libc.ioctl(fd, gntalloc.ALLOC_GREF, address);
    if (result < 0) {
      this.#arena.give(frame, pages);
      const why = -result === errno.ENOSPC ? ': more in all than /sys/module/xen_gntalloc/parameters/limit' : '';
      throw new XenError(-result, `IOCTL_GNTALLOC_ALLOC_GREF of ${pages} pages for domain ${peer}${why}`);
    }
    const offset = this.#index(2);
    const refs = Array.from(words.subarray(4, 4 + pages), (ref) => asGrantRef(ref >>> 0));
    const placed = this.#arena.place(frame, pages, { fd, offset, readonly: false });
    if (placed < 0) {
      this.#arena.blank(frame, pages);
      this.#dealloc(offset, pages);
      this.#arena.give(frame, pages);
      throw new XenError(-placed, `mmap of ${pages} pages that are granted to domain ${peer}`);
    }
    this.#offsets.set(frame, offset);
    this.#shared++;
    return new GrantedPage(this.#views, frame, refs, () => false, this.#unshare);
  }

  override map(peer: Domid, refs: readonly GrantRef[], options?: { readonly readonly?: boolean }): Page {
    const count = refs.length;
    checkCount(count, 'grant references are mapped');
    const { words, address } = this.#argument;
    const readonly = options?.readonly ?? false;
    const frame = this.#arena.take(count);
    words[0] = count;
    refs.forEach((ref, i) => {
      words[4 + 2 * i] = peer;
      words[5 + 2 * i] = ref;
    });
    const result = this.#libc.ioctl(this.#gntdev.fd, gntdev.MAP_GRANT_REF, address);
    if (result < 0) {
      this.#arena.give(frame, count);
      throw new XenError(-result, `IOCTL_GNTDEV_MAP_GRANT_REF of ${count} references of domain ${peer}`);
    }
    const index = this.#index(2);
    const placed = this.#arena.place(frame, count, { fd: this.#gntdev.fd, offset: index, readonly });
    if (placed < 0) {
      this.#arena.blank(frame, count);
      this.#unmapIndex(index, count);
      this.#arena.give(frame, count);
      throw this.#mapError(-placed, peer, refs);
    }
    this.#mapped++;
    return new MappedPage(this.#views, frame, count, index, this.#unmap);
  }

  /** As {@link GrantTable.mapEach}; one call for each, since the kernel does not say which of several has failed. */
  override mapEach(
    peer: Domid,
    refs: readonly GrantRef[],
    options?: { readonly readonly?: boolean },
  ): readonly (Page | GrantError)[] {
    return refs.map((ref) => {
      try {
        return this.map(peer, [ref], options);
      } catch (error) {
        if (error instanceof GrantError) return error;
        throw error;
      }
    });
  }

  /** @throws XenError ENOSYS: the kernel has the table, and does not let its processes ask */
  override get size(): GrantTableSize {
    throw new XenError('ENOSYS', 'GNTTABOP_query_size, which Linux does not offer to a process');
  }

  override copyTo(peer: Domid, segments: readonly CopySegment[]): void {
    this.#copy(peer, segments, true);
  }

  override copyFrom(peer: Domid, segments: readonly CopySegment[]): void {
    this.#copy(peer, segments, false);
  }

  override copyBetween(from: Domid, to: Domid, segments: readonly PeerCopySegment[]): void {
    const block = this.#block;
    let failed: GrantError | undefined;
    for (const segment of segments) {
      const { length, fromOffset, toOffset } = segment;
      if (length === 0) continue;
      if (fromOffset + length > PAGE_SIZE || toOffset + length > PAGE_SIZE) {
        failed ??= new GrantError(gntst.bad_copy_arg, copyOf(segment.from, from));
        continue;
      }
      block.addBetween(from, segment.from, fromOffset, to, segment.to, toOffset, length);
      if (block.isFull) failed = this.#copyBlock(from, failed);
    }
    if (block.count > 0) failed = this.#copyBlock(from, failed);
    if (failed !== undefined) throw failed;
  }

  override copier(from: Page, to: Page): (fromOffset: number, toOffset: number, length: number) => void {
    const source = FramePage.live(from);
    const dest = FramePage.live(to);
    const { bytes } = this.#arena;
    return (fromOffset, toOffset, length) => {
      if (!within(source, fromOffset, length) || !within(dest, toOffset, length)) {
        throw new RangeError(`${length} bytes from ${fromOffset} to ${toOffset} leave a page`);
      }
      if (source.isGone || dest.isGone) throw new TypeError('a page of this copier has been disposed');
      const begin = source.frame * PAGE_SIZE + fromOffset;
      bytes.copyWithin(dest.frame * PAGE_SIZE + toOffset, begin, begin + length);
    };
  }

  get #gntalloc(): XenDevice {
    this.#opened ??= this.#openGntalloc();
    return this.#opened;
  }

  readonly #give = ({ frame, count }: OwnPage): void => {
    this.#owned--;
    this.#arena.give(frame, count);
  };

  readonly #unshare = ({ frame, count }: GrantedPage): void => {
    const offset = this.#offsets.get(frame);
    if (offset === undefined) return;
    this.#offsets.delete(frame);
    this.#shared--;
    // The kernel keeps a page for as long as it is looked at, so the look ends first.
    this.#arena.blank(frame, count);
    this.#dealloc(offset, count);
    this.#arena.give(frame, count);
  };

  readonly #unmap = ({ frame, count, handles }: MappedPage): void => {
    this.#mapped--;
    this.#arena.blank(frame, count);
    this.#unmapIndex(handles as number, count);
    this.#arena.give(frame, count);
  };

  /** The 64-bit number at a word of the argument: an offset for mmap, which is small. */
  #index(word: number): number {
    const { words } = this.#argument;
    return ((words[word] as number) >>> 0) + ((words[word + 1] as number) >>> 0) * 2 ** 32;
  }

  #callIndexed(device: XenDevice, request: number, index: number, count: number): number {
    if (this.#closed) return 0;
    const { words, address } = this.#argument;
    words[0] = index | 0;
    words[1] = Math.floor(index / 2 ** 32);
    words[2] = count;
    words[3] = 0;
    return this.#libc.ioctl(device.fd, request, address);
  }

  #dealloc(offset: number, count: number): void {
    const result = this.#callIndexed(this.#gntalloc, gntalloc.DEALLOC_GREF, offset, count);
    if (result < 0) throw new XenError(-result, `IOCTL_GNTALLOC_DEALLOC_GREF of ${count} pages`);
  }

  #unmapIndex(index: number, count: number): void {
    const result = this.#callIndexed(this.#gntdev, gntdev.UNMAP_GRANT_REF, index, count);
    if (result < 0) throw new XenError(-result, `IOCTL_GNTDEV_UNMAP_GRANT_REF of ${count} references`);
  }

  /**
   * The kernel answers EINVAL for whatever Xen said of a reference (`gntdev_map_grant_pages`). Xen says the same of a copy from it, but for a
   * reference that may be read and not written: `general_error` stands for that.
   */
  #mapError(number: number, peer: Domid, refs: readonly GrantRef[]): XenError {
    if (number !== errno.EINVAL) return new XenError(number, `mmap of ${refs.length} references of domain ${peer}`);
    const scratch = this.#arena.take(1);
    try {
      for (const ref of refs) {
        this.#block.add(peer, ref, 0, this.#arena.addressOf(scratch), 1, false);
        const failed = this.#copyBlock(peer);
        if (failed !== undefined) return new GrantError(failed.status, mapOf(ref, peer));
      }
    } finally {
      this.#arena.give(scratch, 1);
    }
    return new GrantError(gntst.general_error, mapOf(refs[0], peer));
  }

  /** Every element is done, as in Xen's batch; the first that failed is thrown at the end. */
  #copy(peer: Domid, segments: readonly CopySegment[], toPeer: boolean): void {
    const block = this.#block;
    let failed: GrantError | undefined;
    try {
      for (let i = 0; i < segments.length; i++) {
        const { ref, offset, page, pageOffset, length } = segments[i] as CopySegment;
        const own = FramePage.live(page);
        if (!within(own, pageOffset, length)) throw new RangeError(`${length} bytes from ${pageOffset} leave the page`);
        if (length === 0) continue;
        // The kernel refuses the whole call for one of these, and splits what crosses a page of ours.
        if (offset + length > PAGE_SIZE || (pageOffset % PAGE_SIZE) + length > PAGE_SIZE) {
          failed ??= new GrantError(gntst.bad_copy_arg, copyOf(ref, peer));
          continue;
        }
        block.add(peer, ref, offset, this.#arena.addressOf(own.frame) + pageOffset, length, toPeer);
        if (block.isFull) failed = this.#copyBlock(peer, failed);
      }
    } finally {
      if (block.count > 0) failed = this.#copyBlock(peer, failed);
    }
    if (failed !== undefined) throw failed;
  }

  /** Copies what the block holds and empties it; the first element's error, unless there was one before. */
  #copyBlock(peer: Domid, before?: GrantError): GrantError | undefined {
    const block = this.#block;
    let failed = before;
    try {
      block.copy();
      for (let i = 0; i < block.count && failed === undefined; i++) {
        const status = block.status(i);
        if (status !== gntst.okay) failed = new GrantError(status, copyOf(block.ref(i), peer));
      }
    } finally {
      block.clear();
    }
    return failed;
  }
}

const checkCount = (count: number, what: string): void => {
  if (!Number.isInteger(count) || count < 1 || count > MAX_REFS) {
    throw new RangeError(`${what} by 1 to ${MAX_REFS} at once, not ${count}`);
  }
};

const within = (page: FramePage, offset: number, length: number): boolean =>
  offset >= 0 && length >= 0 && offset + length <= page.count * PAGE_SIZE;

const mapOf = (ref: GrantRef | undefined, peer: Domid): string =>
  `GNTTABOP_map_grant_ref of reference ${ref} of domain ${peer}`;
const copyOf = (ref: number, peer: Domid): string => `GNTTABOP_copy with reference ${ref} of domain ${peer}`;
