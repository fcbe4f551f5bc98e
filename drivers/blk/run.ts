import { type GrantRef, PAGE_SIZE, SECTOR_SIZE } from '../../core/index.js';
import type { Disk, DiskResult } from './disk.js';
import type { MappedGrants, Mapping } from './mapped-grants.js';
import { SECTORS_PER_PAGE } from './protocol.js';
import { blkifRsp } from './wire.js';

/** Views that one preadv or pwritev takes (limits.h `IOV_MAX`). */
export const MAX_VIEWS = 1024;
/** Bytes that one call moves; a whole ring of full requests is 1.4 MB. */
export const MAX_BYTES = 1 << 20;

/**
 * Consecutive requests of one direction whose sectors follow one another on the disk: their pages are mapped as they come, and one
 * call on the disk carries them all out. All tables are kept, so nothing is allocated for a request here.
 */
export class Run {
  readonly #disk: Disk;
  readonly #grants: MappedGrants;
  #write = false;
  /** The run's sectors, from the first to the one behind the last. */
  #begin = 0;
  #end = 0;
  #requests = 0;
  #segments = 0;
  /**
   * By request: the caller's ticket, its operation, the status of its answer, the first segment, the first sector. The entry behind the
   * last is the end of the last.
   */
  readonly #tickets: number[] = [];
  readonly #operations: number[] = [];
  readonly #statuses: number[] = [];
  readonly #firsts: number[] = [0];
  readonly #sectors: number[] = [0];
  /** By segment: the mapped page, and the bytes of it that count. */
  readonly #pages: (Mapping | undefined)[] = [];
  readonly #offsets: number[] = [];
  readonly #lengths: number[] = [];
  readonly #views: Uint8Array[] = [];

  constructor(disk: Disk, grants: MappedGrants) {
    this.#disk = disk;
    this.#grants = grants;
  }

  /** Requests in the run. */
  get requests(): number {
    return this.#requests;
  }

  get write(): boolean {
    return this.#write;
  }

  /** The ticket of the `i`th request. */
  ticket(i: number): number {
    return this.#tickets[i] as number;
  }

  /** The operation of the `i`th request; a flush that carries data is a write here. */
  operation(i: number): number {
    return this.#operations[i] as number;
  }

  /** What the `i`th request is answered with: okay, unless it failed. */
  status(i: number): number {
    return this.#statuses[i] as number;
  }

  /** The `i`th request has failed. */
  fail(i: number): void {
    this.#statuses[i] = blkifRsp.error;
  }

  /** The first sector of the `i`th request, and for `i` = {@link requests} the one behind the last. */
  sector(i: number): number {
    return this.#sectors[i] as number;
  }

  /** Whether a request of so many sectors and segments can be carried out together with those that are here. */
  continues(write: boolean, sector: number, sectors: number, segments: number): boolean {
    return (
      this.#requests === 0 ||
      (write === this.#write &&
        sector === this.#end &&
        this.#segments + segments <= MAX_VIEWS &&
        (sector + sectors - this.#begin) * SECTOR_SIZE <= MAX_BYTES)
    );
  }

  /** Whether a request of these sectors must not be carried out at the same time: one of the two writes what the other touches. */
  excludes(write: boolean, sector: number, sectors: number): boolean {
    return (write || this.#write) && sector < this.#end && this.#begin < sector + sectors;
  }

  /** Maps a segment of the request that comes next. @throws GrantError */
  map(write: boolean, ref: GrantRef, firstSector: number, lastSector: number): void {
    const i = this.#segments;
    this.#pages[i] = this.#grants.map(ref, write);
    this.#offsets[i] = firstSector * SECTOR_SIZE;
    this.#lengths[i] = (lastSector - firstSector + 1) * SECTOR_SIZE;
    this.#segments = i + 1;
  }

  /** Lets go of what was mapped of a request that will not be added after all. */
  unmapUnadded(): void {
    this.#unmapTo(this.#firsts[this.#requests] as number);
  }

  /** Adds the request whose segments were mapped. */
  add(ticket: number, operation: number, write: boolean, sector: number, sectors: number): void {
    const i = this.#requests;
    if (i === 0) {
      this.#begin = sector;
      this.#write = write;
    }
    this.#tickets[i] = ticket;
    this.#operations[i] = operation;
    this.#statuses[i] = blkifRsp.okay;
    this.#sectors[i] = sector;
    this.#end = this.#sectors[i + 1] = sector + sectors;
    this.#firsts[i + 1] = this.#segments;
    this.#requests = i + 1;
  }

  /** Carries all requests out by one call. @throws what the disk throws */
  carryOut(): DiskResult {
    return this.#move(0, this.#segments, this.#begin);
  }

  /** Carries one request out. @throws what the disk throws */
  carryOutOne(i: number): DiskResult {
    return this.#move(this.#firsts[i] as number, this.#firsts[i + 1] as number, this.#sectors[i] as number);
  }

  /** Lets go of all pages; the requests are still known. */
  unmap(): void {
    this.#unmapTo(0);
  }

  /** Forgets the requests. */
  clear(): void {
    this.#requests = 0;
  }

  #move(from: number, to: number, sector: number): DiskResult {
    this.#gather(from, to);
    const at = sector * SECTOR_SIZE;
    return this.#write ? this.#disk.writeFrom(this.#views, at) : this.#disk.readInto(this.#views, at);
  }

  /** Lists the bytes of segments as views, of which pages that lie side by side in memory share one. */
  #gather(from: number, to: number): void {
    const views = this.#views;
    let count = 0;
    // The view that grows: its memory, where it begins, its length; and the page that it is while it has no other.
    let whole: Uint8Array | undefined;
    let buffer: ArrayBufferLike | undefined;
    let at = 0;
    let length = 0;
    for (let i = from; i < to; i++) {
      const page = this.#page(i);
      const begin = page.at + (this.#offsets[i] as number);
      const more = this.#lengths[i] as number;
      if (buffer === page.buffer && at + length === begin) {
        whole = undefined;
        length += more;
        continue;
      }
      if (buffer !== undefined) views[count++] = whole ?? new Uint8Array(buffer, at, length);
      whole = more === PAGE_SIZE ? page.bytes : undefined;
      buffer = page.buffer;
      at = begin;
      length = more;
    }
    if (buffer !== undefined) views[count++] = whole ?? new Uint8Array(buffer, at, length);
    if (views.length !== count) views.length = count;
  }

  #page(segment: number): Mapping {
    const page = this.#pages[segment];
    if (page === undefined) throw new Error(`segment ${segment} of a run is not mapped`);
    return page;
  }

  #unmapTo(first: number): void {
    while (this.#segments > first) {
      this.#segments--;
      const page = this.#pages[this.#segments];
      this.#pages[this.#segments] = undefined;
      if (page !== undefined) this.#grants.release(page);
    }
  }
}

/** Sectors that a segment of a page may name (blkif.h: `first_sect <= last_sect`, both within a page); 0 for one that it may not. */
export const segmentSectors = (first: number, last: number): number =>
  first <= last && last < SECTORS_PER_PAGE ? last - first + 1 : 0;
