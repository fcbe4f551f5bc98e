import type { Domid } from '../../core/abi/units.js';
import { PAGE_SIZE } from '../../core/abi/units.js';
import { XenError } from '../../core/errors.js';
import type { Arena } from './arena.js';
import { GNTCOPY_dest_gref, GNTCOPY_source_gref, gntdev } from './ioctls.js';
import type { Libc } from './libc.js';

/** gntdev.h `struct gntdev_grant_copy_segment` and `struct ioctl_gntdev_grant_copy`, in bytes. */
const SEGMENT = 24;
const HEADER = 16;
const STATUS = 20;

/** Segments that one call copies. */
export const COPY_SEGMENTS = Math.floor((PAGE_SIZE - HEADER) / SEGMENT);

/** The argument of GRANT_COPY in a page of its own: segments between one peer's grants and addresses of this process. */
export class CopyBlock {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #address: number;
  readonly #view: DataView;
  #count = 0;

  constructor(libc: Libc, arena: Arena, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
    const page = arena.take(1);
    this.#address = arena.addressOf(page);
    this.#view = new DataView(arena.buffer, page * PAGE_SIZE, PAGE_SIZE);
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === COPY_SEGMENTS;
  }

  /** Adds a copy between a peer's granted page and an address. */
  add(peer: Domid, ref: number, offset: number, address: number, length: number, toPeer: boolean): void {
    const at = this.#begin(length, toPeer ? GNTCOPY_dest_gref : GNTCOPY_source_gref);
    this.#view.setBigUint64(toPeer ? at : at + 8, BigInt(address), true);
    this.#foreign(toPeer ? at + 8 : at, peer, ref, offset);
  }

  /** Adds a copy between the granted pages of two peers. */
  addBetween(
    from: Domid,
    fromRef: number,
    fromOffset: number,
    to: Domid,
    toRef: number,
    toOffset: number,
    length: number,
  ): void {
    const at = this.#begin(length, GNTCOPY_source_gref | GNTCOPY_dest_gref);
    this.#foreign(at, from, fromRef, fromOffset);
    this.#foreign(at + 8, to, toRef, toOffset);
  }

  /** Copies what was added. @throws XenError when the call itself fails, and nothing can be said of any segment */
  copy(): void {
    const view = this.#view;
    view.setUint32(0, this.#count, true);
    view.setBigUint64(8, BigInt(this.#address + HEADER), true);
    const result = this.#libc.ioctl(this.#fd, gntdev.GRANT_COPY, this.#address);
    if (result < 0) throw new XenError(-result, `IOCTL_GNTDEV_GRANT_COPY of ${this.#count} segments`);
  }

  /** What came of a segment, as grant_table.h has it. */
  status(segment: number): number {
    return this.#view.getInt16(HEADER + segment * SEGMENT + STATUS, true);
  }

  /** A reference that a segment names: the source's, if it has one. */
  ref(segment: number): number {
    const at = HEADER + segment * SEGMENT;
    const isFromPeer = (this.#view.getUint16(at + 18, true) & GNTCOPY_source_gref) !== 0;
    return this.#view.getUint32(isFromPeer ? at : at + 8, true);
  }

  clear(): void {
    this.#count = 0;
  }

  #begin(length: number, flags: number): number {
    const at = HEADER + this.#count++ * SEGMENT;
    this.#view.setUint16(at + 16, length, true);
    this.#view.setUint16(at + 18, flags, true);
    this.#view.setInt16(at + STATUS, 0, true);
    return at;
  }

  #foreign(at: number, peer: Domid, ref: number, offset: number): void {
    this.#view.setUint32(at, ref, true);
    this.#view.setUint16(at + 4, offset, true);
    this.#view.setUint16(at + 6, peer, true);
  }
}
