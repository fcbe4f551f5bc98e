import { type BackGrants, type Page, XenError } from '../../core/index.js';
import type { Frame } from './frame.js';

/** Bytes that wait for one queue of a vif at most (netback: `RX_QUEUE_BYTES`, half a ring of pages). */
export const BACKLOG_BYTES = 128 * 4096;
/** Frames that wait at most. */
const BACKLOG_FRAMES = 4096;

/** Frames that wait until a frontend posts buffers, in their order; bounded in bytes and in number (XSA-392). */
export class RxBacklog implements Disposable {
  readonly #grants: BackGrants;
  #page: Page | undefined;
  /** By frame, a ring: where it lies, and all else that a frame says; when it is too old. */
  readonly #fields = new Int32Array(BACKLOG_FRAMES * 5);
  readonly #expires = new Float64Array(BACKLOG_FRAMES);
  #first = 0;
  #count = 0;
  /** Where the next frame goes, and where the oldest begins. */
  #end = 0;

  constructor(grants: BackGrants) {
    this.#grants = grants;
  }

  get count(): number {
    return this.#count;
  }

  /** When the oldest is too old. */
  get expires(): number {
    return this.#expires[this.#first] as number;
  }

  /** Keeps a copy of a frame; false when there is no room. */
  push(frame: Frame, expires: number): boolean {
    const { length } = frame;
    const at = this.#room(length);
    const page = at < 0 ? undefined : this.#memory();
    if (page === undefined) return false;
    page.bytes.set(frame.bytes.subarray(frame.offset, frame.offset + length), at);
    const i = (this.#first + this.#count++) % BACKLOG_FRAMES;
    this.#fields[i * 5] = at;
    this.#fields[i * 5 + 1] = length;
    this.#fields[i * 5 + 2] = frame.checksum;
    this.#fields[i * 5 + 3] = frame.gsoType;
    this.#fields[i * 5 + 4] = frame.gsoSize;
    this.#expires[i] = expires;
    this.#end = (at + length + 63) & ~63;
    return true;
  }

  /** Points a frame at the oldest; its bytes stay until more are pushed after it was shifted. */
  front(frame: Frame): void {
    const i = this.#first * 5;
    const fields = this.#fields;
    if (this.#page !== undefined) frame.page = this.#page;
    frame.set(
      fields[i] as number,
      fields[i + 1] as number,
      fields[i + 2] as Frame['checksum'],
      fields[i + 3] as Frame['gsoType'],
      fields[i + 4] as number,
    );
  }

  /** Forgets the oldest. */
  shift(): void {
    this.#first = (this.#first + 1) % BACKLOG_FRAMES;
    this.#count--;
  }

  clear(): void {
    this.#count = this.#end = 0;
  }

  [Symbol.dispose](): void {
    this.clear();
    this.#page?.[Symbol.dispose]();
    this.#page = undefined;
  }

  /** The pages, which are taken when they are first needed; undefined where the domain has no more. */
  #memory(): Page | undefined {
    try {
      this.#page ??= this.#grants.alloc(BACKLOG_BYTES / 4096);
    } catch (error) {
      if (!(error instanceof XenError)) throw error;
    }
    return this.#page;
  }

  /** Where a frame fits behind the last; -1 when it does not. */
  #room(length: number): number {
    if (this.#count === 0) return length <= BACKLOG_BYTES ? 0 : -1;
    if (this.#count === BACKLOG_FRAMES) return -1;
    const begin = this.#fields[this.#first * 5] as number;
    if (this.#end > begin) {
      if (this.#end + length <= BACKLOG_BYTES) return this.#end;
      return length < begin ? 0 : -1;
    }
    return this.#end + length < begin ? this.#end : -1;
  }
}
