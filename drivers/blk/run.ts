import { type BackGrants, type GrantRef, PAGE_SIZE, type Page, SECTOR_SIZE } from '../../core/index.js';
import type { Disk } from './disk.js';
import { SECTORS_PER_PAGE } from './protocol.js';

/** Views that one preadv or pwritev takes (limits.h `IOV_MAX`). */
export const MAX_VIEWS = 1024;
/** Bytes that one call moves; a whole ring of full requests is 1.4 MB. */
export const MAX_BYTES = 1 << 20;

const READONLY = { readonly: true };
const WRITABLE = { readonly: false };

/**
 * Consecutive requests of one direction whose sectors follow one another on the disk: their pages are mapped as they come, and one
 * call on the disk carries them all out. All tables are kept, so nothing is allocated for a request here.
 */
export class Run {
  readonly #disk: Disk;
  readonly #grants: BackGrants;
  #write = false;
  /** The run's sectors, from the first to the one behind the last. */
  #begin = 0;
  #end = 0;
  #requests = 0;
  #segments = 0;
  /** By request: the caller's ticket, the first segment, the first sector. The entry behind the last is the end of the last. */
  readonly #tickets: number[] = [];
  readonly #firsts: number[] = [0];
  readonly #sectors: number[] = [0];
  /** By segment: the mapped page, and the bytes of it that count. */
  readonly #pages: (Page | undefined)[] = [];
  readonly #offsets: number[] = [];
  readonly #lengths: number[] = [];
  readonly #views: Uint8Array[] = [];

  constructor(disk: Disk, grants: BackGrants) {
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

  /** Maps a segment of the request that comes next. @throws GrantError */
  map(write: boolean, ref: GrantRef, firstSector: number, lastSector: number): void {
    const i = this.#segments;
    this.#pages[i] = this.#grants.map(ref, write ? READONLY : WRITABLE);
    this.#offsets[i] = firstSector * SECTOR_SIZE;
    this.#lengths[i] = (lastSector - firstSector + 1) * SECTOR_SIZE;
    this.#segments = i + 1;
  }

  /** Unmaps what was mapped of a request that will not be added after all. */
  unmapUnadded(): void {
    this.#unmapTo(this.#firsts[this.#requests] as number);
  }

  /** Adds the request whose segments were mapped. */
  add(ticket: number, write: boolean, sector: number, sectors: number): void {
    const i = this.#requests;
    if (i === 0) {
      this.#begin = sector;
      this.#write = write;
    }
    this.#tickets[i] = ticket;
    this.#sectors[i] = sector;
    this.#end = this.#sectors[i + 1] = sector + sectors;
    this.#firsts[i + 1] = this.#segments;
    this.#requests = i + 1;
  }

  /** Carries all requests out by one call. @throws what the disk throws */
  carryOut(): void {
    this.#move(0, this.#segments, this.#begin);
  }

  /** Carries one request out. @throws what the disk throws */
  carryOutOne(i: number): void {
    this.#move(this.#firsts[i] as number, this.#firsts[i + 1] as number, this.#sectors[i] as number);
  }

  /** Unmaps all pages; the requests are still known. */
  unmap(): void {
    this.#unmapTo(0);
  }

  /** Forgets the requests. */
  clear(): void {
    this.#requests = 0;
  }

  #move(from: number, to: number, sector: number): void {
    this.#gather(from, to);
    if (this.#write) this.#disk.writeFrom(this.#views, sector * SECTOR_SIZE);
    else this.#disk.readInto(this.#views, sector * SECTOR_SIZE);
  }

  /** Lists the bytes of segments as views, of which pages that lie side by side in memory share one. */
  #gather(from: number, to: number): void {
    const views = this.#views;
    let count = 0;
    let at = 0;
    let length = 0;
    for (let i = from; i < to; i++) {
      const bytes = this.#bytes(i);
      const offset = this.#offsets[i] as number;
      const more = this.#lengths[i] as number;
      const last = count === 0 ? undefined : views[count - 1];
      if (last !== undefined && last.buffer === bytes.buffer && at + length === bytes.byteOffset + offset) {
        length += more;
        // The views before are whole, so only the last one is made anew, once, when its run of pages ends.
        continue;
      }
      if (last !== undefined && last.length !== length) views[count - 1] = new Uint8Array(last.buffer, at, length);
      views[count++] = more === PAGE_SIZE ? bytes : bytes.subarray(offset, offset + more);
      at = bytes.byteOffset + offset;
      length = more;
    }
    const last = count === 0 ? undefined : views[count - 1];
    if (last !== undefined && last.length !== length) views[count - 1] = new Uint8Array(last.buffer, at, length);
    if (views.length !== count) views.length = count;
  }

  #bytes(segment: number): Uint8Array {
    const page = this.#pages[segment];
    if (page === undefined) throw new Error(`segment ${segment} of a run is not mapped`);
    return page.bytes;
  }

  #unmapTo(first: number): void {
    while (this.#segments > first) {
      this.#segments--;
      const page = this.#pages[this.#segments];
      this.#pages[this.#segments] = undefined;
      page?.[Symbol.dispose]();
    }
  }
}

/** Sectors that a segment of a page may name (blkif.h: `first_sect <= last_sect`, both within a page); 0 for one that it may not. */
export const segmentSectors = (first: number, last: number): number =>
  first <= last && last < SECTORS_PER_PAGE ? last - first + 1 : 0;
