import { distinctUntilChanged, map, type Observable } from 'rxjs';
import type { FrontLink, Sector } from '../../core/index.js';
import { checkRange, checkWritable } from './check-range.js';
import { PageRequests } from './page-requests.js';
import { type blk, vdisk } from './protocol.js';
import { RingRequests } from './ring-requests.js';
import { Transfer } from './transfer.js';
import { TransferQueue } from './transfer-queue.js';
import { blkifOp } from './wire.js';

/**
 * A connected disk. Requests go onto the ring in the order of the calls; what does not fit waits for its turn. A call that cannot be
 * right throws at once; what the backend refuses rejects with XenError EIO, and what has no answer when the link ends with
 * Disconnected or PeerFault.
 */
export class BlockDevice implements Disposable {
  readonly #link: FrontLink<typeof blk>;
  readonly #ring: RingRequests;
  readonly #queue: TransferQueue;
  /** The same disk by callbacks, without promises and copies; they share the ring with the calls here. */
  readonly requests: PageRequests;

  constructor(link: FrontLink<typeof blk>) {
    this.#link = link;
    this.#ring = new RingRequests(link);
    this.#queue = new TransferQueue(this.#ring);
    this.requests = new PageRequests(link, this.#ring);
  }

  /** The size now, in units of 512 bytes; the backend can change it at any time. */
  get sectors(): Sector {
    return this.#link.peer.sectors;
  }

  /** The size, and anew whenever the backend announces another (blkif.h: a change of capacity). */
  get sectors$(): Observable<Sector> {
    return this.#link.peer$.pipe(
      map(({ sectors }) => sectors),
      distinctUntilChanged(),
    );
  }

  /** Bytes that positions and lengths are multiples of: a power of two from 512 to 4096. */
  get sectorSize(): number {
    return this.#link.peer['sector-size'];
  }

  /** Bytes that the disk itself writes at once; a hint. */
  get physicalSectorSize(): number {
    return Math.max(this.#link.peer['physical-sector-size'], this.sectorSize);
  }

  get readOnly(): boolean {
    return (this.#link.peer.info & vdisk.readonly) !== 0;
  }

  get cdrom(): boolean {
    return (this.#link.peer.info & vdisk.cdrom) !== 0;
  }

  get removable(): boolean {
    return (this.#link.peer.info & vdisk.removable) !== 0;
  }

  /** Whether {@link flush} asks the backend; if not, writes are durable when they are answered. */
  get canFlush(): boolean {
    return this.#link.peer['feature-flush-cache'] && !this.#ring.flushRefused;
  }

  /**
   * Fills `into` with what lies on the disk from `sector` (units of 512 bytes) on; when this rejects, it holds anything.
   * @throws RangeError at once for what is not aligned to {@link sectorSize} or not on the disk
   */
  read(sector: Sector, into: Uint8Array): Promise<void> {
    checkRange(this.#link, 'read', sector, into.length);
    return this.#send(new Transfer(blkifOp.read, sector, into));
  }

  /**
   * Writes `from` to the disk from `sector` (units of 512 bytes) on; it must not change before this resolves.
   * @throws at once RangeError for what is not aligned to {@link sectorSize} or not on the disk, XenError EROFS
   */
  write(sector: Sector, from: Uint8Array): Promise<void> {
    checkWritable(this.#link, sector);
    checkRange(this.#link, 'write', sector, from.length);
    return this.#send(new Transfer(blkifOp.write, sector, from));
  }

  /** Resolves when all writes that were answered before this call will survive a loss of power. */
  flush(): Promise<void> {
    return this.canFlush ? this.#send(new Transfer(blkifOp.flush, 0 as Sector)) : Promise.resolve();
  }

  /** Closes the disk for good: resolves when the backend has let go and all is given back. */
  close(): Promise<void> {
    return this.#link.close();
  }

  /** Called by the framework when the link ends. */
  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
    this.#queue[Symbol.dispose]();
  }

  #send(transfer: Transfer): Promise<void> {
    return transfer.allSent ? Promise.resolve() : this.#queue.send(transfer);
  }
}
