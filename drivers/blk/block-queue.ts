import { type BackGrants, type BackLink, type Log, XenError } from '../../core/index.js';
import type { Disk, DiskResult } from './disk.js';
import { MappedGrants, type MappedGrantsOptions } from './mapped-grants.js';
import type { blk } from './protocol.js';
import { Run, segmentSectors } from './run.js';
import { BLKIF_MAX_SEGMENTS_PER_REQUEST, blkifOp, blkifRsp } from './wire.js';

/** The requests of a link as a drain takes them. */
export type BlkSlots = ReturnType<BackLink<typeof blk>['drain']>;
type BlkRequest = NonNullable<ReturnType<BlkSlots['take']>>;
type ReadWrite = BlkRequest['rw'];

/** What a queue works with. */
export interface BlockQueueOptions extends MappedGrantsOptions {
  readonly disk: Disk;
  readonly grants: BackGrants;
  readonly log: Log;
  /** The device's directory, for the log. */
  readonly source: string;
}

/** Failures of the disk that a link reports; after these it is silent. */
const MAX_REPORTS = 10;
/** In place of a ticket: the request that was taken last, which is not kept. */
const TAKEN = -1;

/**
 * One link's data path: takes whole batches of requests, judges each by its private copy before anything is touched, and carries
 * out runs of adjacent sectors by one call on the disk. Requests that touch the same sectors take effect in the order of the ring, and a
 * flush waits for all before it and holds up all after it; a disk that answers later is at all others at the same time.
 */
export class BlockQueue {
  readonly #disk: Disk;
  readonly #grants: MappedGrants;
  readonly #log: Log;
  readonly #source: string;
  /** Low bits that sector numbers and lengths must not have. */
  readonly #misaligned: number;
  /** The run that is being put together, those that the disk is at, and those that can be used again. */
  #run: Run;
  readonly #underWay: Run[] = [];
  readonly #spare: Run[] = [];
  /** Whether the disk is at a flush. */
  #flushing = false;
  /** Tickets of requests that wait for what is under way, in their order. */
  readonly #held: number[] = [];
  #reports = 0;
  /** What remains to be done when nothing is under way any more; undefined as long as the link stands. */
  #ended: (() => void) | undefined;

  constructor({ disk, grants, log, source, ...mapping }: BlockQueueOptions) {
    this.#disk = disk;
    this.#grants = new MappedGrants(grants, mapping);
    this.#run = new Run(disk, this.#grants);
    this.#log = log;
    this.#source = source;
    this.#misaligned = disk.sectorSize / 512 - 1;
  }

  /** Takes all requests there are and answers each, now or when the disk is done with it. */
  drain(slots: BlkSlots): void {
    for (let req = slots.take(); req !== undefined; req = slots.take()) {
      if (this.#flushing === true || this.#held.length > 0 || !this.#begin(slots, req, TAKEN)) {
        this.#held.push(slots.keep());
      }
    }
    this.#finish(slots);
  }

  /**
   * The link ends: nothing more is answered, and pages that the disk is still at stay mapped until it is done with them.
   * @param idle called when it is at none
   */
  end(idle: () => void): void {
    this.#ended = idle;
    this.#held.length = 0;
    this.#grants[Symbol.dispose]();
    this.#tellIdle();
  }

