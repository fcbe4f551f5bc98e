import type { Domid, GrantRef } from '../abi/units.js';
import type { GrantTable, Page, SharedPage } from '../domain/grant-table.js';
import { Disconnected } from '../errors.js';
import type { FrontGrants } from './peer-grants.js';

/**
 * The pages that a frontend shares over one link. What is disposed of while the link stands is taken back at once; from the link's end
 * until the backend has let go it is kept, for the backend may still be at requests that it has taken, and would find another's page
 * under the same reference (XSA-396).
 */
export class LinkPages implements FrontGrants {
  readonly #table: GrantTable;
  readonly #peer: Domid;
  readonly #kept: SharedPage[] = [];
  #state: 'connected' | 'left' | 'released' = 'connected';

  constructor(table: GrantTable, peer: Domid) {
    this.#table = table;
    this.#peer = peer;
  }

  share(pages = 1, options: { readonly readonly?: boolean } = {}): SharedPage {
    if (this.#state !== 'connected') throw new Disconnected(`the link to domain ${this.#peer} has ended`);
    return new LinkPage(this.#table.share(this.#peer, pages, options), this.#takeBack);
  }

  alloc(pages = 1): Page {
    return this.#table.alloc(pages);
  }

  copier(from: Page, to: Page): (fromOffset: number, toOffset: number, length: number) => void {
    return this.#table.copier(LinkPage.own(from), LinkPage.own(to));
  }

  /** The link ends: nothing more is shared, and nothing taken back. */
  leave(): void {
    if (this.#state === 'connected') this.#state = 'left';
  }

  /** The backend has let go: all that was kept is taken back. */
  release(): void {
    this.#state = 'released';
    for (const page of this.#kept.splice(0)) page[Symbol.dispose]();
  }

  readonly #takeBack = (page: SharedPage): void => {
    if (this.#state === 'left') this.#kept.push(page);
    else page[Symbol.dispose]();
  };
}

/** A shared page whose disposal its link decides about. */
class LinkPage implements SharedPage {
  readonly #page: SharedPage;
  readonly #takeBack: (page: SharedPage) => void;
  #disposed = false;

  constructor(page: SharedPage, takeBack: (page: SharedPage) => void) {
    this.#page = page;
    this.#takeBack = takeBack;
  }

  /** The page of the grant table that a page of a link stands for. */
  static own(page: Page): Page {
    return #page in page ? page.#live : page;
  }

  get bytes(): Uint8Array {
    return this.#live.bytes;
  }

  get words(): Int32Array {
    return this.#live.words;
  }

  get ref(): GrantRef {
    return this.#page.ref;
  }

  get refs(): readonly GrantRef[] {
    return this.#page.refs;
  }

  get inUse(): boolean {
    return this.#page.inUse;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#takeBack(this.#page);
  }

  get #live(): SharedPage {
    if (this.#disposed) throw new TypeError('this page has been disposed: its memory may be another’s by now');
    return this.#page;
  }
}
