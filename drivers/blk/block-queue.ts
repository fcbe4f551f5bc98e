import { type BackGrants, type BackLink, type Log, XenError } from '../../core/index.js';
import type { Disk } from './disk.js';
import type { blk } from './protocol.js';
import { Run, segmentSectors } from './run.js';
import { BLKIF_MAX_SEGMENTS_PER_REQUEST, blkifOp, blkifRsp } from './wire.js';

/** The requests of a link as a drain takes them. */
export type BlkSlots = ReturnType<BackLink<typeof blk>['drain']>;
type BlkRequest = NonNullable<ReturnType<BlkSlots['take']>>;
type ReadWrite = BlkRequest['rw'];

/** What a queue works with. */
export interface BlockQueueOptions {
  readonly disk: Disk;
  readonly grants: BackGrants;
  readonly log: Log;
  /** The device's directory, for the log. */
  readonly source: string;
}

/** Failures of the disk that a link reports; after these it is silent. */
const MAX_REPORTS = 10;

/**
 * One link's data path: takes whole batches of requests, judges each by its private copy before anything is touched, and carries
 * out runs of adjacent sectors by one call on the disk. Requests take effect in the order of the ring.
 */
export class BlockQueue {
  readonly #disk: Disk;
  readonly #run: Run;
  readonly #log: Log;
  readonly #source: string;
  /** Low bits that sector numbers and lengths must not have. */
  readonly #misaligned: number;
  /** The operations of the run's requests; a flush that carries data is a write there. */
  readonly #operations: number[] = [];
  #reports = 0;

  constructor({ disk, grants, log, source }: BlockQueueOptions) {
    this.#disk = disk;
    this.#run = new Run(disk, grants);
    this.#log = log;
    this.#source = source;
    this.#misaligned = disk.sectorSize / 512 - 1;
  }

  /** Takes all requests there are and answers each. */
  drain(slots: BlkSlots): void {
    for (let req = slots.take(); req !== undefined; req = slots.take()) this.#take(slots, req);
    this.#finish(slots);
  }

  #take(slots: BlkSlots, req: BlkRequest): void {
    const { operation } = req;
    switch (operation) {
      case blkifOp.read:
        this.#move(slots, req.rw, operation, false);
        break;
      case blkifOp.write:
        this.#move(slots, req.rw, operation, true);
        break;
      case blkifOp.flush:
        this.#flush(slots, req.rw);
        break;
      default:
        this.#answer(slots, operation, blkifRsp.notSupported);
    }
  }

  /** Puts a request into the run, which is finished before if this one does not continue it. */
  #move(slots: BlkSlots, rw: ReadWrite, operation: number, write: boolean): void {
    const sectors = this.#judge(rw, write);
    if (sectors === 0 || !this.#join(slots, rw, write, sectors)) {
      this.#answer(slots, operation, blkifRsp.error);
      return;
    }
    const run = this.#run;
    this.#operations[run.requests] = operation;
    run.add(slots.keep(), write, rw.sector_number, sectors);
  }

  /** Maps a request's pages beside those of the run, which is finished before if the request cannot be carried out with it. */
  #join(slots: BlkSlots, rw: ReadWrite, write: boolean, sectors: number): boolean {
    const run = this.#run;
    if (!run.continues(write, rw.sector_number, sectors, rw.nr_segments)) this.#finish(slots);
    if (this.#map(rw, write)) return true;
    if (run.requests === 0) return false;
    // A page can be mapped 255 times at once, and a guest may write one and the same page all over its disk.
    this.#finish(slots);
    return this.#map(rw, write);
  }

  /** A flush with segments is a flush and then a write, as in blkback and QEMU; most have none. */
  #flush(slots: BlkSlots, rw: ReadWrite): void {
    const carries = rw.nr_segments !== 0;
    if (carries && this.#judge(rw, true) === 0) {
      this.#answer(slots, blkifOp.flush, blkifRsp.error);
      return;
    }
    this.#finish(slots);
    try {
      this.#disk.flush();
    } catch (error) {
      this.#report('flush', error);
      this.#answer(slots, blkifOp.flush, blkifRsp.error);
      return;
    }
    if (carries) this.#move(slots, rw, blkifOp.flush, true);
    else this.#answer(slots, blkifOp.flush, blkifRsp.okay);
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
    try {
      for (let i = 0; i < segments; i++) {
        const segment = seg.at(i);
        this.#run.map(write, segment.gref, segment.first_sect, segment.last_sect);
      }
      return true;
    } catch (error) {
      this.#run.unmapUnadded();
      if (!(error instanceof XenError)) throw error;
      return false;
    }
  }

  /** Carries the run out and answers its requests. What fails as a whole is tried again request by request. */
  #finish(slots: BlkSlots): void {
    const run = this.#run;
    const { requests } = run;
    if (requests === 0) return;
    let failed: unknown;
    try {
      run.carryOut();
    } catch (error) {
      failed = error;
    }
    if (failed === undefined) {
      run.unmap();
      for (let i = 0; i < requests; i++) this.#answerKept(slots, i, blkifRsp.okay);
    } else this.#finishSingly(slots, failed);
    run.clear();
  }

  #finishSingly(slots: BlkSlots, failed: unknown): void {
    const run = this.#run;
    const { requests } = run;
    const statuses: number[] = [];
    for (let i = 0; i < requests; i++) {
      let error = requests === 1 ? failed : undefined;
      try {
        if (requests > 1) run.carryOutOne(i);
      } catch (again) {
        error = again;
      }
      if (error !== undefined) {
        this.#report(`${run.write ? 'write' : 'read'} of sectors ${run.sector(i)} to ${run.sector(i + 1) - 1}`, error);
      }
      statuses.push(error === undefined ? blkifRsp.okay : blkifRsp.error);
    }
    // The frontend looks at its grants as soon as it has the answer.
    run.unmap();
    for (let i = 0; i < requests; i++) this.#answerKept(slots, i, statuses[i] as number);
  }

  #answerKept(slots: BlkSlots, i: number, status: number): void {
    const rsp = slots.respond(this.#run.ticket(i));
    rsp.operation = this.#operations[i] as number;
    rsp.status = status;
  }

  #answer(slots: BlkSlots, operation: number, status: number): void {
    const rsp = slots.respond();
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
