import { type GrantCopies, type GrantRef, gntst, type Page } from '../../core/index.js';

const OKAY = gntst.okay;

/** Copies between a peer's pages and own ones that are done together, each for an owner. Nothing is allocated for a copy. */
export class CopyBatch {
  declare private readonly copies: GrantCopies;
  /** By copy: what it belongs to. */
  declare private readonly owners: number[];
  declare private added: number;

  constructor(copies: GrantCopies) {
    this.copies = copies;
    this.owners = [];
    this.added = 0;
  }

  /** Copies that are there. */
  get count(): number {
    return this.added;
  }

  /** Adds bytes of a peer's page and of an own run; what crosses an own page's end takes two copies (`gnttab_copy`). */
  add(ref: GrantRef, offset: number, page: Page, pageOffset: number, length: number, owner: number): void {
    const left = 4096 - (pageOffset & 4095);
    if (length <= left) {
      this.owners[this.added++] = owner;
      this.copies.add(ref, offset, page, pageOffset, length);
      return;
    }
    this.owners[this.added++] = owner;
    this.copies.add(ref, offset, page, pageOffset, left);
    this.add(ref, offset + left, page, pageOffset + left, length - left, owner);
  }

  /** Does all copies, and forgets them; `failed` hears whose did not work. @throws as CopyRun.run */
  run(failed: (owner: number) => void): void {
    const count = this.added;
    this.added = 0;
    const { copies } = this;
    const first = copies.run();
    if (first < 0) return;
    for (let i = first; i < count; i++) if (copies.status(i) !== OKAY) failed(this.owners[i] as number);
  }

  /** Forgets all copies. */
  clear(): void {
    this.added = 0;
    this.copies.clear();
  }
}
