// The loops that the ring suite times, one per process: JIT feedback of one style must never reach another. Long, since each style
// is written out for each protocol: a piece that they shared would be measured instead of them.
import { BackRing } from '../../core/abi/back-ring.js';
import { FrontRing } from '../../core/abi/front-ring.js';
import { type InPlace, inPlaceClass } from '../../core/abi/in-place.js';
import {
  type Draft,
  draft,
  type GrantRef,
  type Sector,
  type Slot,
  type Struct,
  type View,
  view,
} from '../../core/index.js';
import { Requests } from '../../core/xenbus/requests.js';
import { Responses } from '../../core/xenbus/responses.js';
import { blkifRequest, blkifResponse } from '../../drivers/blk/wire.js';
import { netifTxRequest, netifTxResponse } from '../../drivers/net/wire.js';

/** Runs about `n` requests through a ring, in batches; what keeps the compiler from leaving the work out. */
export type Case = (n: number) => number;

const BATCH = 32;
const blkif = { request: blkifRequest, response: blkifResponse, id: 'id' } as const;
const netif = { request: netifTxRequest, response: netifTxResponse, id: 'id' } as const;
/** The ring's page, in shared memory as every domain's memory is. */
const page = (): Int32Array => new Int32Array(new SharedArrayBuffer(4096));

/** A cursor on messages in shared memory, to be moved from slot to slot. */
const cursor = <S extends Struct>(of: S, words: Int32Array, writes: boolean): InPlace =>
  new (inPlaceClass({ of, abi: 'x86_64-abi', bias: 0, pair: 'id', writes }))(words, 0);

/** The generated cursors alone, on the shared page: packed writes, and reads in place; no checks, no private copies. */
const blkCursor = (segments: number): Case => {
  const m = page();
  const { rw } = blkifRequest.fields;
  const put = cursor(rw, m, true) as InPlace & Slot<typeof rw, 'id'>;
  const got = cursor(rw, m, false) as InPlace & View<typeof rw, 'id'>;
  const answer = cursor(blkifResponse, m, true) as InPlace & Slot<typeof blkifResponse, 'id'>;
  const answered = cursor(blkifResponse, m, false) as InPlace & View<typeof blkifResponse, 'id'>;
  let reqProd = 0;
  let reqCons = 0;
  let rspProd = 0;
  let rspCons = 0;
  const send = (): void => {
    put.$w = 16 + (reqProd & 31) * 28;
    put.$pair = reqProd;
    put.set({
      operation: 0,
      nr_segments: segments,
      handle: 51712,
      sector_number: ((reqProd & 0xffffff) * 8) as Sector,
    });
    const { seg } = put;
    for (let s = 0; s < segments; s++) seg.at(s).set({ gref: (8 + s) as GrantRef, first_sect: 0, last_sect: 7 });
    reqProd = (reqProd + 1) | 0;
  };
  const serve = (prod: number): number => {
    let sum = 0;
    let cons = reqCons;
    let rsp = rspProd;
    while (cons !== prod) {
      const w = 16 + (cons & 31) * 28;
      got.$w = w;
      const { seg } = got;
      let t = 0;
      for (let s = 0, e = seg.length; s < e; s++) {
        const x = seg.at(s);
        t += x.gref + x.last_sect - x.first_sect;
      }
      sum = (sum + got.sector_number + got.handle + t) | 0;
      answer.$w = 16 + (rsp & 31) * 28;
      answer.$pair = m[w + 2] as number;
      answer.set({ operation: got.operation, status: 0 });
      rsp = (rsp + 1) | 0;
      cons = (cons + 1) | 0;
    }
    rspProd = rsp;
    reqCons = cons;
    return sum;
  };
  const take = (prod: number): number => {
    let sum = 0;
    let cons = rspCons;
    while (cons !== prod) {
      const w = 16 + (cons & 31) * 28;
      answered.$w = w;
      sum = (sum + (m[w] as number) + answered.status) | 0;
      cons = (cons + 1) | 0;
    }
    rspCons = cons;
    return sum;
  };
  return (n) => {
    let sum = 0;
    for (let i = 0; i < n; i += BATCH) {
      for (let k = 0; k < BATCH; k++) send();
      Atomics.store(m, 0, reqProd);
      sum = (sum + serve(Atomics.load(m, 0))) | 0;
      Atomics.store(m, 2, rspProd);
      sum = (sum + take(Atomics.load(m, 2))) | 0;
    }
    return sum;
  };
};

