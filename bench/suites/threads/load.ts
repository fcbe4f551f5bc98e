import { concat, ignoreElements, type Observable, repeat, take, tap } from 'rxjs';
import type { Clock, Done, Fill, GrantRef, RequestRing, Sector } from '../../../core/index.js';
import type { blkifRequest, blkifResponse } from '../../../drivers/blk/wire.js';
import { Meter } from '../../lib/meter.js';
import type { LoadOptions, LoadReport } from './protocol.js';

type Ring = RequestRing<typeof blkifRequest, typeof blkifResponse, 'id'>;

/** Milliseconds in which both ends of an idle ring come to rest, and how many bursts are measured. */
const REST = 2;
const BURSTS = 300;

const fill: Fill<typeof blkifRequest, 'id'> = (slot, id) => {
  const { rw } = slot;
  rw.set({ operation: 0, nr_segments: 1, handle: 51712, sector_number: (id * 8) as Sector });
  rw.seg.at(0).set({ gref: 8 as GrantRef, first_sect: 0, last_sect: 7 });
};

/** So many requests under way, always: each answer sends the next one. */
export class SteadyLoad {
  readonly #ring: Ring;
  readonly #depth: number;
  readonly #meter: Meter;
  readonly #sends: () => number;
  readonly #report: (report: LoadReport) => void;
  #stopped = false;
  #sentBefore = 0;
  /** What the answers said: 0 as long as all went well. */
  #statuses = 0;

  constructor(
    ring: Ring,
    { depth, length, clock }: LoadOptions,
    sends: () => number,
    report: (report: LoadReport) => void,
  ) {
    this.#ring = ring;
    this.#depth = depth;
    this.#meter = new Meter(clock, length);
    this.#meter.onWarm = () => {
      this.#sentBefore = sends();
    };
    this.#sends = sends;
    this.#report = report;
  }

  start(): void {
    for (let i = 0; i < this.#depth; i++) this.#ring.submit(fill, this.#done);
    this.#ring.push();
  }

  readonly #done: Done<typeof blkifResponse, 'id'> = (response) => {
    this.#statuses |= response.status;
    if (this.#meter.done()) this.#stop();
    if (!this.#stopped) this.#ring.submit(fill, this.#done);
  };

  #stop(): void {
    this.#stopped = true;
    const { rate, count } = this.#meter;
    this.#report({
      rate: this.#statuses === 0 ? rate : Number.NaN,
      requests: count,
      bursts: 0,
      sends: this.#sends() - this.#sentBefore,
    });
  }
}

/** All requests at once, published together, and again when both ends have come to rest. */
export class Bursts {
  readonly #ring: Ring;
  readonly #depth: number;
  readonly #sends: () => number;
  readonly #report: (report: LoadReport) => void;

  constructor(ring: Ring, { depth }: LoadOptions, sends: () => number, report: (report: LoadReport) => void) {
    this.#ring = ring;
    this.#depth = depth;
    this.#sends = sends;
    this.#report = report;
  }

  /** Puts the bursts on the ring while it is subscribed to, then reports. */
  run$(clock: Clock): Observable<void> {
    // What the handshake sent is not counted: the first burst comes when that has come to rest.
    let before = 0;
    let bursts = 0;
    let requests = 0;
    const burst = (): void => {
      if (this.#ring.outstanding > 0) return;
      if (bursts === 0) before = this.#sends();
      for (let i = 0; i < this.#depth; i++) this.#ring.submit(fill, () => requests++);
      this.#ring.push();
      bursts++;
    };
    const report = (): void => this.#report({ rate: 0, requests, bursts, sends: this.#sends() - before });
    const rest$ = clock.timer$(REST);
    return concat(rest$.pipe(repeat(), take(BURSTS), tap(burst), ignoreElements()), rest$.pipe(tap(report)));
  }
}
