import { protocol, ring } from '../../../core/index.js';
import { blkifRequest, blkifResponse } from '../../../drivers/blk/wire.js';
import type { ClockName } from '../../lib/clocks.js';
import type { Spin } from './spin.js';

/** A disk that answers at once: blkif's ring, without anything to transfer. What is measured with it is the way there and back. */
export const vbench = protocol({
  device: 'vbench',
  ring: ring({ request: blkifRequest, response: blkifResponse, id: 'id' }),
  refuse: (rsp, _errno, req) => {
    rsp.operation = req.operation;
    rsp.status = -1;
  },
});

/** What both domains are started with. */
export type LoadOptions = {
  /** Requests under way at once. */
  readonly depth: number;
  /** Milliseconds that are measured; what comes before them is for the compiler. */
  readonly length: number;
  readonly clock: ClockName;
  /** `steady`: each answer sends the next request. `bursts`: all at once, and again when both ends have come to rest. */
  readonly load: 'steady' | 'bursts';
  /** Whether the events are counted that each end sends; it takes a little time. */
  readonly counting: boolean;
  readonly spin: Spin;
};

/** What the frontend reports at the end of a load. */
export type LoadReport = {
  /** Requests a second. */
  readonly rate: number;
  /** Requests that were measured. */
  readonly requests: number;
  /** Bursts that were measured. */
  readonly bursts: number;
  /** Events that the frontend sent for them; 0 where they were not counted. */
  readonly sends: number;
};

/** What the backend reports now and then, where events are counted: both since its boot. */
export type BackendReport = { readonly served: number; readonly sends: number };
