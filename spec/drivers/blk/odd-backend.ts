import {
  type BackendValues,
  type BackLink,
  backend,
  type GrantRef,
  type OfferValues,
  type Page,
} from '../../../core/index.js';
import type { BlkSlots } from '../../../drivers/blk/block-queue.js';
import { blk } from '../../../drivers/blk/protocol.js';

/** A request as an odd backend saw it. */
export interface Seen {
  readonly ticket: number;
  readonly operation: number;
  readonly handle: number;
  readonly sector: number;
  readonly segments: readonly { readonly gref: GrantRef; readonly first: number; readonly last: number }[];
}

type Said = OfferValues<typeof blk> & BackendValues<typeof blk>;

/** What odd backends say of their disks, and all of them there are. */
export const odd: { says: Said; readonly all: OddBackend[] } = {
  says: {
    'feature-flush-cache': true,
    'feature-persistent': false,
    sectors: 4096 as Said['sectors'],
    'sector-size': 512,
    'physical-sector-size': 512,
    info: 0,
  },
  all: [],
};

/** A backend that a spec plays by hand: it takes requests, and answers them when and how it is told. */
@backend(blk)
export class OddBackend {
  readonly seen: Seen[] = [];
  #link: BackLink<typeof blk> | undefined;
  #slots: BlkSlots | undefined;

  constructor() {
    odd.all.push(this);
  }

  offer(): OfferValues<typeof blk> {
    const { 'feature-flush-cache': flush, 'feature-persistent': persistent } = odd.says;
    return { 'feature-flush-cache': flush, 'feature-persistent': persistent };
  }

  connect(link: BackLink<typeof blk>): void {
    const { 'feature-flush-cache': _flush, 'feature-persistent': _persistent, ...geometry } = odd.says;
    link.publish(geometry);
    this.#link = link;
    this.#slots = link.drain((slots) => {
      for (let req = slots.take(); req !== undefined; req = slots.take()) {
        const { operation, rw } = req;
        const { handle, sector_number: sector, seg } = rw;
        const segments = Array.from({ length: rw.nr_segments }, (_, i) => {
          const { gref, first_sect: first, last_sect: last } = seg.at(i);
          return { gref, first, last };
        });
        this.seen.push({ ticket: slots.keep(), operation, handle, sector, segments });
      }
    });
  }

  get link(): BackLink<typeof blk> {
    if (this.#link === undefined) throw new Error('this odd backend is not connected');
    return this.#link;
  }

  /** The next `count` requests that were seen, all without it. */
  take(count?: number): readonly Seen[] {
    return this.seen.splice(0, count ?? this.seen.length);
  }

  /** Answers requests, as one batch; by another operation than theirs if that is given. */
  answer(which: readonly Seen[], status: number, operation?: number): void {
    for (const seen of which) {
      const rsp = this.#slots?.respond(seen.ticket);
      if (rsp === undefined) throw new Error('this odd backend is not connected');
      rsp.operation = operation ?? seen.operation;
      rsp.status = status;
    }
    this.#slots?.push();
  }

  /** Maps the page of a request's segment. */
  map(seen: Seen | undefined, segment = 0, readonly = true): Page {
    const gref = seen?.segments[segment]?.gref;
    if (gref === undefined) throw new Error(`there is no segment ${segment} to map`);
    return this.link.grants.map(gref, { readonly });
  }
}
