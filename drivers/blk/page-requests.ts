import type { FrontLink, Sector } from '../../core/index.js';
import { checkRange, checkWritable } from './check-range.js';
import type { blk } from './protocol.js';
import type { FillPages, RequestDone, RingRequests } from './ring-requests.js';
import { REQUEST_BYTES } from './transfer.js';
import { blkifOp } from './wire.js';

/**
 * A disk's requests one by one, for who wants no promise and no copy: each moves up to {@link REQUEST_BYTES} between the disk and granted
 * pages, which its callback reads in place, and nothing is allocated for it. A request goes by the id that sending it returned, which is
 * below {@link entries} and is used again once it was answered: what belongs to a request is kept in an array by that.
 *
 * A callback may send further requests. What it throws is logged, and disturbs no other.
 */
export class PageRequests {
  declare private readonly link: FrontLink<typeof blk>;
  declare private readonly requests: RingRequests;

  constructor(link: FrontLink<typeof blk>, requests: RingRequests) {
    this.link = link;
    this.requests = requests;
  }

  /** Requests that can be outstanding at once, and the bound of their ids. */
  get entries(): number {
    return this.requests.entries;
  }

  /** Requests that the ring has room for now. */
  get free(): number {
    return this.link.ring.free;
  }

  /**
   * Reads from `sector` (units of 512 bytes) on into pages, which `done` is handed; the request's id, or -1 when the ring is full. The
   * backend sees it after {@link push}.
   * @throws RangeError for what is not aligned to the disk's sectors, not on the disk, nothing, or more than {@link REQUEST_BYTES};
   * XenError ENOMEM, ENOSPC, EBUSY when there are no pages for it; Disconnected or PeerFault after the link's end
   */
  read(sector: Sector, bytes: number, done: RequestDone): number {
    this.#check('read', sector, bytes);
    return this.requests.submit(blkifOp.read, sector, bytes, undefined, done);
  }

  /**
   * Writes to `sector` (units of 512 bytes) and on what `fill` puts into the pages now; otherwise as {@link read}.
   * @throws as {@link read}, and XenError EROFS; what `fill` throws
   */
  write(sector: Sector, bytes: number, fill: FillPages, done: RequestDone): number {
    checkWritable(this.link, sector);
    this.#check('write', sector, bytes);
    return this.requests.submit(blkifOp.write, sector, bytes, fill, done);
  }

  /** Publishes what was sent, all together. */
  push(): void {
    this.requests.push();
  }

  /** Calls `room` once, as soon as the ring has room and all that asked earlier had their turn; never after the link's end. */
  space(room: () => void): void {
    this.requests.space(room);
  }

  #check(what: string, sector: Sector, bytes: number): void {
    checkRange(this.link, what, sector, bytes);
    if (!(bytes > 0 && bytes <= REQUEST_BYTES)) {
      const { path } = this.link.device;
      throw new RangeError(`${path}: ${what} of ${bytes} bytes: a request moves one sector to ${REQUEST_BYTES} bytes`);
    }
  }
}
