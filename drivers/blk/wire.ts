import { array, grantRef, i16, opaque64, overlay, sector, struct, u8, u16, u64 } from '../../core/index.js';

/** The operations of a request (blkif.h `BLKIF_OP_*`). */
export const blkifOp = {
  read: 0,
  write: 1,
  writeBarrier: 2,
  flush: 3,
  discard: 5,
  indirect: 6,
} as const satisfies Readonly<Record<string, number>>;
/** The statuses of a response (blkif.h `BLKIF_RSP_*`). */
export const blkifRsp = { okay: 0, error: -1, notSupported: -2 } as const satisfies Readonly<Record<string, number>>;

/** Segments of a request without indirect ones (blkif.h). */
export const BLKIF_MAX_SEGMENTS_PER_REQUEST = 11;
/** Pages of indirect segments that a request can name (blkif.h). */
export const BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST = 8;

/** A page's sectors from `first_sect` to `last_sect`, both included, 0 to 7 (blkif.h `blkif_request_segment`). */
export const blkifSegment = struct('blkif_request_segment', { gref: grantRef, first_sect: u8, last_sect: u8 });

/** read, write, write-barrier and flush (blkif.h `blkif_request`). */
const rw = struct('blkif_request', {
  operation: u8,
  nr_segments: u8,
  handle: u16,
  id: opaque64,
  sector_number: sector,
  seg: array(blkifSegment, BLKIF_MAX_SEGMENTS_PER_REQUEST, { count: 'nr_segments' }),
});

/** discard (blkif.h `blkif_request_discard`). */
const discard = struct('blkif_request_discard', {
  operation: u8,
  flag: u8,
  handle: u16,
  id: opaque64,
  sector_number: sector,
  nr_sectors: u64,
});

/** The pages that `nr_segments` descriptors take are named without a count of their own: all eight are copied (blkif.h). */
const indirect = struct('blkif_request_indirect', {
  operation: u8,
  indirect_op: u8,
  nr_segments: u16,
  id: opaque64,
  sector_number: sector,
  handle: u16,
  indirect_grefs: array(grantRef, BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST),
});

/** A request's slot: which of the three it is, its operation tells. */
export const blkifRequest = overlay(
  'blkif_request',
  { rw, discard, indirect },
  {
    shared: ['operation', 'id'],
    choice: { by: 'operation', when: { discard: [blkifOp.discard], indirect: [blkifOp.indirect] }, otherwise: 'rw' },
  },
);

/** blkif.h `blkif_response`. */
export const blkifResponse = struct('blkif_response', { id: opaque64, operation: u8, status: i16 });
