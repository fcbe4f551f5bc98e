import { PAGE_SIZE } from '../../core/abi/units.js';
import { XenError } from '../../core/errors.js';
import {
  type Libc,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from './libc.js';

/** Pages of an arena: a quarter of a GiB of addresses, of which only what is used takes memory. */
const PAGES = 65_536;

/** Pages that nobody has, side by side. */
interface Gap {
  start: number;
  count: number;
}

/** What is put in a place of the arena: pages of a device. */
export interface Placed {
  readonly fd: number;
  readonly offset: number;
  readonly readonly: boolean;
}

/**
 * The one reserved stretch of this process' addresses that all pages shared with other domains lie in, own pages and mappings alike.
 * One view covers it all, so no mapping needs one of its own, which costs more than the mapping, and none is ever a hole: where
 * nothing is mapped there are anonymous pages, which read as zeros.
 */
export class Arena {
  readonly #libc: Libc;
  readonly #gaps: Gap[];
  /** Where the arena begins. */
  readonly address: number;
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly pages: number;

  /** @throws XenError ENOMEM when there is no room for it */
  constructor(libc: Libc, pages: number = PAGES) {
    this.#libc = libc;
    this.pages = pages;
    this.address = this.#anonymous(0, pages, 0);
    this.buffer = libc.view(this.address, pages * PAGE_SIZE);
    this.bytes = new Uint8Array(this.buffer);
    this.#gaps = [{ start: 0, count: pages }];
  }

  /** The first of `count` pages side by side that nobody has; what they hold is not said. @throws XenError ENOMEM; RangeError */
  take(count: number): number {
    if (!Number.isInteger(count) || count < 1) throw new RangeError(`pages come by 1 or more, not ${count}`);
    const index = this.#gaps.findIndex((gap) => gap.count >= count);
    const gap = this.#gaps[index];
    if (gap === undefined) throw new XenError('ENOMEM', `${count} pages side by side of an arena of ${this.pages}`);
    const { start } = gap;
    gap.start += count;
    gap.count -= count;
    if (gap.count === 0) this.#gaps.splice(index, 1);
    return start;
  }

  /** Takes pages back, which must be the arena's own again. */
  give(start: number, count: number): void {
    const gaps = this.#gaps;
    let index = gaps.findIndex((gap) => gap.start > start);
    if (index < 0) index = gaps.length;
    const before = gaps[index - 1];
    const after = gaps[index];
    if (before !== undefined && before.start + before.count === start) {
      before.count += count;
      if (after === undefined || start + count !== after.start) return;
      before.count += after.count;
      gaps.splice(index, 1);
    } else if (after !== undefined && start + count === after.start) {
      after.start = start;
      after.count += count;
    } else gaps.splice(index, 0, { start, count });
  }

  /** Pages that somebody has. */
  get taken(): number {
    return this.#gaps.reduce((taken, gap) => taken - gap.count, this.pages);
  }

  addressOf(page: number): number {
    return this.address + page * PAGE_SIZE;
  }

  /** Puts pages of a device where some of the arena's are; 0, or -errno, after which there may be a hole: {@link blank} it. */
  place(page: number, count: number, { fd, offset, readonly }: Placed): number {
    const prot = readonly ? PROT_READ : PROT_READ | PROT_WRITE;
    const result = this.#libc.mmap(this.addressOf(page), count * PAGE_SIZE, prot, MAP_SHARED | MAP_FIXED, fd, offset);
    return Math.min(result, 0);
  }

  /** Puts anonymous pages in the place of whatever is there, in one step. @throws XenError ENOMEM, and then all is as it was */
  blank(page: number, count: number): void {
    this.#anonymous(this.addressOf(page), count, MAP_FIXED);
  }

  #anonymous(address: number, count: number, flags: number): number {
    const all = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags;
    const result = this.#libc.mmap(address, count * PAGE_SIZE, PROT_READ | PROT_WRITE, all, -1, 0);
    if (result < 0) throw new XenError(-result, `mmap of ${count} anonymous pages`);
    return result;
  }
}
