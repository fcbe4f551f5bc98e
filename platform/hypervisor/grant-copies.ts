import type { Domid, GrantRef } from '../../core/abi/units.js';
import type { GrantCopies, PeerGrantCopies } from '../../core/domain/grant-copies.js';
import type { Page } from '../../core/domain/grant-table.js';
import { XenError } from '../../core/errors.js';
import { CopyList } from '../../core/hypervisor/copy-list.js';
import type { OwnDomain } from './own-domain.js';
import { FramePage } from './page.js';

/** A list of copies of our Xen's, of either kind. */
abstract class ListedCopies {
  // What is read for each element is declared, not made here: see FrontRing.
  declare protected readonly list: CopyList;
  declare protected readonly own: OwnDomain;
  #ended: Error | undefined;

  constructor(own: OwnDomain) {
    this.list = new CopyList(true);
    this.own = own;
  }

  get count(): number {
    return this.list.end / 6;
  }

  run(): number {
    const { list } = this;
    try {
      if (this.#ended !== undefined) throw this.#ended;
      if (this.own.isGone) throw new XenError('ESRCH', `domain ${this.own.domid} has been destroyed`);
      return list.end === 0 ? -1 : this.copy();
    } finally {
      list.clear();
    }
  }

  status(i: number): number {
    return this.list.status(i);
  }

  clear(): void {
    this.list.clear();
  }

  end(error: Error): void {
    this.#ended = error;
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  protected abstract copy(): number;
}

/** Copies between a peer's granted pages and own ones. */
export class HypervisorCopies extends ListedCopies implements GrantCopies {
  readonly #peer: Domid;
  readonly #toPeer: boolean;

  constructor(own: OwnDomain, peer: Domid, toPeer: boolean) {
    super(own);
    this.#peer = peer;
    this.#toPeer = toPeer;
  }

  add(ref: GrantRef, offset: number, page: Page, pageOffset: number, length: number): void {
    const { frame, count } = FramePage.live(page);
    if (!(pageOffset >= 0 && length >= 0 && pageOffset + length <= count << 12))
      throw new RangeError(`${length} bytes from ${pageOffset} leave the page`);
    this.list.add(ref, offset, frame + (pageOffset >>> 12), pageOffset & 4095, length);
  }

  protected override copy(): number {
    const { hypervisor, domid } = this.own;
    return hypervisor.grantCopy.copyList(domid, this.#peer, this.list, this.#toPeer);
  }
}

/** Copies from a peer's granted pages to another's. */
export class HypervisorPeerCopies extends ListedCopies implements PeerGrantCopies {
  readonly #from: Domid;
  readonly #to: Domid;

  constructor(own: OwnDomain, from: Domid, to: Domid) {
    super(own);
    this.#from = from;
    this.#to = to;
  }

  add(from: GrantRef, fromOffset: number, to: GrantRef, toOffset: number, length: number): void {
    this.list.add(from, fromOffset, to, toOffset, length);
  }

  protected override copy(): number {
    const { hypervisor, domid } = this.own;
    return hypervisor.grantCopy.forwardList(domid, this.#from, this.#to, this.list);
  }
}