const blkSum = (request: View<typeof blkifRequest, 'id'>): number => {
  const { rw } = request;
  const { seg } = rw;
  let t = 0;
  for (let s = 0, e = seg.length; s < e; s++) {
    const x = seg.at(s);
    t += x.gref + x.last_sect - x.first_sect;
  }
  return rw.sector_number + rw.handle + t;
};

/** The two ends of the ring as they are: packed writes, private copies, checked indices, notify predicate. */
const blkRing = (segments: number): Case => {
  const m = page();
  const front = new FrontRing(m, blkif);
  const back = new BackRing(m, blkif);
  const state = { next: 0, sum: 0, notified: 0 };
  const send = (): void => {
    const { next } = state;
    const { rw } = front.slot(next & 31);
    rw.set({ operation: 0, nr_segments: segments, handle: 51712, sector_number: (next * 8) as Sector });
    const { seg } = rw;
    for (let s = 0; s < segments; s++) seg.at(s).set({ gref: (8 + s) as GrantRef, first_sect: 0, last_sect: 7 });
    front.put();
    state.next = (next + 1) & 0xffffff;
  };
  const answer = (request: View<typeof blkifRequest, 'id'>, response: Draft<typeof blkifResponse, 'id'>): void => {
    state.sum = (state.sum + blkSum(request)) | 0;
    response.set({ operation: request.operation, status: 0 });
  };
  const take = (response: View<typeof blkifResponse, 'id'>, slot: number): void => {
    state.sum = (state.sum + slot + response.status) | 0;
  };
  return (n) => {
    for (let i = 0; i < n; i += BATCH) {
      for (let k = 0; k < BATCH; k++) send();
      if (front.push()) state.notified++;
      back.serve(back.unconsumed(), answer);
      if (back.push()) state.notified++;
      front.takeEach(front.unconsumed(), take);
    }
    return state.sum + state.notified;
  };
};

/** Everything: ids, completions, refusals, notification, final checks. */
const blkPumps = (segments: number): Case => {
  const m = page();
  let notified = 0;
  const notify = (): void => {
    notified++;
  };
  const onError = (error: unknown): void => {
    throw error;
  };
  const requests = new Requests(new FrontRing(m, blkif), { notify, onError });
  const responses = new Responses(new BackRing(m, blkif), {
    notify,
    onError,
    refuse: (response, errno) => {
      response.status = -errno;
    },
  });
  const state = { next: 0, sum: 0 };
  const fill = (slot: Slot<typeof blkifRequest, 'id'>): void => {
    const { rw } = slot;
    rw.set({ operation: 0, nr_segments: segments, handle: 51712, sector_number: (state.next * 8) as Sector });
    const { seg } = rw;
    for (let s = 0; s < segments; s++) seg.at(s).set({ gref: (8 + s) as GrantRef, first_sect: 0, last_sect: 7 });
    state.next = (state.next + 1) & 0xffffff;
  };
  const done = (response: View<typeof blkifResponse, 'id'>, id: number): void => {
    state.sum = (state.sum + id + response.status) | 0;
  };
  responses.serve((request, response) => {
    const { rw } = request;
    const n = rw.nr_segments;
    const operation = rw.operation;
    if (operation !== 0 || n < 1 || n > 11) {
      response.set({ operation, status: -1 });
      return;
    }
    state.sum = (state.sum + blkSum(request)) | 0;
    response.set({ operation, status: 0 });
  });
  return (n) => {
    for (let i = 0; i < n; i += BATCH) {
      for (let k = 0; k < BATCH; k++) requests.submit(fill, done);
      requests.push();
      responses.upcall();
      requests.upcall();
    }
    return state.sum + notified;
  };
};

