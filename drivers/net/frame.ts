import type { Page } from '../../core/index.js';
import type { FrameSource } from './frame-source.js';
import { type GsoType, gsoType } from './wire.js';

/**
 * What is known of a frame's transport checksum (netif.h): nothing, so that who receives it must verify it; that it is right; or that it
 * holds the sum of the pseudo-header alone, and the data is as it was sent.
 */
export const checksum = { unknown: 0, validated: 1, blank: 2 } as const;
export type Checksum = (typeof checksum)[keyof typeof checksum];

/**
 * A frame on its way, in private pages: each source has one of these, and points it at frame after frame. Of one that a vif sent only the
 * beginning may be there yet, with all that is looked at to send it on; the rest is then copied from guest to guest, or when it is
 * {@link Frame.fetch fetched}.
 */
export class Frame {
  /** Bytes into the page. */
  offset = 0;
  /** Bytes, with the Ethernet header. */
  length = 0;
  checksum: Checksum = checksum.unknown;
  /** What it is to be segmented as, none without it. */
  gsoType: GsoType = gsoType.none;
  /** Bytes of payload in each segment. */
  gsoSize = 0;
  /** Bytes that are in the page, from the frame's beginning: all of them, unless it has a `source`. */
  here = 0;
  /** Who has the rest; undefined for a frame that is whole. */
  source: FrameSource | undefined;
  /** Which packet of the source's it is, and the first of its parts that make up the rest. */
  packet = 0;
  part = 0;
  declare private where: Page;
  /** The memory that it lies in, from its page's beginning. */
  declare bytes: Uint8Array;

  constructor(page: Page) {
    this.where = page;
    this.bytes = page.bytes;
    this.source = undefined;
  }

  /** Where it lies. */
  get page(): Page {
    return this.where;
  }

  set page(page: Page) {
    if (page === this.where) return;
    this.where = page;
    this.bytes = page.bytes;
  }

  /** Says where a whole frame lies, and what is known of it. */
  set(offset: number, length: number, sum: Checksum, type: GsoType, size: number): void {
    this.offset = offset;
    this.length = length;
    this.checksum = sum;
    this.gsoType = type;
    this.gsoSize = size;
    this.here = length;
    this.source = undefined;
  }

  /** Has all of its bytes copied into its page; false when its sender's pages cannot be: it goes no further then, and the sender has been told. */
  fetch(): boolean {
    return this.source === undefined || this.source.fetch(this);
  }

  /** A copy of its bytes. @throws TypeError for one that is not whole: fetch it first */
  copy(): Uint8Array {
    if (this.source !== undefined) throw new TypeError('not all of this frame is here: fetch it first');
    return this.bytes.slice(this.offset, this.offset + this.length);
  }
}
