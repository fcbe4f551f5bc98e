import { type BackGrants, type BackLink, type Log, XenError } from '../../core/index.js';
import { Batch, segmentSectors, stepKind } from './batch.js';
import type { Disk, DiskResult } from './disk.js';
import { MappedGrants, type MappedGrantsOptions } from './mapped-grants.js';
import type { blk } from './protocol.js';
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

/**
 * One link's data path: takes whole batches of requests, judges each by its private copy before anything is touched, and carries
 * out runs of adjacent sectors by one call on the disk. Requests that touch the same sectors take effect in the order of the ring, and a
 * flush waits for all before it and holds up all after it; a disk that answers later is at all others at the same time.
 */
export class BlockQueue {
  declare private readonly disk: Disk;
  declare private readonly grants: MappedGrants;
  declare private readonly log: Log;
  declare private readonly source: string;
  /** Low bits that sector numbers and lengths must not have. */
  declare private readonly misaligned: number;
  /** The batch that is being put together, those whose steps were not all done, in their order, and those that can be used again. */
  declare private batch: Batch;
  readonly #waiting: Batch[] = [];
  readonly #spare: Batch[] = [];
  /** Steps that the disk is at. */
  readonly #underWay: { readonly batch: Batch; readonly step: number }[] = [];
  #publishing = false;
  #reports = 0;
  /** What remains to be done when the disk is at nothing any more; undefined as long as the link stands. */
  #ended: (() => void) | undefined;

  constructor({ disk, grants, log, source, ...mapping }: BlockQueueOptions) {
    this.disk = disk;
    this.grants = new MappedGrants(grants, mapping);
    this.batch = new Batch(disk, this.grants);
    this.log = log;
    this.source = source;
    this.misaligned = disk.sectorSize / 512 - 1;
  }

  /** Takes all requests there are and answers each, now or when the disk is done with it. */
  drain(slots: BlkSlots): void {
    for (let req = slots.take(); req !== undefined; req = slots.take()) {
      const { operation } = req;
      if (operation === blkifOp.read) this.#move(slots, req.rw, operation, false);
      else if (operation === blkifOp.write) this.#move(slots, req.rw, operation, true);
      else if (operation === blkifOp.flush) this.#flush(slots, req.rw);
      else answer(slots, undefined, operation, blkifRsp.notSupported);
    }
    this.#carryOut(slots);
  }

  /**
   * The link ends: nothing more is answered, and pages that the disk is still at stay mapped until it is done with them.
   * @param idle called when it is at none
   */
  end(idle: () => void): void {
    this.#ended = idle;
    for (const batch of this.#waiting.splice(0)) batch.abandon();
    this.grants[Symbol.dispose]();
    this.#tellIdle();
  }

  /** Adds a request to the batch. */
  #move(slots: BlkSlots, rw: ReadWrite, operation: number, write: boolean): void {
    const sectors = this.#judge(rw, write);
    if (sectors === 0 || !this.#join(slots, rw, write)) answer(slots, undefined, operation, blkifRsp.error);
    else this.batch.add(slots.keep(), operation, write, rw.sector_number, sectors);
  }

  /** Maps a request's pages beside those of the batch, which is carried out before if they cannot be mapped with them. */
  #join(slots: BlkSlots, rw: ReadWrite, write: boolean): boolean {
    if (this.#map(rw, write)) return true;
    if (this.batch.requests === 0) return false;
    // A page can be mapped 255 times at once, and a guest may write one and the same page all over its disk.
    this.#carryOut(slots);
    return this.#map(rw, write);
  }

  /** A flush with segments is a flush and then a write, as in blkback and QEMU; most have none. */
  #flush(slots: BlkSlots, rw: ReadWrite): void {
    const { flush } = blkifOp;
    if (rw.nr_segments === 0) {
      this.batch.addFlush(slots.keep(), flush);
      return;
    }
    const sectors = this.#judge(rw, true);
    if (sectors === 0 || !this.#join(slots, rw, true)) {
      answer(slots, undefined, flush, blkifRsp.error);
      return;
    }
    this.batch.addCarrying(slots.keep(), flush, rw.sector_number, sectors);
  }

