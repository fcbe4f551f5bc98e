// What an end of a ring does not let be written or read (core/abi/struct.ts).
import type { BackRing } from '../../core/abi/back-ring.js';
import type { FrontRing } from '../../core/abi/front-ring.js';
import { asGrantRef, asPort, asSector } from '../../core/abi/units.js';
import type { blkifRequest, blkifResponse } from '../../drivers/blk/wire.js';

declare const front: FrontRing<typeof blkifRequest, typeof blkifResponse, 'id'>;
declare const back: BackRing<typeof blkifRequest, typeof blkifResponse, 'id'>;

const { rw } = front.slot(0);
rw.set({ operation: 0, nr_segments: 1, handle: 0, sector_number: asSector(0) });
rw.seg.at(0).set({ gref: asGrantRef(1), first_sect: 0, last_sect: 7 });
// @ts-expect-error a slot lies in shared memory: writing one member would read the others back
rw.sector_number = asSector(1);
// @ts-expect-error nor is anything of a slot read
const handle: number = rw.handle;
// @ts-expect-error an element of a slot is written whole too
rw.seg.at(0).last_sect = 7;
// @ts-expect-error a whole element has all its members
rw.seg.at(0).set({ gref: asGrantRef(1), first_sect: 0 });
// @ts-expect-error the id is the ring's
rw.set({ operation: 0, nr_segments: 0, handle: 0, sector_number: asSector(0), id: { lo: 0, hi: 0 } });
// @ts-expect-error a sector is no plain number
rw.set({ operation: 0, nr_segments: 0, handle: 0, sector_number: 0 });

front.draft(0).rw.sector_number = asSector(1);
front.draft(0).rw.seg.at(0).gref = asGrantRef(1);
// @ts-expect-error a port is no grant reference, in a draft either
front.draft(0).rw.seg.at(0).gref = asPort(1);

const { request, response } = back.take();
response.status = -1;
// @ts-expect-error what a peer wrote is read, never written
request.rw.handle = 1;
// @ts-expect-error nor are its arrays
request.indirect.indirect_grefs.set(0, asGrantRef(1));
// @ts-expect-error the id goes back by itself
response.id.set({ lo: 0, hi: 0 });
// @ts-expect-error an overlay is written by its variants, and is no variant itself
request.sector_number;