  /** Carries a request out, or answers it; false when it has to wait for what is under way. */
  #begin(slots: BlkSlots, req: BlkRequest, ticket: number): boolean {
    const { operation } = req;
    switch (operation) {
      case blkifOp.read:
        return this.#move(slots, req.rw, operation, false, ticket);
      case blkifOp.write:
        return this.#move(slots, req.rw, operation, true, ticket);
      case blkifOp.flush:
        return this.#flush(slots, req.rw, ticket);
      default:
        this.#answer(slots, ticket, operation, blkifRsp.notSupported);
        return true;
    }
  }

  /** Puts a request into the run, which is finished before if this one does not continue it. */
  #move(slots: BlkSlots, rw: ReadWrite, operation: number, write: boolean, ticket: number): boolean {
    const sectors = this.#judge(rw, write);
    if (sectors === 0) {
      this.#answer(slots, ticket, operation, blkifRsp.error);
      return true;
    }
    const sector = rw.sector_number;
    if (!this.#run.continues(write, sector, sectors, rw.nr_segments)) this.#finish(slots);
    if (this.#underWay.length > 0 && this.#excluded(write, sector, sectors)) return false;
    if (this.#join(slots, rw, write)) {
      this.#run.add(ticket === TAKEN ? slots.keep() : ticket, operation, write, sector, sectors);
    } else this.#answer(slots, ticket, operation, blkifRsp.error);
    return true;
  }

  /** Maps a request's pages beside those of the run, which is finished before if they cannot be mapped with them. */
  #join(slots: BlkSlots, rw: ReadWrite, write: boolean): boolean {
    if (this.#map(rw, write)) return true;
    if (this.#run.requests === 0) return false;
    // A page can be mapped 255 times at once, and a guest may write one and the same page all over its disk.
    this.#finish(slots);
    return this.#map(rw, write);
  }

  /** Whether something under way writes what a request touches, or touches what it writes. */
  #excluded(write: boolean, sector: number, sectors: number): boolean {
    for (let i = 0; i < this.#underWay.length; i++) {
      if ((this.#underWay[i] as Run).excludes(write, sector, sectors)) return true;
    }
    return false;
  }

  /** A flush with segments is a flush and then a write, as in blkback and QEMU; most have none. */
  #flush(slots: BlkSlots, rw: ReadWrite, ticket: number): boolean {
    if (rw.nr_segments !== 0 && this.#judge(rw, true) === 0) {
      this.#answer(slots, ticket, blkifOp.flush, blkifRsp.error);
      return true;
    }
    this.#finish(slots);
    if (this.#underWay.length > 0) return false;
    let later: DiskResult;
    try {
      later = this.#disk.flush();
    } catch (error) {
      this.#flushFailed(slots, ticket, error);
      return true;
    }
    if (later === undefined) this.#flushed(slots, rw, ticket);
    else this.#flushLater(slots, ticket === TAKEN ? slots.keep() : ticket, later);
    return true;
  }

  #flushLater(slots: BlkSlots, ticket: number, later: PromiseLike<void>): void {
    this.#flushing = true;
    const after = (answer: () => void): void => {
      this.#flushing = false;
      if (this.#ended === undefined) answer();
      this.#goOn(slots);
    };
    later.then(
      () => after(() => this.#flushed(slots, slots.kept(ticket).rw, ticket)),
      (error: unknown) => after(() => this.#flushFailed(slots, ticket, error)),
    );
  }

  #flushed(slots: BlkSlots, rw: ReadWrite, ticket: number): void {
    if (rw.nr_segments === 0) this.#answer(slots, ticket, blkifOp.flush, blkifRsp.okay);
    else this.#move(slots, rw, blkifOp.flush, true, ticket);
  }

  #flushFailed(slots: BlkSlots, ticket: number, error: unknown): void {
    this.#report('flush', error);
    this.#answer(slots, ticket, blkifOp.flush, blkifRsp.error);
  }

  /** How many sectors a request moves; 0 when it must not (blkback.c `dispatch_rw_block_io`, `xen_vbd_translate`). */
  #judge(rw: ReadWrite, write: boolean): number {
    const segments = rw.nr_segments;
    if (segments > BLKIF_MAX_SEGMENTS_PER_REQUEST || (write && this.#disk.readOnly)) return 0;
    const { seg, sector_number: sector } = rw;
    let sectors = 0;
    // A number of 2^53 or more is Infinity here: its low bits are 0, and it is beyond every disk.
    let bits: number = sector;
    for (let i = 0; i < segments; i++) {
      const segment = seg.at(i);
      const count = segmentSectors(segment.first_sect, segment.last_sect);
      if (count === 0) return 0;
      bits |= count;
      sectors += count;
    }
    if ((bits & this.#misaligned) !== 0) return 0;
    return sector + sectors <= this.#disk.sectors ? sectors : 0;
  }

  /** Maps the segments of a request, all or none (XSA-365). */
  #map(rw: ReadWrite, write: boolean): boolean {
    const { seg, nr_segments: segments } = rw;
    const run = this.#run;
    try {
      for (let i = 0; i < segments; i++) {
        const segment = seg.at(i);
        run.map(write, segment.gref, segment.first_sect, segment.last_sect);
      }
      return true;
    } catch (error) {
      run.unmapUnadded();
      if (!(error instanceof XenError)) throw error;
      return false;
    }
  }

  /** Has the disk carry the run out, and answers its requests when that is done. */
  #finish(slots: BlkSlots): void {
    const run = this.#run;
    if (run.requests === 0) return;
    let later: DiskResult;
    try {
      later = run.carryOut();
    } catch (error) {
      this.#sendOff(run);
      this.#singly(slots, run, error);
      return;
    }
    if (later === undefined) {
      this.#answerAll(slots, run);
      run.clear();
      return;
    }
    this.#sendOff(run);
    later.then(
      () => {
        this.#land(slots, run);
        this.#goOn(slots);
      },
      (error: unknown) => {
        this.#singly(slots, run, error);
        this.#goOn(slots);
      },
    );
  }

  /** The disk is at this run, and the next one is put together meanwhile. */
  #sendOff(run: Run): void {
    this.#underWay.push(run);
    this.#run = this.#spare.pop() ?? new Run(this.#disk, this.#grants);
  }

  /** The disk is done with a run. */
  #land(slots: BlkSlots, run: Run): void {
    this.#underWay.splice(this.#underWay.indexOf(run), 1);
    this.#answerAll(slots, run);
    run.clear();
    this.#spare.push(run);
  }

  /** What failed as a whole is tried again request by request. */
  #singly(slots: BlkSlots, run: Run, failed: unknown): void {
    if (run.requests > 1 && this.#ended === undefined) {
      this.#singlyFrom(slots, run, 0);
      return;
    }
    this.#failed(run, 0, failed);
    this.#land(slots, run);
  }

  #singlyFrom(slots: BlkSlots, run: Run, from: number): void {
    for (let i = from; i < run.requests && this.#ended === undefined; i++) {
      let later: DiskResult;
      try {
        later = run.carryOutOne(i);
      } catch (error) {
        this.#failed(run, i, error);
        continue;
      }
      if (later === undefined) continue;
      const goOn = (): void => {
        this.#singlyFrom(slots, run, i + 1);
        this.#goOn(slots);
      };
      later.then(goOn, (error: unknown) => {
        this.#failed(run, i, error);
        goOn();
      });
      return;
    }
    this.#land(slots, run);
  }

  #failed(run: Run, i: number, error: unknown): void {
    run.fail(i);
    this.#report(`${run.write ? 'write' : 'read'} of sectors ${run.sector(i)} to ${run.sector(i + 1) - 1}`, error);
  }

  /** Begins what had to wait, and publishes the answers; to be called outside of a drain. */
  #goOn(slots: BlkSlots): void {
    if (this.#ended !== undefined) {
      this.#tellIdle();
      return;
    }
    while (this.#held.length > 0 && !this.#flushing) {
      const ticket = this.#held[0] as number;
      if (!this.#begin(slots, slots.kept(ticket), ticket)) break;
      this.#held.shift();
    }
    this.#finish(slots);
    slots.push();
  }

  #tellIdle(): void {
    if (this.#underWay.length === 0 && !this.#flushing) this.#ended?.();
  }

  /** Lets go of a run's pages first: the frontend looks at its grants as soon as it has the answer. */
  #answerAll(slots: BlkSlots, run: Run): void {
    run.unmap();
    if (this.#ended !== undefined) return;
    const { requests } = run;
    for (let i = 0; i < requests; i++) this.#answer(slots, run.ticket(i), run.operation(i), run.status(i));
  }

  #answer(slots: BlkSlots, ticket: number, operation: number, status: number): void {
    const rsp = ticket === TAKEN ? slots.respond() : slots.respond(ticket);
    rsp.operation = operation;
    rsp.status = status;
  }

  #report(what: string, error: unknown): void {
    if (this.#reports >= MAX_REPORTS) return;
    this.#reports++;
    const why = error instanceof Error ? error.message : String(error);
    const more = this.#reports === MAX_REPORTS ? '; further failures are not reported' : '';
    this.#log.write({ level: 'error', source: this.#source, text: `${what} failed: ${why}${more}` });
  }
}
