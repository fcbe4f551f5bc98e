import { type GrantRef, PAGE_SIZE, SECTOR_SIZE } from '../../core/index.js';
import type { Disk, DiskResult } from './disk.js';
import type { MappedGrants, Mapping } from './mapped-grants.js';
import { SECTORS_PER_PAGE } from './protocol.js';
import { blkifRsp } from './wire.js';

/** Views that one preadv or pwritev takes (limits.h `IOV_MAX`). */
export const MAX_VIEWS = 1024;
/** Bytes that one call moves; a whole ring of full requests is 1.4 MB. */
export const MAX_BYTES = 1 << 20;

/** What a step does. */
export const stepKind = { read: 0, write: 1, flush: 2 } as const;
type StepKind = (typeof stepKind)[keyof typeof stepKind];

/**
 * Requests that were taken together, judged and mapped, as the steps that carry them out: a flush, or a run of requests of one direction
 * whose sectors follow one another on the disk, which one call moves. It is put together first and carried out then, so that the disk's
 * system calls come one after another. All tables are kept, so nothing is allocated for a request here.
 */
export class Batch {
  declare private readonly disk: Disk;
  declare private readonly grants: MappedGrants;
  /** By step: what it does, its first request. The entry behind the last is the end of the last. */
  readonly #kinds: StepKind[] = [];
  readonly #starts: number[] = [0];
  #steps = 0;
  /**
   * By request: its ticket, its operation, the status of its answer, its first segment, its first sector, the sector behind its last. The
   * first segment of the entry behind the last is the end of the last.
   */
  readonly #tickets: number[] = [];
  readonly #operations: number[] = [];
  readonly #statuses: number[] = [];
  readonly #segments: number[] = [0];
  readonly #sectors: number[] = [];
  readonly #ends: number[] = [];
  #requests = 0;
  /** Whether nothing may continue the last step. */
  #sealed = false;
  /** By segment: the mapped page, and the bytes of it that count. */
  readonly #pages: (Mapping | undefined)[] = [];
  readonly #offsets: number[] = [];
  readonly #lengths: number[] = [];
  #mapped = 0;
  /** By step: the views that it moves; the step may last. */
  readonly #views: Uint8Array[][] = [];
  /** Steps that were begun, and steps that are done; who has them carried out counts. */
  begun = 0;
  done = 0;

  constructor(disk: Disk, grants: MappedGrants) {
    this.disk = disk;
    this.grants = grants;
  }

  get steps(): number {
    return this.#steps;
  }

  get requests(): number {
    return this.#requests;
  }

  /** The first request of a step, and for the one behind the last step, of none. */
  start(step: number): number {
    return this.#starts[step] as number;
  }

  kind(step: number): number {
    return this.#kinds[step] as number;
  }

  ticket(request: number): number {
    return this.#tickets[request] as number;
  }

  /** The operation of a request; a flush that carries data is a write here. */
  operation(request: number): number {
    return this.#operations[request] as number;
  }

  /** What a request is answered with: okay, unless it failed. */
  status(request: number): number {
    return this.#statuses[request] as number;
  }

  /** A request has failed. */
  fail(request: number): void {
    this.#statuses[request] = blkifRsp.error;
  }

