import {
  type FrontLink,
  PAGE_SIZE,
  PeerFault,
  SECTOR_SIZE,
  type Sector,
  type Slot,
  type View,
  XenError,
} from '../../core/index.js';
import { PagePool, type PoolPage } from './page-pool.js';
import type { blk } from './protocol.js';
import { RequestPages } from './request-pages.js';
import { BLKIF_MAX_SEGMENTS_PER_REQUEST, blkifOp, type blkifRequest, type blkifResponse, blkifRsp } from './wire.js';

type RequestSlot = Slot<typeof blkifRequest, 'id'>;

/** Hears what came of request `id`. The pages are the request's during the call; after it they are another's. */
export type RequestDone = (id: number, pages: RequestPages, error: Error | undefined) => void;
/** Writes what a request is to write into its pages. */
export type FillPages = (pages: RequestPages) => void;

const MAX = BLKIF_MAX_SEGMENTS_PER_REQUEST;
const nobody: RequestDone = () => {};

/**
 * One link's requests and the granted pages that they move. All tables are by request id and all callbacks are made once, so nothing is
 * allocated for a request. What is asked for is believed to be right.
 */
export class RingRequests implements Disposable {
  declare private readonly ring: FrontLink<typeof blk>['ring'];
  declare private readonly name: string;
  declare private readonly handle: number;
  /** Pages that the backend fills, and pages that it may only read; with persistent grants they are the same (blkif.h, note 8). */
  declare private readonly fillable: PagePool;
  declare private readonly readable: PagePool;
  /** By request id: what it asks for, its pages, and who hears of it. */
  declare private readonly operations: Int32Array;
  declare private readonly sectors: Float64Array;
  declare private readonly lengths: Int32Array;
  declare private readonly pages: (PoolPage | undefined)[];
  declare private readonly dones: RequestDone[];
  /** The pages of the request that was answered last: its id, and so its place in the tables, may be another's already. */
  readonly #taken: (PoolPage | undefined)[] = new Array<PoolPage | undefined>(MAX).fill(undefined);
  /** The pages of one request, as its owner sees them while it fills them, and when they are answered. */
  declare private readonly unsent: RequestPages;
  declare private readonly answeredPages: RequestPages;
  #filling = false;
  #flushRefused = false;
  #ended = false;
  // The request that is being written.
  #operation = 0;
  #sector = 0 as Sector;
  #length = 0;
  declare private fillPages: FillPages | undefined;
  #id = 0;

