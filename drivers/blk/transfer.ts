import { PAGE_SIZE, type Sector } from '../../core/index.js';
import { SECTORS_PER_PAGE } from './protocol.js';
import { BLKIF_MAX_SEGMENTS_PER_REQUEST, blkifOp } from './wire.js';

/** Bytes that one request moves at most. */
export const REQUEST_BYTES = BLKIF_MAX_SEGMENTS_PER_REQUEST * PAGE_SIZE;
const REQUEST_SECTORS = BLKIF_MAX_SEGMENTS_PER_REQUEST * SECTORS_PER_PAGE;

const nothing = new Uint8Array(0);

type Resolve = () => void;
type Reject = (error: Error) => void;

/** What the promise made last is settled by: one function takes it from all of them, so that none is made for each. */
const made: { resolve: Resolve; reject: Reject } = { resolve: () => {}, reject: () => {} };
const take = (resolve: Resolve, reject: Reject): void => {
  made.resolve = resolve;
  made.reject = reject;
};

/** What one call of `read`, `write` or `flush` asks for: one or more requests, its parts, and one promise. */
export class Transfer {
  readonly operation: number;
  readonly sector: Sector;
  readonly bytes: Uint8Array;
  readonly promise: Promise<void>;
  /** The transfer that waits behind this one for room on the ring. */
  next: Transfer | undefined;
  /** Parts to send, parts sent, parts answered. */
  #parts: number;
  #sent = 0;
  #answered = 0;
  #error: Error | undefined;
  readonly #resolve: Resolve;
  readonly #reject: Reject;

  constructor(operation: number, sector: Sector, bytes: Uint8Array = nothing) {
    this.operation = operation;
    this.sector = sector;
    this.bytes = bytes;
    this.#parts = operation === blkifOp.flush ? 1 : Math.ceil(bytes.length / REQUEST_BYTES);
    this.promise = new Promise(take);
    this.#resolve = made.resolve;
    this.#reject = made.reject;
  }

  get allSent(): boolean {
    return this.#sent === this.#parts;
  }

  /** The part that is sent next. */
  get part(): number {
    return this.#sent;
  }

  /** Where in {@link bytes} a part begins. */
  offsetOf(part: number): number {
    return part * REQUEST_BYTES;
  }

  /** How many bytes a part moves. */
  lengthOf(part: number): number {
    return Math.min(REQUEST_BYTES, this.bytes.length - part * REQUEST_BYTES);
  }

  /** Where on the disk a part begins. */
  sectorOf(part: number): Sector {
    return (this.sector + part * REQUEST_SECTORS) as Sector;
  }

  /** `length` bytes of a part, from `at` on. */
  slice(part: number, at: number, length: number): Uint8Array {
    if (length === this.bytes.length) return this.bytes;
    const begin = part * REQUEST_BYTES + at;
    return this.bytes.subarray(begin, begin + length);
  }

  sent(): void {
    this.#sent++;
  }

  /** A part was answered, or will never be. */
  answered(error: Error | undefined): void {
    this.#answered++;
    if (error === undefined) this.#settle();
    else this.fail(error);
  }

  /** Sends nothing more, and rejects as soon as what was sent is answered: until then the backend may still fill the bytes. */
  fail(error: Error): void {
    this.#error ??= error;
    this.#parts = this.#sent;
    this.#settle();
  }

  #settle(): void {
    if (this.#answered !== this.#parts) return;
    if (this.#error === undefined) this.#resolve();
    else this.#reject(this.#error);
  }
}