  /** What a request does, for the log. */
  describe(step: number, request: number): string {
    if (this.#kinds[step] === stepKind.flush) return 'flush';
    const what = this.#kinds[step] === stepKind.write ? 'write' : 'read';
    return `${what} of sectors ${this.#sectors[request]} to ${(this.#ends[request] as number) - 1}`;
  }

  /** Maps a segment of the request that comes next. @throws GrantError */
  map(write: boolean, ref: GrantRef, firstSector: number, lastSector: number): void {
    const i = this.#mapped;
    this.#pages[i] = this.grants.map(ref, write);
    this.#offsets[i] = firstSector * SECTOR_SIZE;
    this.#lengths[i] = (lastSector - firstSector + 1) * SECTOR_SIZE;
    this.#mapped = i + 1;
  }

  /** Lets go of what was mapped of a request that will not be added after all. */
  unmapUnadded(): void {
    this.#release(this.#segments[this.#requests] as number, this.#mapped);
    this.#mapped = this.#segments[this.#requests] as number;
  }

  /** Adds the request whose segments were mapped, to the last step if it continues that. */
  add(ticket: number, operation: number, write: boolean, sector: number, sectors: number): void {
    const i = this.#requests;
    const kind = write ? stepKind.write : stepKind.read;
    if (!this.#continues(kind, sector, sectors)) this.#step(kind);
    this.#sectors[i] = sector;
    this.#ends[i] = sector + sectors;
    this.#put(ticket, operation);
  }

  /** Adds a flush. */
  addFlush(ticket: number, operation: number): void {
    this.#step(stepKind.flush);
    this.#sectors[this.#requests] = this.#ends[this.#requests] = 0;
    this.#put(ticket, operation);
  }

  /**
   * Adds a flush that carries the data whose segments were mapped: a flush without a request, and a write. When the flush fails, the write's
   * request is to {@link fail}, and is not carried out.
   */
  addCarrying(ticket: number, operation: number, sector: number, sectors: number): void {
    this.#step(stepKind.flush);
    this.#step(stepKind.write);
    this.add(ticket, operation, true, sector, sectors);
    this.#sealed = true;
  }

  /** Whether two steps must not be carried out at the same time: one of the two writes what the other touches. */
  excludes(step: number, other: Batch, otherStep: number): boolean {
    if (this.#kinds[step] === stepKind.read && other.#kinds[otherStep] === stepKind.read) return false;
    return (
      (this.#sectors[this.start(step)] as number) < (other.#ends[other.start(otherStep + 1) - 1] as number) &&
      (other.#sectors[other.start(otherStep)] as number) < (this.#ends[this.start(step + 1) - 1] as number)
    );
  }

  /** Has the disk do a step. @throws what the disk throws */
  carryOut(step: number): DiskResult {
    const kind = this.#kinds[step];
    if (kind === stepKind.flush) return this.disk.flush();
    const first = this.start(step);
    return this.#move(step, first, this.start(step + 1));
  }

  /** Has the disk do one request of a step. @throws what the disk throws */
  carryOutOne(step: number, request: number): DiskResult {
    return this.#move(step, request, request + 1);
  }

  /** Lets go of the pages of the steps from one to another, which is not included. */
  unmap(from: number, to: number): void {
    this.#release(this.#segments[this.start(from)] as number, this.#segments[this.start(to)] as number);
  }

  /** Forgets the steps that were not begun. */
  abandon(): void {
    this.unmap(this.begun, this.#steps);
    this.#steps = this.begun;
  }

  /** Forgets everything. */
  clear(): void {
    this.#steps = this.#requests = this.#mapped = this.begun = this.done = 0;
    this.#starts[0] = 0;
  }

  #continues(kind: StepKind, sector: number, sectors: number): boolean {
    const step = this.#steps - 1;
    if (step < 0 || this.#kinds[step] !== kind || this.#sealed === true) return false;
    const first = this.start(step);
    if (first === this.#requests) return true;
    return (
      this.#ends[this.#requests - 1] === sector &&
      this.#mapped - (this.#segments[first] as number) <= MAX_VIEWS &&
      (sector + sectors - (this.#sectors[first] as number)) * SECTOR_SIZE <= MAX_BYTES
    );
  }

  #step(kind: StepKind): void {
    const step = this.#steps;
    this.#kinds[step] = kind;
    this.#starts[step] = this.#starts[step + 1] = this.#requests;
    this.#steps = step + 1;
    this.#sealed = false;
  }

  #put(ticket: number, operation: number): void {
    const i = this.#requests;
    this.#tickets[i] = ticket;
    this.#operations[i] = operation;
    this.#statuses[i] = blkifRsp.okay;
    this.#segments[i + 1] = this.#mapped;
    this.#requests = i + 1;
    this.#starts[this.#steps] = i + 1;
  }

  #move(step: number, first: number, end: number): DiskResult {
    let views = this.#views[step];
    if (views === undefined) {
      views = [];
      this.#views[step] = views;
    }
    this.#gather(views, this.#segments[first] as number, this.#segments[end] as number);
    const at = (this.#sectors[first] as number) * SECTOR_SIZE;
    return this.#kinds[step] === stepKind.write ? this.disk.writeFrom(views, at) : this.disk.readInto(views, at);
  }

  /** Lists the bytes of segments as views, of which pages that lie side by side in memory share one. */
  #gather(views: Uint8Array[], from: number, to: number): void {
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
    if (page === undefined) throw new Error(`segment ${segment} of a batch is not mapped`);
    return page;
  }

  #release(from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const page = this.#pages[i];
      this.#pages[i] = undefined;
      if (page !== undefined) this.grants.release(page);
    }
  }
}

/** Sectors that a segment of a page may name (blkif.h: `first_sect <= last_sect`, both within a page); 0 for one that it may not. */
export const segmentSectors = (first: number, last: number): number =>
  first <= last && last < SECTORS_PER_PAGE ? last - first + 1 : 0;
