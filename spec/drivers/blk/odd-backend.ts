// A backend that a spec plays, in whichever thread the backend's domain runs.
import { inject } from 'inversify';
import {
  type BackendValues,
  type BackLink,
  backend,
  CommandLine,
  Domain,
  type GrantRef,
  type OfferValues,
  type Page,
  Reporter,
} from '../../../core/index.js';
import type { BlkSlots } from '../../../drivers/blk/block-queue.js';
import { blk } from '../../../drivers/blk/protocol.js';
import { obey } from '../../support/orders.js';

/** A request as an odd backend saw it. */
export type Seen = {
  readonly ticket: number;
  readonly operation: number;
  readonly handle: number;
  readonly sector: number;
  readonly segments: readonly { readonly gref: GrantRef; readonly first: number; readonly last: number }[];
};

/** What an odd backend says of its disk. */
export type Said = OfferValues<typeof blk> & BackendValues<typeof blk>;

/** What an odd backend answers: which request, and how. */
export type Answered = Pick<Seen, 'ticket' | 'operation'> & { readonly status: number };

const says: Said = {
  'feature-flush-cache': true,
  'feature-persistent': false,
  sectors: 4096 as Said['sectors'],
  'sector-size': 512,
  'physical-sector-size': 512,
  info: 0,
};

/** Reports the requests that it takes, and does what it is told by the names of its methods; its command line is what it says. */
@backend(blk)
export class OddBackend {
  readonly #says: Said;
  readonly #reporter: Reporter;
  readonly #pages = new Map<number, Page>();
  #mapped = 0;
  #link: BackLink<typeof blk> | undefined;
  #slots: BlkSlots | undefined;

  constructor(
    @inject(Domain) domain: Domain,
    @inject(CommandLine) { value }: CommandLine,
    @inject(Reporter) reporter: Reporter,
  ) {
    this.#says = { ...says, ...(value as Partial<Said> | undefined) };
    this.#reporter = reporter;
    obey(domain, {
      answer: (answers: readonly Answered[]) => this.#answer(answers),
      publish: (values: Partial<Said>) => this.#connected.publish(values),
      map: (gref: GrantRef, readonly: boolean) => this.#map(gref, readonly),
      bytes: (page: number) => this.#page(page).bytes.slice(),
      place: (page: number) => this.#page(page).bytes.byteOffset,
      fill: (page: number, value: number) => void this.#page(page).bytes.fill(value),
      unmap: (page: number) => this.#page(page)[Symbol.dispose](),
    });
  }

  offer(): OfferValues<typeof blk> {
    const { 'feature-flush-cache': flush, 'feature-persistent': persistent } = this.#says;
    return { 'feature-flush-cache': flush, 'feature-persistent': persistent };
  }

  connect(link: BackLink<typeof blk>): void {
    const { 'feature-flush-cache': _flush, 'feature-persistent': _persistent, ...geometry } = this.#says;
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
        const seen: Seen = { ticket: slots.keep(), operation, handle, sector, segments };
        this.#reporter.report(seen);
      }
    });
  }

  get #connected(): BackLink<typeof blk> {
    if (this.#link === undefined) throw new Error('this odd backend is not connected');
    return this.#link;
  }

  #answer(answers: readonly Answered[]): void {
    for (const { ticket, operation, status } of answers) {
      const rsp = this.#slots?.respond(ticket);
      if (rsp === undefined) throw new Error('this odd backend is not connected');
      rsp.operation = operation;
      rsp.status = status;
    }
    this.#slots?.push();
  }

  #map(gref: GrantRef, readonly: boolean): number {
    const page = this.#connected.grants.map(gref, { readonly });
    this.#pages.set(++this.#mapped, page);
    return this.#mapped;
  }

  #page(number: number): Page {
    const page = this.#pages.get(number);
    if (page === undefined) throw new Error(`this odd backend has mapped no page ${number}`);
    return page;
  }
}