  /** How many sectors a request moves; 0 when it must not (blkback.c `dispatch_rw_block_io`, `xen_vbd_translate`). */
  #judge(rw: ReadWrite, write: boolean): number {
    const segments = rw.nr_segments;
    if (segments > BLKIF_MAX_SEGMENTS_PER_REQUEST || (write && this.disk.readOnly)) return 0;
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
    if ((bits & this.misaligned) !== 0) return 0;
    return sector + sectors <= this.disk.sectors ? sectors : 0;
  }

  /** Maps the segments of a request, all or none (XSA-365). */
  #map(rw: ReadWrite, write: boolean): boolean {
    const { seg, nr_segments: segments } = rw;
    const batch = this.batch;
    try {
      for (let i = 0; i < segments; i++) {
        const segment = seg.at(i);
        batch.map(write, segment.gref, segment.first_sect, segment.last_sect);
      }
      return true;
    } catch (error) {
      batch.unmapUnadded();
      if (!(error instanceof XenError)) throw error;
      return false;
    }
  }

  /** Carries the batch out, as far as nothing of what the disk is at holds it up. */
  #carryOut(slots: BlkSlots): void {
    const batch = this.batch;
    if (batch.steps === 0) return;
    const before = this.#waiting[this.#waiting.length - 1];
    if (before === undefined || before.begun === before.steps) this.#advance(slots, batch);
    if (batch.done === batch.steps) {
      batch.clear();
      return;
    }
    this.#waiting.push(batch);
    this.batch = this.#spare.pop() ?? new Batch(this.disk, this.grants);
  }

  /** Begins the steps of a batch, up to one that has to wait; those that are done at once are answered together. */
  #advance(slots: BlkSlots, batch: Batch): void {
    let from = batch.begun;
    while (batch.begun < batch.steps && (this.#underWay.length === 0 || !this.#mustWait(batch, batch.begun))) {
      const step = batch.begun++;
      if (this.#begin(slots, batch, step)) continue;
      this.#land(slots, batch, from, step);
      from = step + 1;
    }
    this.#land(slots, batch, from, batch.begun);
  }

  /** Whether what the disk is at holds up a step. */
  #mustWait(batch: Batch, step: number): boolean {
    const isFlush = batch.kind(step) === stepKind.flush;
    return this.#underWay.some(
      (other) =>
        isFlush || other.batch.kind(other.step) === stepKind.flush || batch.excludes(step, other.batch, other.step),
    );
  }

  /** Has the disk do a step; whether that is done. */
  #begin(slots: BlkSlots, batch: Batch, step: number): boolean {
    // A write whose flush has failed.
    if (batch.status(batch.start(step)) !== blkifRsp.okay) return true;
    let later: DiskResult;
    try {
      later = batch.carryOut(step);
    } catch (error) {
      const done = this.#singly(slots, batch, step, error);
      if (!done) this.#underWay.push({ batch, step });
      return done;
    }
    if (later === undefined) return true;
    this.#underWay.push({ batch, step });
    later.then(
      () => this.#landed(slots, batch, step),
      (error: unknown) => {
        if (this.#singly(slots, batch, step, error)) this.#landed(slots, batch, step);
      },
    );
    return false;
  }

  /** What failed as a whole is tried again request by request; whether that is done. */
  #singly(slots: BlkSlots, batch: Batch, step: number, error: unknown): boolean {
    const first = batch.start(step);
    if (batch.start(step + 1) - first > 1) return this.#singlyFrom(slots, batch, step, first);
    this.#failed(batch, step, first, error);
    return true;
  }

  #singlyFrom(slots: BlkSlots, batch: Batch, step: number, from: number): boolean {
    const end = batch.start(step + 1);
    for (let i = from; i < end && this.#ended === undefined; i++) {
      let later: DiskResult;
      try {
        later = batch.carryOutOne(step, i);
      } catch (error) {
        this.#failed(batch, step, i, error);
        continue;
      }
      if (later === undefined) continue;
      const goOn = (): void => {
        if (this.#singlyFrom(slots, batch, step, i + 1)) this.#landed(slots, batch, step);
      };
      later.then(goOn, (error: unknown) => {
        this.#failed(batch, step, i, error);
        goOn();
      });
      return false;
    }
    return true;
  }

  #failed(batch: Batch, step: number, request: number, error: unknown): void {
    batch.fail(request);
    this.#report(batch.describe(step, request), error);
  }

  /** The disk is done with a step that it did not do at once: what had to wait for it goes on. */
  #landed(slots: BlkSlots, batch: Batch, step: number): void {
    const index = this.#underWay.findIndex((other) => other.batch === batch && other.step === step);
    this.#underWay.splice(index, 1);
    if (this.#ended !== undefined) {
      batch.unmap(step, step + 1);
      this.#tellIdle();
      return;
    }
    this.#land(slots, batch, step, step + 1);
    for (let i = 0; i < this.#waiting.length; ) {
      const next = this.#waiting[i] as Batch;
      if (next.begun < next.steps) this.#advance(slots, next);
      if (next.begun < next.steps) break;
      if (next.done === next.steps) this.#retire(i);
      else i++;
    }
    this.#publish(slots);
  }

  /** Publishes, all together, the answers that come at the same time. */
  #publish(slots: BlkSlots): void {
    if (this.#publishing) return;
    this.#publishing = true;
    queueMicrotask(() => {
      this.#publishing = false;
      if (this.#ended === undefined) slots.push();
    });
  }

  #retire(index: number): void {
    for (const batch of this.#waiting.splice(index, 1)) {
      batch.clear();
      this.#spare.push(batch);
    }
  }

  /** Steps are done: lets go of their pages first, since the frontend looks at its grants as soon as it has the answers. */
  #land(slots: BlkSlots, batch: Batch, from: number, to: number): void {
    if (from === to) return;
    batch.unmap(from, to);
    const end = batch.start(to);
    for (let i = batch.start(from); i < end; i++) answer(slots, batch.ticket(i), batch.operation(i), batch.status(i));
    batch.done += to - from;
  }

  #tellIdle(): void {
    if (this.#underWay.length === 0) this.#ended?.();
  }

  #report(what: string, error: unknown): void {
    if (this.#reports >= MAX_REPORTS) return;
    this.#reports++;
    const why = error instanceof Error ? error.message : String(error);
    const more = this.#reports === MAX_REPORTS ? '; further failures are not reported' : '';
    this.log.write({ level: 'error', source: this.source, text: `${what} failed: ${why}${more}` });
  }
}

const answer = (slots: BlkSlots, ticket: number | undefined, operation: number, status: number): void => {
  const rsp = slots.respond(ticket);
  rsp.operation = operation;
  rsp.status = status;
};
