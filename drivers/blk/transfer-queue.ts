import {
  asError,
  type FrontLink,
  type GrantRef,
  PAGE_SIZE,
  PeerFault,
  SECTOR_SIZE,
  type Sector,
  type SharedPage,
  type Slot,
  type View,
  XenError,
} from '../../core/index.js';
import { PagePool } from './page-pool.js';
import type { blk } from './protocol.js';
import type { Transfer } from './transfer.js';
import { BLKIF_MAX_SEGMENTS_PER_REQUEST, blkifOp, type blkifRequest, type blkifResponse, blkifRsp } from './wire.js';

type RequestSlot = Slot<typeof blkifRequest, 'id'>;

/**
 * One link's transfers: puts their requests onto the ring, first come, first served, and keeps it full. All tables are by request
 * id and all callbacks are made once, so nothing is allocated for a request.
 */
export class TransferQueue implements Disposable {
  readonly #ring: FrontLink<typeof blk>['ring'];
  readonly #name: string;
  /** Pages that the backend fills, and pages that it may only read. */
  readonly #fillable: PagePool;
  readonly #readable: PagePool;
  /** By request id: the transfer that it is part of, which part, and its pages. */
  readonly #transfers: (Transfer | undefined)[];
  readonly #parts: Int32Array;
  readonly #pages: (SharedPage | undefined)[];
  /** Transfers that wait for room on the ring; the first is being sent. */
  #first: Transfer | undefined;
  #last: Transfer | undefined;
  #waiting = false;
  #pushing = false;
  #ended = false;
  #flushRefused = false;
  // What `fill` writes.
  readonly #request = { operation: 0, nr_segments: 0, handle: 0, sector_number: 0 as Sector };
  readonly #segment = { gref: 0 as GrantRef, first_sect: 0, last_sect: 0 };

  constructor({ ring, grants, device, toolstack }: FrontLink<typeof blk>) {
    this.#ring = ring;
    this.#name = device.path;
    this.#request.handle = toolstack['virtual-device'] & 0xffff;
    const pages = ring.entries * BLKIF_MAX_SEGMENTS_PER_REQUEST;
    // Twice what can be outstanding: a backend that keeps a ring's worth of pages for itself gets no more of them.
    this.#fillable = new PagePool(grants, 2 * pages, { readonly: false });
    this.#readable = new PagePool(grants, 2 * pages, { readonly: true });
    this.#transfers = new Array<Transfer | undefined>(ring.entries).fill(undefined);
    this.#parts = new Int32Array(ring.entries);
    this.#pages = new Array<SharedPage | undefined>(pages).fill(undefined);
  }

  /** Whether the backend has said at run time that it cannot flush. */
  get flushRefused(): boolean {
    return this.#flushRefused;
  }

