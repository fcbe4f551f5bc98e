import { type FrontGrants, type GrantRef, PAGE_SIZE, type SharedPage, XenError } from '../../core/index.js';

/** Pages that are shared at once where they stay granted: they lie side by side, and requests that take them can be carried out as one. */
const BLOCK = 32;

/** How a pool's pages are granted. */
export interface PagePoolOptions {
  /** The backend can only read the pages. */
  readonly readonly: boolean;
  /** The backend may keep the pages mapped for as long as the link lasts (blkif.h `feature-persistent`). */
  readonly persistent: boolean;
}

/** One page of a pool. */
export class PoolPage {
  readonly bytes: Uint8Array;
  readonly ref: GrantRef;
  declare private readonly shared: SharedPage;

  constructor(shared: SharedPage, index: number) {
    this.shared = shared;
    const { bytes } = shared;
    this.bytes = bytes.length === PAGE_SIZE ? bytes : bytes.subarray(index * PAGE_SIZE, index * PAGE_SIZE + PAGE_SIZE);
    this.ref = shared.refs[index] as GrantRef;
  }

  /** Whether the backend has the page mapped, or, where several were shared at once, one of those. */
  get inUse(): boolean {
    return this.shared.inUse;
  }
}

/**
 * Granted pages that requests take and give back: each is zeroed and granted once, to this one backend, and used again and again, so
 * that a request costs no grant; what is read is copied out of them, what is written into them (blkif.h, note 7), and they hold nothing
 * but what this backend was sent or has sent. A page that the backend has not let go of is parked, and is nobody's until the grant
 * entry says so (XSA-396).
 *
 * Persistent pages are not looked at: to stay mapped is what they are for. So a frontend that cannot see its grants' in-use bits, as in
 * user space on real Xen, is as safe with them as any; what it cannot do is notice a backend that keeps the others.
 */
export class PagePool implements Disposable {
  declare private readonly grants: FrontGrants;
  declare private readonly options: PagePoolOptions;
  declare private readonly persistent: boolean;
  declare private readonly limit: number;
  /** What was shared, and how many pages that is. */
  readonly #all: SharedPage[] = [];
  #pages = 0;
  /** A ring of the free pages, first in, first out, so that neighbours stay neighbours. */
  declare private readonly free: (PoolPage | undefined)[];
  #head = 0;
  #count = 0;
  readonly #parked: PoolPage[] = [];

  /** @param limit pages that there will be at most, parked ones included */
  constructor(grants: FrontGrants, limit: number, options: PagePoolOptions) {
    this.grants = grants;
    this.limit = limit;
    this.options = options;
    this.persistent = options.persistent;
    this.free = new Array<PoolPage | undefined>(limit).fill(undefined);
  }

  /** A page that nobody uses. @throws XenError ENOMEM, ENOSPC when there is none to share; EBUSY when the backend has them all */
  take(): PoolPage {
    const head = this.#head;
    const page = this.free[head];
    if (page === undefined) return this.#more();
    this.free[head] = undefined;
    this.#head = head + 1 === this.limit ? 0 : head + 1;
    this.#count--;
    return page;
  }

  /** Whether the backend has a page that was taken mapped where it should not have. */
  isKept(page: PoolPage): boolean {
    return this.persistent !== true && page.inUse;
  }

  /** Takes a page back; it is parked if the backend still has it mapped. */
  give(page: PoolPage): void {
    if (this.isKept(page)) this.#parked.push(page);
    else this.#put(page);
  }

  [Symbol.dispose](): void {
    this.#count = 0;
    this.free.fill(undefined);
    this.#parked.length = 0;
    for (const shared of this.#all.splice(0)) shared[Symbol.dispose]();
  }

  #put(page: PoolPage): void {
    const tail = this.#head + this.#count;
    this.free[tail < this.limit ? tail : tail - this.limit] = page;
    this.#count++;
  }

  #more(): PoolPage {
    const left = this.limit - this.#pages;
    if (left > 0) return this.#share(this.persistent ? Math.min(BLOCK, left) : 1);
    const released = this.#parked.findIndex((page) => !page.inUse);
    const [page] = released < 0 ? [] : this.#parked.splice(released, 1);
    if (page !== undefined) return page;
    throw new XenError('EBUSY', `the backend keeps ${this.#parked.length} pages mapped that it has answered for`);
  }

  /** Shares more pages, of which the first is taken. */
  #share(count: number): PoolPage {
    const shared = this.#shareSome(count);
    this.#all.push(shared);
    const pages = shared.refs.length;
    this.#pages += pages;
    for (let i = 1; i < pages; i++) this.#put(new PoolPage(shared, i));
    return new PoolPage(shared, 0);
  }

  #shareSome(count: number): SharedPage {
    const options = { readonly: this.options.readonly };
    try {
      return this.grants.share(count, options);
    } catch (error) {
      // Where there is no room for many there may be for one.
      if (count === 1 || !(error instanceof XenError)) throw error;
      return this.grants.share(1, options);
    }
  }
}