/** The same ring with every message decoded to an object, a batch at a time, as a plain codec hands them to its user. */
const blkObjects = (segments: number): Case => {
  const m = page();
  const bytes = new Uint8Array(m.buffer);
  const halves = new Uint16Array(m.buffer);
  const signed = new Int16Array(m.buffer);
  const words = new Uint32Array(m.buffer);
  interface Segment {
    gref: number;
    first_sect: number;
    last_sect: number;
  }
  interface Request {
    operation: number;
    handle: number;
    id: number;
    sector_number: number;
    seg: Segment[];
  }
  const encode = (slot: number, request: Request): void => {
    const b = 64 + (slot & 31) * 112;
    const w = b >> 2;
    bytes[b] = request.operation;
    bytes[b + 1] = request.seg.length;
    halves[(b >> 1) + 1] = request.handle;
    words[w + 2] = request.id;
    words[w + 3] = request.id / 4294967296;
    words[w + 4] = request.sector_number;
    words[w + 5] = request.sector_number / 4294967296;
    request.seg.forEach(({ gref, first_sect, last_sect }, s) => {
      words[w + 6 + s * 2] = gref;
      bytes[b + 28 + s * 8] = first_sect;
      bytes[b + 29 + s * 8] = last_sect;
    });
  };
  const wide = (w: number): number => (words[w] as number) + (words[w + 1] as number) * 4294967296;
  const decode = (slot: number): Request => {
    const b = 64 + (slot & 31) * 112;
    const w = b >> 2;
    const seg: Segment[] = [];
    for (let s = 0, n = bytes[b + 1] as number; s < n; s++) {
      seg.push({
        gref: words[w + 6 + s * 2] as number,
        first_sect: bytes[b + 28 + s * 8] as number,
        last_sect: bytes[b + 29 + s * 8] as number,
      });
    }
    return {
      operation: bytes[b] as number,
      handle: halves[(b >> 1) + 1] as number,
      id: wide(w + 2),
      sector_number: wide(w + 4),
      seg,
    };
  };
  let reqProd = 0;
  let reqCons = 0;
  let rspProd = 0;
  let rspCons = 0;
  return (n) => {
    let sum = 0;
    for (let i = 0; i < n; i += BATCH) {
      for (let k = 0; k < BATCH; k++) {
        const seg: Segment[] = [];
        for (let s = 0; s < segments; s++) seg.push({ gref: 8 + s, first_sect: 0, last_sect: 7 });
        const id = reqProd & 0xffffff;
        encode(reqProd, { operation: 0, handle: 51712, id, sector_number: id * 8, seg });
        reqProd = (reqProd + 1) | 0;
      }
      Atomics.store(m, 0, reqProd);
      const prod = Atomics.load(m, 0);
      const batch: Request[] = [];
      while (reqCons !== prod) {
        batch.push(decode(reqCons));
        reqCons = (reqCons + 1) | 0;
      }
      for (const request of batch) {
        let t = 0;
        for (const s of request.seg) t += s.gref + s.last_sect - s.first_sect;
        sum = (sum + request.sector_number + request.handle + t) | 0;
        const response = { id: request.id, operation: request.operation, status: 0 };
        const b = 64 + (rspProd & 31) * 112;
        words[b >> 2] = response.id;
        words[(b >> 2) + 1] = response.id / 4294967296;
        bytes[b + 8] = response.operation;
        signed[(b >> 1) + 5] = response.status;
        rspProd = (rspProd + 1) | 0;
      }
      Atomics.store(m, 2, rspProd);
      const answers = Atomics.load(m, 2);
      while (rspCons !== answers) {
        const b = 64 + (rspCons & 31) * 112;
        const response = {
          id: wide(b >> 2),
          operation: bytes[b + 8] as number,
          status: signed[(b >> 1) + 5] as number,
        };
        sum = (sum + response.id + response.status) | 0;
        rspCons = (rspCons + 1) | 0;
      }
    }
    return sum;
  };
};