  constructor({ ring, grants, device, toolstack, own, peer }: FrontLink<typeof blk>) {
    this.ring = ring;
    this.name = device.path;
    this.handle = toolstack['virtual-device'] & 0xffff;
    const pages = ring.entries * MAX;
    if (own['feature-persistent'] && peer['feature-persistent']) {
      this.fillable = this.readable = new PagePool(grants, pages, { readonly: false, persistent: true });
    } else {
      // Twice what can be outstanding: a backend that keeps a ring's worth of pages for itself gets no more of them.
      this.fillable = new PagePool(grants, 2 * pages, { readonly: false, persistent: false });
      this.readable = new PagePool(grants, 2 * pages, { readonly: true, persistent: false });
    }
    this.operations = new Int32Array(ring.entries);
    this.sectors = new Float64Array(ring.entries);
    this.lengths = new Int32Array(ring.entries);
    this.pages = new Array<PoolPage | undefined>(pages).fill(undefined);
    this.dones = new Array<RequestDone>(ring.entries).fill(nobody);
    this.fillPages = undefined;
    this.unsent = new RequestPages(this.pages);
    this.answeredPages = new RequestPages(this.#taken);
  }

  /** Slots of the ring: ids are below it. */
  get entries(): number {
    return this.ring.entries;
  }

  /** Whether the backend has said at run time that it cannot flush. */
  get flushRefused(): boolean {
    return this.#flushRefused;
  }

  /**
   * Puts a request on the ring, for the backend to see after {@link push}; its id, or -1 when the ring is full or others wait for it. What
   * `fill` throws is thrown on, and then nothing is sent.
   * @throws XenError ENOMEM, ENOSPC, EBUSY when there are no pages for it; Disconnected, or what ended the link, after its end
   */
  submit(operation: number, sector: Sector, length: number, fill: FillPages | undefined, done: RequestDone): number {
    if (this.#filling === true) throw new TypeError('a request cannot be sent while another is being written');
    this.#operation = operation;
    this.#sector = sector;
    this.#length = length;
    this.fillPages = fill;
    if (!this.ring.submit(this.#write, this.#answered, this.#lost)) return -1;
    const id = this.#id;
    this.dones[id] = done;
    return id;
  }

  /** Publishes what was submitted, and notifies the backend if it asked for that; nothing after the link's end. */
  push(): void {
    if (this.#ended !== true) this.ring.push();
  }

  /** Calls `room` once when there is a free slot, as {@link RequestRing.space}. */
  space(room: () => void): void {
    this.ring.space(room);
  }

  /** The link is ending. The pages stay granted until the backend has let go of them. */
  [Symbol.dispose](): void {
    this.#ended = true;
    this.fillable[Symbol.dispose]();
    this.readable[Symbol.dispose]();
  }

  /** Writes the request into its slot. */
  readonly #write = (slot: RequestSlot, id: number): void => {
    const length = this.#length;
    const operation = this.#operation;
    const segments = (length + PAGE_SIZE - 1) >>> 12;
    const first = id * MAX;
    this.#takePages(first, segments, operation);
    if (operation === blkifOp.write) this.#fillIn(first, segments);
    const { rw } = slot;
    rw.set({ operation, nr_segments: segments, handle: this.handle, sector_number: this.#sector });
    const { seg } = rw;
    for (let i = 0; i < segments; i++) {
      const page = this.pages[first + i] as PoolPage;
      const left = length - i * PAGE_SIZE;
      const last = left >= PAGE_SIZE ? PAGE_SIZE / SECTOR_SIZE - 1 : left / SECTOR_SIZE - 1;
      seg.at(i).set({ gref: page.ref, first_sect: 0, last_sect: last });
    }
    this.operations[id] = operation;
    this.sectors[id] = this.#sector;
    this.lengths[id] = length;
    this.#id = id;
  };

  #fillIn(first: number, segments: number): void {
    const own = this.unsent;
    own.show(first, segments, this.#length);
    this.#filling = true;
    try {
      this.fillPages?.(own);
    } catch (error) {
      this.#giveBack(this.pages, first, segments, this.readable);
      throw error;
    } finally {
      this.#filling = false;
    }
    const tail = this.#length & (PAGE_SIZE - 1);
    // What an earlier request had there is no business of this one (XSA-403).
    if (tail !== 0) own.at(segments - 1).fill(0, tail);
  }

  readonly #answered = (rsp: View<typeof blkifResponse, 'id'>, id: number): void => {
    const { operation, status } = rsp;
    let error: Error | undefined;
    if (operation !== this.operations[id] || status !== blkifRsp.okay) error = this.#judge(id, operation, status);
    try {
      this.#tell(id, error);
    } catch (thrown) {
      // Whatever the request's owner throws, the link ends.
      throw error instanceof PeerFault ? error : thrown;
    }
    if (error instanceof PeerFault) throw error;
  };

  readonly #lost = (error: Error, id: number): void => {
    const done = this.dones[id] as RequestDone;
    this.dones[id] = nobody;
    // The pages are the link's now, which ends them.
    this.answeredPages.show(0, 0, 0);
    done(id, this.answeredPages, error);
  };

  /** Tells a request's owner, and then takes its pages back. */
  #tell(id: number, refused: Error | undefined): void {
    const length = this.lengths[id] as number;
    const first = id * MAX;
    const segments = (length + PAGE_SIZE - 1) >>> 12;
    const pool = this.#poolOf(this.operations[id] as number);
    const taken = this.#taken;
    let error = refused;
    for (let i = 0; i < segments; i++) {
      const page = this.pages[first + i] as PoolPage;
      taken[i] = page;
      this.pages[first + i] = undefined;
      if (error === undefined && pool.isKept(page)) {
        error = new XenError('EIO', `${this.name}: the backend keeps pages mapped after its ${this.#describe(id)}`);
      }
    }
    const done = this.dones[id] as RequestDone;
    this.dones[id] = nobody;
    const own = this.answeredPages;
    own.show(0, segments, length);
    try {
      done(id, own, error);
    } finally {
      this.#giveBack(taken, 0, segments, pool);
    }
  }

  /** What a response that does not simply say okay comes to. */
  #judge(id: number, operation: number, status: number): Error | undefined {
    const asked = this.operations[id];
    if (operation !== asked) return this.#fault(id, 'operation', operation);
    if (status !== blkifRsp.error && status !== blkifRsp.notSupported) return this.#fault(id, 'status', status);
    if (asked === blkifOp.flush && status === blkifRsp.notSupported) {
      // As Linux takes it: the disk is then one whose writes are durable when they are answered.
      this.#flushRefused = true;
      return undefined;
    }
    return new XenError('EIO', `${this.name}: ${this.#describe(id)}`);
  }

  #fault(id: number, what: string, found: number): PeerFault {
    return new PeerFault(`${this.name}: the ${what} of the response to a ${this.#describe(id)}`, found);
  }

  /** What a request asked for: `read of sectors 8 to 15`. */
  #describe(id: number): string {
    const operation = this.operations[id];
    if (operation === blkifOp.flush) return 'flush';
    const first = this.sectors[id] as number;
    const last = first + (this.lengths[id] as number) / SECTOR_SIZE - 1;
    return `${operation === blkifOp.write ? 'write' : 'read'} of sectors ${first} to ${last}`;
  }

  /** Takes a request's pages, all or none. */
  #takePages(first: number, count: number, operation: number): void {
    const pool = this.#poolOf(operation);
    let taken = 0;
    try {
      for (; taken < count; taken++) this.pages[first + taken] = pool.take();
    } catch (error) {
      this.#giveBack(this.pages, first, taken, pool);
      throw error;
    }
  }

  #giveBack(pages: (PoolPage | undefined)[], first: number, count: number, pool: PagePool): void {
    for (let i = first; i < first + count; i++) {
      const page = pages[i] as PoolPage;
      pages[i] = undefined;
      if (this.#ended !== true) pool.give(page);
    }
  }

  #poolOf(operation: number): PagePool {
    return operation === blkifOp.write ? this.readable : this.fillable;
  }
}