  /** Sends a transfer after all that came before it. */
  send(transfer: Transfer): Promise<void> {
    if (this.#last === undefined) this.#first = transfer;
    else this.#last.next = transfer;
    this.#last = transfer;
    if (!this.#waiting) this.#pump();
    return transfer.promise;
  }

  /** The link is ending. The pages stay granted until the backend has let go of them. */
  [Symbol.dispose](): void {
    this.#ended = true;
    this.#fillable[Symbol.dispose]();
    this.#readable[Symbol.dispose]();
    // The closed ring then tells those who still wait for room on it why.
    queueMicrotask(this.#pump);
  }

  /** Puts waiting transfers onto the ring until it is full. */
  readonly #pump = (): void => {
    this.#waiting = false;
    for (let transfer = this.#first; transfer !== undefined; transfer = this.#first) {
      if (!this.#submitAll(transfer)) {
        this.#waiting = true;
        this.#ring.space(this.#pump);
        break;
      }
      this.#first = transfer.next;
      if (this.#first === undefined) this.#last = undefined;
    }
    if (this.#pushing) return;
    this.#pushing = true;
    queueMicrotask(this.#push);
  };

  /** Publishes at once what the calls of one turn have submitted. */
  readonly #push = (): void => {
    this.#pushing = false;
    if (!this.#ended) this.#ring.push();
  };

  /** Submits a transfer's requests; false when the ring is full before. One that cannot be sent fails, and no other. */
  #submitAll(transfer: Transfer): boolean {
    try {
      while (!transfer.allSent) {
        if (!this.#ring.submit(this.#fill, this.#done, this.#lost)) return false;
        transfer.sent();
      }
    } catch (error) {
      transfer.fail(asError(error));
    }
    return true;
  }

  /** Writes the next request of the first transfer. */
  readonly #fill = (slot: RequestSlot, id: number): void => {
    const transfer = this.#first;
    if (transfer === undefined) throw new Error(`${this.#name}: there is nothing to send`);
    const { operation, part } = transfer;
    const { rw } = slot;
    const request = this.#request;
    request.operation = operation;
    request.nr_segments = operation === blkifOp.flush ? 0 : this.#fillSegments(rw, id, transfer, part);
    request.sector_number = transfer.sectorOf(part);
    rw.set(request);
    this.#transfers[id] = transfer;
    this.#parts[id] = part;
  };

  #fillSegments(rw: RequestSlot['rw'], id: number, transfer: Transfer, part: number): number {
    const first = id * BLKIF_MAX_SEGMENTS_PER_REQUEST;
    const length = transfer.lengthOf(part);
    const segments = Math.ceil(length / PAGE_SIZE);
    this.#takePages(first, segments, transfer.operation);
    const { seg } = rw;
    const segment = this.#segment;
    for (let i = 0; i < segments; i++) {
      const page = this.#page(first + i);
      const bytes = Math.min(PAGE_SIZE, length - i * PAGE_SIZE);
      if (transfer.operation === blkifOp.write) page.bytes.set(transfer.slice(part, i * PAGE_SIZE, bytes));
      segment.gref = page.ref;
      segment.last_sect = bytes / SECTOR_SIZE - 1;
      seg.at(i).set(segment);
    }
    return segments;
  }

  readonly #done = (rsp: View<typeof blkifResponse, 'id'>, id: number): void => {
    const transfer = this.#transfers[id];
    if (transfer === undefined) return;
    this.#transfers[id] = undefined;
    const { operation, status } = rsp;
    const part = this.#parts[id] as number;
    if (operation !== transfer.operation) throw this.#fault(transfer, part, 'operation', operation);
    if (status !== blkifRsp.okay && status !== blkifRsp.error && status !== blkifRsp.notSupported) {
      throw this.#fault(transfer, part, 'status', status);
    }
    transfer.answered(this.#outcome(transfer, part, id * BLKIF_MAX_SEGMENTS_PER_REQUEST, status));
  };

  readonly #lost = (error: Error, id: number): void => {
    const transfer = this.#transfers[id];
    this.#transfers[id] = undefined;
    transfer?.answered(error);
  };

  /** Takes what an answered request has brought, and its pages; what went wrong, if anything did. */
  #outcome(transfer: Transfer, part: number, first: number, status: number): Error | undefined {
    const { operation } = transfer;
    if (operation === blkifOp.flush) {
      // As Linux takes it: the disk is then one whose writes are durable when they are answered.
      if (status === blkifRsp.notSupported) this.#flushRefused = true;
      return status === blkifRsp.error ? new XenError('EIO', `${this.#name}: flush`) : undefined;
    }
    if (operation === blkifOp.read && status === blkifRsp.okay) this.#copyOut(transfer, part, first);
    const released = this.#givePages(first, operation);
    if (status !== blkifRsp.okay) return new XenError('EIO', `${this.#name}: ${transfer.describe(part)}`);
    if (released) return undefined;
    return new XenError('EIO', `${this.#name}: the backend keeps pages mapped after its ${transfer.describe(part)}`);
  }

  #copyOut(transfer: Transfer, part: number, first: number): void {
    const length = transfer.lengthOf(part);
    const offset = transfer.offsetOf(part);
    for (let at = 0; at < length; at += PAGE_SIZE) {
      const { bytes } = this.#page(first + at / PAGE_SIZE);
      transfer.bytes.set(length - at < PAGE_SIZE ? bytes.subarray(0, length - at) : bytes, offset + at);
    }
  }

  /** Ends a transfer by the fault that will end the link. */
  #fault(transfer: Transfer, part: number, what: string, found: number): PeerFault {
    const fault = new PeerFault(`${this.#name}: the ${what} of the response to a ${transfer.describe(part)}`, found);
    transfer.answered(fault);
    return fault;
  }

  /** Takes a request's pages, all or none. */
  #takePages(first: number, count: number, operation: number): void {
    const pool = this.#poolOf(operation);
    let taken = 0;
    try {
      for (; taken < count; taken++) this.#pages[first + taken] = pool.take();
    } finally {
      if (taken < count) this.#givePages(first, operation);
    }
  }

  /** Gives a request's pages back; whether the backend has let go of all of them. */
  #givePages(first: number, operation: number): boolean {
    const pool = this.#poolOf(operation);
    let released = true;
    for (let i = first; i < first + BLKIF_MAX_SEGMENTS_PER_REQUEST; i++) {
      const page = this.#pages[i];
      if (page === undefined) break;
      this.#pages[i] = undefined;
      if (!pool.give(page)) released = false;
    }
    return released;
  }

  #poolOf(operation: number): PagePool {
    return operation === blkifOp.write ? this.#readable : this.#fillable;
  }

  #page(index: number): SharedPage {
    const page = this.#pages[index];
    if (page === undefined) throw new Error(`${this.#name}: page ${index} of its requests is missing`);
    return page;
  }
}