const netCursor = (): Case => {
  const m = page();
  const put = draft(netifTxRequest, m) as InPlace & Draft<typeof netifTxRequest>;
  const got = view(netifTxRequest, m) as InPlace & View<typeof netifTxRequest>;
  const answer = draft(netifTxResponse, m) as InPlace & Draft<typeof netifTxResponse>;
  const answered = view(netifTxResponse, m) as InPlace & View<typeof netifTxResponse>;
  let reqProd = 0;
  let reqCons = 0;
  let rspProd = 0;
  let rspCons = 0;
  return (n) => {
    let sum = 0;
    for (let i = 0; i < n; i += BATCH) {
      for (let k = 0; k < BATCH; k++) {
        put.$w = 16 + (reqProd & 255) * 3;
        put.set({ gref: (8 + (reqProd & 255)) as GrantRef, offset: 0, flags: 1, id: reqProd, size: 1500 });
        reqProd = (reqProd + 1) | 0;
      }
      Atomics.store(m, 0, reqProd);
      const prod = Atomics.load(m, 0);
      while (reqCons !== prod) {
        got.$w = 16 + (reqCons & 255) * 3;
        sum = (sum + got.gref + got.offset + got.flags + got.size) | 0;
        const { id } = got;
        answer.$w = 16 + (rspProd & 255) * 3;
        answer.set({ id, status: 0 });
        reqCons = (reqCons + 1) | 0;
        rspProd = (rspProd + 1) | 0;
      }
      Atomics.store(m, 2, rspProd);
      const answers = Atomics.load(m, 2);
      while (rspCons !== answers) {
        answered.$w = 16 + (rspCons & 255) * 3;
        sum = (sum + answered.id + answered.status) | 0;
        rspCons = (rspCons + 1) | 0;
      }
    }
    return sum;
  };
};

const netRing = (): Case => {
  const m = page();
  const front = new FrontRing(m, netif);
  const back = new BackRing(m, netif);
  const state = { next: 0, sum: 0, notified: 0 };
  const send = (): void => {
    const next = state.next & 255;
    front.slot(next).set({ gref: (8 + next) as GrantRef, offset: 0, flags: 1, size: 1500 });
    front.put();
    state.next = next + 1;
  };
  const answer = (request: View<typeof netifTxRequest, 'id'>, response: Draft<typeof netifTxResponse, 'id'>): void => {
    state.sum = (state.sum + request.gref + request.offset + request.flags + request.size) | 0;
    response.set({ status: 0 });
  };
  const take = (response: View<typeof netifTxResponse, 'id'>, slot: number): void => {
    state.sum = (state.sum + slot + response.status) | 0;
  };
  return (n) => {
    for (let i = 0; i < n; i += BATCH) {
      for (let k = 0; k < BATCH; k++) send();
      if (front.push()) state.notified++;
      back.serve(back.unconsumed(), answer);
      if (back.push()) state.notified++;
      front.takeEach(front.unconsumed(), take);
    }
    return state.sum + state.notified;
  };
};

const netPumps = (): Case => {
  const m = page();
  let notified = 0;
  const notify = (): void => {
    notified++;
  };
  const onError = (error: unknown): void => {
    throw error;
  };
  const requests = new Requests(new FrontRing(m, netif), { notify, onError });
  const responses = new Responses(new BackRing(m, netif), {
    notify,
    onError,
    refuse: (response) => {
      response.status = -1;
    },
  });
  const state = { sum: 0 };
  const fill = (slot: Slot<typeof netifTxRequest, 'id'>, id: number): void => {
    slot.set({ gref: (8 + id) as GrantRef, offset: 0, flags: 1, size: 1500 });
  };
  const done = (response: View<typeof netifTxResponse, 'id'>, id: number): void => {
    state.sum = (state.sum + id + response.status) | 0;
  };
  responses.serve((request, response) => {
    state.sum = (state.sum + request.gref + request.offset + request.flags + request.size) | 0;
    response.set({ status: 0 });
  });
  return (n) => {
    for (let i = 0; i < n; i += BATCH) {
      for (let k = 0; k < BATCH; k++) requests.submit(fill, done);
      requests.push();
      responses.upcall();
      requests.upcall();
    }
    return state.sum + notified;
  };
};

/** The cases of the suite by name. */
export const cases: Readonly<Record<string, () => Case>> = {
  'blk-cursor-1': () => blkCursor(1),
  'blk-cursor-11': () => blkCursor(11),
  'blk-ring-1': () => blkRing(1),
  'blk-ring-11': () => blkRing(11),
  'blk-pumps-1': () => blkPumps(1),
  'blk-pumps-11': () => blkPumps(11),
  'blk-objects-1': () => blkObjects(1),
  'blk-objects-11': () => blkObjects(11),
  'net-cursor': netCursor,
  'net-ring': netRing,
  'net-pumps': netPumps,
};
