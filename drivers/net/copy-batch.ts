import { type CopySegment, GrantError, type GrantRef, type Page } from '../../core/index.js';

/** One element of a batch, pointed at another place each time. */
class Element implements CopySegment {
  ref = 0 as GrantRef;
  offset = 0;
  page: Page;
  pageOffset = 0;
  length = 0;
  /** What the element belongs to. */
  owner = 0;

  constructor(page: Page) {
    this.page = page;
  }
}

const PAGE_MASK = 4095;

/**
 * Copies between a peer's pages and own ones that are done together. All elements are kept, and so are the lists of the first n of them:
 * nothing is allocated for a copy.
 */
export class CopyBatch {
  readonly #elements: Element[] = [];
  readonly #lists: (readonly Element[])[] = [];
  #count = 0;

  /** Elements that are there. */
  get count(): number {
    return this.#count;
  }

  /** Adds bytes of a peer's page and of an own run; what crosses an own page's end takes two elements (`gnttab_copy`). */
  add(ref: GrantRef, offset: number, page: Page, pageOffset: number, length: number, owner: number): void {
    let done = 0;
    do {
      const part = Math.min(length - done, 4096 - ((pageOffset + done) & PAGE_MASK));
      this.#one(ref, offset + done, page, pageOffset + done, part, owner);
      done += part;
    } while (done < length);
  }

  /**
   * Does all copies by `copy`, and forgets them. If the batch fails, each is done again by itself, and `failed` hears whose did not work.
   * @throws what `copy` throws that is no GrantError
   */
  run(copy: (elements: readonly CopySegment[]) => void, failed: (owner: number) => void): void {
    const count = this.#count;
    this.#count = 0;
    if (count === 0) return;
    try {
      copy(this.#list(count));
    } catch (error) {
      if (!(error instanceof GrantError)) throw error;
      for (const element of this.#list(count)) {
        try {
          copy([element]);
        } catch (own) {
          if (!(own instanceof GrantError)) throw own;
          failed(element.owner);
        }
      }
    }
  }

  /** Forgets all copies. */
  clear(): void {
    this.#count = 0;
  }

  #one(ref: GrantRef, offset: number, page: Page, pageOffset: number, length: number, owner: number): void {
    let element = this.#elements[this.#count];
    if (element === undefined) {
      element = new Element(page);
      this.#elements.push(element);
    }
    this.#count++;
    element.ref = ref;
    element.offset = offset;
    element.page = page;
    element.pageOffset = pageOffset;
    element.length = length;
    element.owner = owner;
  }

  #list(count: number): readonly Element[] {
    let list = this.#lists[count];
    if (list === undefined) {
      list = this.#elements.slice(0, count);
      this.#lists[count] = list;
    }
    return list;
  }
}
