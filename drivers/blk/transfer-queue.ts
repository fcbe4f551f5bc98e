import { asError, PAGE_SIZE } from '../../core/index.js';
import type { RequestPages } from './request-pages.js';
import type { RingRequests } from './ring-requests.js';
import type { Transfer } from './transfer.js';
import { blkifOp } from './wire.js';

/**
 * One link's transfers: puts their requests onto the ring, first come, first served, and keeps it full. Data is copied between the
 * caller's bytes and the granted pages.
 */
export class TransferQueue implements Disposable {
  readonly #requests: RingRequests;
  /** By request id: the transfer that it is part of, and which part. */
  readonly #transfers: (Transfer | undefined)[];
  readonly #parts: Int32Array;
  /** Transfers that wait for room on the ring; the first is being sent. */
  #first: Transfer | undefined;
  #last: Transfer | undefined;
  #waiting = false;
  #pushing = false;

  constructor(requests: RingRequests) {
    this.#requests = requests;
    this.#transfers = new Array<Transfer | undefined>(requests.entries).fill(undefined);
    this.#parts = new Int32Array(requests.entries);
  }

  /** Sends a transfer after all that came before it. */
  send(transfer: Transfer): Promise<void> {
    if (this.#last === undefined) this.#first = transfer;
    else this.#last.next = transfer;
    this.#last = transfer;
    if (!this.#waiting) this.#pump();
    return transfer.promise;
  }

  /** The link is ending. */
  [Symbol.dispose](): void {
    // The closed ring then tells those who still wait for room on it why.
    queueMicrotask(this.#pump);
  }

  /** Puts waiting transfers onto the ring until it is full. */
  readonly #pump = (): void => {
    this.#waiting = false;
    for (let transfer = this.#first; transfer !== undefined; transfer = this.#first) {
      if (!this.#submitAll(transfer)) {
        this.#waiting = true;
        this.#requests.space(this.#pump);
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
    this.#requests.push();
  };

  /** Submits a transfer's requests; false when the ring is full before. One that cannot be sent fails, and no other. */
  #submitAll(transfer: Transfer): boolean {
    const { operation } = transfer;
    const fill = operation === blkifOp.write ? this.#copyIn : undefined;
    try {
      while (!transfer.allSent) {
        const { part } = transfer;
        const length = operation === blkifOp.flush ? 0 : transfer.lengthOf(part);
        const id = this.#requests.submit(operation, transfer.sectorOf(part), length, fill, this.#done);
        if (id < 0) return false;
        this.#transfers[id] = transfer;
        this.#parts[id] = part;
        transfer.sent();
      }
    } catch (error) {
      transfer.fail(asError(error));
    }
    return true;
  }

  /** Copies the next part of the first transfer into its pages. */
  readonly #copyIn = (pages: RequestPages): void => {
    const transfer = this.#first;
    if (transfer === undefined) throw new Error('there is nothing to send');
    const { part } = transfer;
    const { bytes, length } = pages;
    for (let i = 0; i < length; i++) {
      const at = i * PAGE_SIZE;
      pages.at(i).set(transfer.slice(part, at, Math.min(PAGE_SIZE, bytes - at)));
    }
  };

  readonly #done = (id: number, pages: RequestPages, error: Error | undefined): void => {
    const transfer = this.#transfers[id];
    this.#transfers[id] = undefined;
    if (transfer === undefined) return;
    if (error === undefined && transfer.operation === blkifOp.read) copyOut(pages, transfer, this.#parts[id] as number);
    transfer.answered(error);
  };
}

const copyOut = (pages: RequestPages, transfer: Transfer, part: number): void => {
  const { bytes, length } = pages;
  const offset = transfer.offsetOf(part);
  for (let i = 0; i < length; i++) {
    const at = i * PAGE_SIZE;
    const page = pages.at(i);
    transfer.bytes.set(bytes - at < PAGE_SIZE ? page.subarray(0, bytes - at) : page, offset + at);
  }
};
