import type { Page } from '../../core/index.js';
import { type GsoType, gsoType } from './wire.js';

/**
 * What is known of a frame's transport checksum (netif.h): nothing, so that who receives it must verify it; that it is right; or that it
 * holds the sum of the pseudo-header alone, and the data is as it was sent.
 */
export const checksum = { unknown: 0, validated: 1, blank: 2 } as const;
export type Checksum = (typeof checksum)[keyof typeof checksum];

/** A frame on its way, in private pages: each source has one of these, and points it at frame after frame. */
export class Frame {
  /** Where it lies. */
  page: Page;
  /** Bytes into the page. */
  offset = 0;
  /** Bytes, with the Ethernet header. */
  length = 0;
  checksum: Checksum = checksum.unknown;
  /** What it is to be segmented as, none without it. */
  gsoType: GsoType = gsoType.none;
  /** Bytes of payload in each segment. */
  gsoSize = 0;

  constructor(page: Page) {
    this.page = page;
  }

  /** The memory that it lies in, from its page's beginning. */
  get bytes(): Uint8Array {
    return this.page.bytes;
  }

  set(offset: number, length: number, sum: Checksum, type: GsoType, size: number): void {
    this.offset = offset;
    this.length = length;
    this.checksum = sum;
    this.gsoType = type;
    this.gsoSize = size;
  }

  /** A copy of its bytes. */
  copy(): Uint8Array {
    return this.bytes.slice(this.offset, this.offset + this.length);
  }
}
