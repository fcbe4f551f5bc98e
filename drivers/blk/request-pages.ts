import type { PoolPage } from './page-pool.js';

/**
 * The granted pages of one request, live: the backend can change them at any time, and they are the request's only during the call that
 * hands them over. The same object is handed to all.
 */
export class RequestPages {
  declare private readonly pages: readonly (PoolPage | undefined)[];
  #first = 0;
  #count = 0;
  #bytes = 0;

  /** @param pages those of all requests */
  constructor(pages: readonly (PoolPage | undefined)[]) {
    this.pages = pages;
  }

  /** How many there are. */
  get length(): number {
    return this.#count;
  }

  /** Bytes of the request; in the last page fewer may count than it has. */
  get bytes(): number {
    return this.#bytes;
  }

  /** All bytes of the `i`th page. @throws RangeError when there is none */
  at(i: number): Uint8Array {
    const page = i >>> 0 < this.#count ? this.pages[this.#first + i] : undefined;
    if (page === undefined) throw new RangeError(`this request has ${this.#count} pages, and no page ${i}`);
    return page.bytes;
  }

  /** Shows the pages of one request. */
  show(first: number, count: number, bytes: number): void {
    this.#first = first;
    this.#count = count;
    this.#bytes = bytes;
  }
}
