import type { Sector } from '../../core/index.js';

/** What comes of an operation: undefined when it is done, or a promise that resolves when it is, and rejects when it failed. */
export type DiskResult = void | PromiseLike<void>;

/**
 * An open disk. Each operation is done when it returns, or when the promise that it returns has settled; until then its views are the
 * guest's own pages, mapped, and no longer. Several may be under way at once, but none that writes what another touches, and no other
 * beside a flush.
 */
export interface Disk {
  /** The size, in units of 512 bytes. */
  readonly sectors: Sector;
  /** Bytes that positions and lengths are multiples of: a power of two from 512 to 4096. */
  readonly sectorSize: number;
  readonly readOnly: boolean;
  /** Fills the views, one after another, with what lies on the disk from `position` (bytes) on. @throws when it cannot, EIO */
  readInto(views: readonly Uint8Array[], position: number): DiskResult;
  /** Writes the views, one after another, to `position` (bytes) and on. @throws when it cannot, EIO, ENOSPC */
  writeFrom(views: readonly Uint8Array[], position: number): DiskResult;
  /** Is done when all that was written will survive a loss of power. @throws when that cannot be, EIO */
  flush(): DiskResult;
  /** Called when no operation is under way; a second time it does nothing. */
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
