import { type FrontGrants, type SharedPage, XenError } from '../../core/index.js';

/**
 * Granted pages that requests take and give back: each is zeroed and granted once, and used again and again, so that a request
 * costs no grant. A page that the backend has not let go of is parked, and is nobody's until the grant entry says so (XSA-396).
 */
export class PagePool implements Disposable {
  readonly #grants: FrontGrants;
  readonly #readonly: boolean;
  readonly #limit: number;
  readonly #all: SharedPage[] = [];
  /** A ring of the free pages, first in, first out, so that neighbours stay neighbours. */
  readonly #free: (SharedPage | undefined)[];
  #head = 0;
  #count = 0;
  readonly #parked: SharedPage[] = [];

  /**
   * @param limit pages that there will be at most, parked ones included
   * @param options `readonly`: the backend can only read the pages
   */
  constructor(grants: FrontGrants, limit: number, options: { readonly readonly: boolean }) {
    this.#grants = grants;
    this.#limit = limit;
    this.#readonly = options.readonly;
    this.#free = new Array<SharedPage | undefined>(limit).fill(undefined);
  }

  /** A page that nobody uses. @throws XenError ENOMEM, ENOSPC when there is none to share; EBUSY when the backend has them all */
  take(): SharedPage {
    if (this.#count === 0) return this.#more();
    const page = this.#free[this.#head];
    this.#free[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.#limit;
    this.#count--;
    return page ?? this.#more();
  }

  /** Takes a page back; false when the backend still has it mapped, and it is parked. */
  give(page: SharedPage): boolean {
    if (page.inUse) {
      this.#parked.push(page);
      return false;
    }
    this.#free[(this.#head + this.#count) % this.#limit] = page;
    this.#count++;
    return true;
  }

  [Symbol.dispose](): void {
    this.#count = 0;
    this.#parked.length = 0;
    for (const page of this.#all.splice(0)) page[Symbol.dispose]();
  }

  #more(): SharedPage {
    if (this.#all.length < this.#limit) {
      const page = this.#grants.share(1, { readonly: this.#readonly });
      this.#all.push(page);
      return page;
    }
    const released = this.#parked.findIndex((page) => !page.inUse);
    const [page] = released < 0 ? [] : this.#parked.splice(released, 1);
    if (page !== undefined) return page;
    throw new XenError('EBUSY', `the backend keeps ${this.#parked.length} pages mapped that it has answered for`);
  }
}
