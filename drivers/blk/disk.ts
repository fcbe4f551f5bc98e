import type { Sector } from '../../core/index.js';

/**
 * An open disk. All calls are synchronous: what they are given lies in pages that are the guest's, and are let go of at their return.
 */
export interface Disk {
  /** The size, in units of 512 bytes. */
  readonly sectors: Sector;
  /** Bytes that positions and lengths are multiples of: a power of two from 512 to 4096. */
  readonly sectorSize: number;
  readonly readOnly: boolean;
  /** Fills the views, one after another, with what lies on the disk from `position` (bytes) on. @throws when it cannot, EIO */
  readInto(views: readonly Uint8Array[], position: number): void;
  /** Writes the views, one after another, to `position` (bytes) and on. @throws when it cannot, EIO, ENOSPC */
  writeFrom(views: readonly Uint8Array[], position: number): void;
  /** Returns when all that was written will survive a loss of power. @throws when that cannot be, EIO */
  flush(): void;
  /** A second time does nothing. */
  close(): void;
}

/** Which disk a backend needs. */
export interface DiskRequest {
  /** What the toolstack wrote as `params`. */
  readonly params: string;
  /** `r`: nothing is ever written to it. */
  readonly mode: 'r' | 'w';
}

/** Where a domain's block backends find their disks. */
export abstract class Disks {
  /** Opens a disk. @throws DiskError */
  abstract open(request: DiskRequest): Disk | Promise<Disk>;
}

/** A disk cannot be served: the message says which, why, and what to do, in one line. */
export class DiskError extends Error {
  override readonly name = 'DiskError';
}
