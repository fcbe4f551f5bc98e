import { expect } from 'chai';
import fc from 'fast-check';
import {
  BackRing,
  draft,
  FrontRing,
  type GrantRef,
  PeerFault,
  ringEntries,
  type Sector,
  struct,
  u8,
  u16,
  u32,
} from '../../../core/index.js';
import { blkifRequest, blkifResponse } from '../../../drivers/blk/wire.js';
import { netifTxRequest, netifTxResponse } from '../../../drivers/net/wire.js';
import { ends, send, tiny, tinyPage, word } from './tiny-ring.js';

const blkif = { request: blkifRequest, response: blkifResponse, id: 'id' } as const;
const page = (pages = 1): Int32Array => new Int32Array(new SharedArrayBuffer(4096 * pages));
const answerAll = (back: BackRing<typeof tiny.request, typeof tiny.response, 'id'>): number => {
  const count = back.unconsumed();
  for (let i = 0; i < count; i++) {
    const exchange = back.take();
    exchange.response.value = exchange.request.value + 1;
    back.put(exchange);
  }
  return count;
};

describe('ringEntries', () => {
  it('is the largest power of two that fits after the 64-byte header (ring.h __RING_SIZE)', () => {
    expect([4096, 8192, 16384, 32768, 65536].map((bytes) => ringEntries(bytes, 112))).to.deep.equal([
      32, 64, 128, 256, 512,
    ]);
    expect([4096, 8192, 16384, 32768, 65536].map((bytes) => ringEntries(bytes, 108))).to.deep.equal([
      32, 64, 128, 256, 512,
    ]);
    expect([12, 8, 16, 252, 64].map((slot) => ringEntries(4096, slot))).to.deep.equal([256, 256, 128, 16, 32]);
    expect(() => ringEntries(4096, 5000)).to.throw(RangeError);
  });
});

describe('FrontRing', () => {
  it('initialises the whole page: all zero but the two events, which are 1 (SHARED_RING_INIT, XSA-403)', () => {
    const words = page(2).fill(-1);
    new FrontRing(words, blkif);
    expect([...words.subarray(0, 4)]).to.deep.equal([0, 1, 0, 1]);
    expect(words.subarray(4).every((value) => value === 0)).to.equal(true);
  });

  it('has as many slots as the pages hold, in both ABIs', () => {
    for (const [pages, entries] of [
      [1, 32],
      [2, 64],
      [16, 512],
    ] as const) {
      expect(new FrontRing(page(pages), blkif).entries).to.equal(entries);
      expect(new FrontRing(page(pages), blkif, { abi: 'x86_32-abi' }).entries).to.equal(entries);
    }
    expect(new FrontRing(page(), { request: netifTxRequest, response: netifTxResponse }).entries).to.equal(256);
  });

  it('is full after as many requests as it has slots, and one response taken frees one slot', () => {
    const { front, back } = ends(0xfffffffe);
    for (let id = 0; id < 4; id++) {
      expect(front.full).to.equal(false);
      send(front, id);
    }
    expect([front.full, front.free]).to.deep.equal([true, 0]);
    front.push();
    expect(front.full, 'the backend took nothing').to.equal(true);
    const count = back.unconsumed();
    const first = back.take();
    for (let i = 1; i < count; i++) back.take();
    expect(front.full, 'requests taken are not slots freed').to.equal(true);
    back.put(first);
    back.push();
    expect(front.full, 'a response that was not taken frees nothing').to.equal(true);
    expect(front.unconsumed()).to.equal(1);
    front.take();
    expect([front.full, front.free]).to.deep.equal([false, 1]);
  });

  it('writes a request into its slot by set, with its id, and each hole zero', () => {
    const words = page();
    const front = new FrontRing(words, blkif);
    words.fill(0xa5a5a5a5 | 0, 16);
    const { rw } = front.slot(7);
    rw.set({ operation: 1, nr_segments: 1, handle: 51712, sector_number: 8 as Sector });
    rw.seg.at(0).set({ gref: 9 as GrantRef, first_sect: 1, last_sect: 2 });
    expect([...words.subarray(16, 24)]).to.deep.equal([(51712 << 16) | 0x101, 0, 7, 0, 8, 0, 9, 0x201]);
    expect(words[24]).to.equal(0xa5a5a5a5 | 0);
  });

  it('drafts what cannot be written word by word privately', () => {
    const request = struct('request', { id: u16, a: u8, b: u8, name: netifTxRequest });
    const bytes = { request: struct('narrow', { id: u32, a: u8, b: u8 }), response: tiny.response, id: 'id' } as const;
    const front = new FrontRing(page(), { ...bytes, request });
    front.slot(3).set({ a: 1, b: 2, name: { gref: 4 as GrantRef, offset: 5, flags: 6, id: 7, size: 8 } });
    front.put();
    front.push();
    const words = tinyPage();
    const narrow = new FrontRing(words, bytes);
    narrow.slot(3).set({ a: 1, b: 2 });
    narrow.put();
    expect([...words.subarray(16, 18)]).to.deep.equal([3, 0x201]);
  });

  it('publishes nothing before push, and pushes nothing twice', () => {
    const { words, front, back } = ends();
    send(front, 0);
    expect(words[word.reqProd]).to.equal(0);
    expect(back.unconsumed()).to.equal(0);
    expect(front.push()).to.equal(true);
    expect(back.unconsumed()).to.equal(1);
    expect(front.push(), 'there is nothing new').to.equal(false);
  });

  it('takes responses as private copies (XSA-155)', () => {
    const { words, front, back } = ends();
    send(front, 2, 40);
    front.push();
    answerAll(back);
    back.push();
    expect(front.unconsumed()).to.equal(1);
    const response = front.take();
    words.fill(-1);
    expect([response.value, response.$lo]).to.deep.equal([41, 2]);
  });
});

describe('the notify predicate (ring.h RING_PUSH_*_AND_CHECK_NOTIFY)', () => {
  /** Whether the event mark is one of the indices that were just published. */
  const asked = (old: number, now: number, event: number): boolean => {
    for (let index = old; index !== now; ) {
      index = (index + 1) >>> 0;
      if (index === event >>> 0) return true;
    }
    return false;
  };

  it('notifies at the first push ever', () => {
    const { front, back } = ends();
    send(front, 0);
    expect(front.push()).to.equal(true);
    answerAll(back);
    expect(back.push()).to.equal(true);
  });

  it('notifies when the event mark is among the published indices, and only then, across the wrap too (property)', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0, 5, 0xfffffff0, 0xfffffffd, 0xffffffff),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: -6, max: 6 }),
        (first, count, mark) => {
          const { words, front, back } = ends(first);
          const event = (first + mark) | 0;
          for (let id = 0; id < count; id++) send(front, id);
          Atomics.store(words, word.reqEvent, event);
          expect(front.push(), 'requests').to.equal(asked(first >>> 0, (first + count) >>> 0, event));
          answerAll(back);
          Atomics.store(words, word.rspEvent, event);
          expect(back.push(), 'responses').to.equal(asked(first >>> 0, (first + count) >>> 0, event));
        },
      ),
    );
  });

  it('holds at old = 0xFFFFFFFF, new = 1, event = 0', () => {
    const { words, front } = ends(0xffffffff);
    send(front, 0);
    send(front, 1);
    Atomics.store(words, word.reqEvent, 0);
    expect(front.push()).to.equal(true);
  });
});

describe('the final check (ring.h RING_FINAL_CHECK_FOR_*)', () => {
  it('asks for the next message, and finds one that came before the question', () => {
    const { words, front, back } = ends(0xfffffffe);
    expect(back.finalCheck()).to.equal(false);
    expect(words[word.reqEvent]).to.equal(0xffffffff | 0);
    send(front, 0);
    front.push();
    expect(back.finalCheck()).to.equal(true);
    answerAll(back);
    back.push();
    expect(front.finalCheck()).to.equal(true);
    front.take();
    expect(front.finalCheck()).to.equal(false);
    expect(words[word.rspEvent]).to.equal(0);
  });

  it('of the backend leaves aside what its handler left', () => {
    const { words, front, back } = ends();
    for (const id of [0, 1, 2]) send(front, id);
    front.push();
    back.unconsumed();
    back.take();
    expect(back.finalCheck(2)).to.equal(false);
    expect(words[word.reqEvent]).to.equal(4);
    send(front, 3);
    expect(front.push()).to.equal(true);
    expect(back.finalCheck(2)).to.equal(true);
  });

  it('holds notifications off by as many messages as was asked, for a frontend by no more than are to come', () => {
    const { words, front, back } = ends(0, { holdOff: 3 });
    back.finalCheck();
    expect(words[word.reqEvent]).to.equal(3);
    send(front, 0);
    expect(front.push()).to.equal(false);
    send(front, 1);
    expect(front.push()).to.equal(false);
    expect(front.finalCheck()).to.equal(false);
    expect(words[word.rspEvent], 'two are outstanding').to.equal(2);
    send(front, 2);
    expect(front.push()).to.equal(true);
    send(front, 3);
    front.push();
    front.finalCheck();
    expect(words[word.rspEvent]).to.equal(3);
    expect(() => ends(0, { holdOff: 0 })).to.throw(RangeError);
  });

  it('of a frontend with nothing outstanding asks for the next response whatever the hold-off', () => {
    const { words, front } = ends(0, { holdOff: 3 });
    front.finalCheck();
    expect(words[word.rspEvent]).to.equal(1);
  });
});

describe('BackRing', () => {
  it('begins where the responses on the page end, and finds the requests after that (BACK_RING_ATTACH)', () => {
    const { words, front, back } = ends(0xfffffff0);
    for (const id of [0, 1, 2]) send(front, id);
    front.push();
    back.unconsumed();
    back.put(back.take());
    back.push();
    const again = new BackRing(words, tiny);
    expect(again.unconsumed()).to.equal(2);
    expect(again.take().request.value).to.equal(1);
  });

  it('never reads its own index from the page again', () => {
    const { words, front, back } = ends();
    send(front, 0);
    front.push();
    Atomics.store(words, word.rspProd, 77);
    answerAll(back);
    back.push();
    expect(words[word.rspProd]).to.equal(1);
  });

  it('refuses a page with more requests than the ring holds', () => {
    const words = tinyPage();
    new FrontRing(words, tiny);
    Atomics.store(words, word.reqProd, 5);
    expect(() => new BackRing(words, tiny)).to.throw(
      PeerFault,
      'req_prod, with at most 4 to come after 0, cannot be 5',
    );
  });

  it('takes requests as private copies that stay while they are kept, whatever is answered meanwhile (XSA-155)', () => {
    const { words, front, back } = ends();
    for (const id of [0, 1, 2, 3]) send(front, id, id + 100);
    front.push();
    back.unconsumed();
    const kept = [0, 1, 2, 3].map(() => {
      const exchange = back.take();
      back.keep();
      return exchange;
    });
    words.fill(-1, 16);
    expect(kept.map(({ request }) => request.value)).to.deep.equal([100, 101, 102, 103]);
    expect(back.kept).to.equal(4);
    for (const i of [2, 0]) {
      const exchange = kept[i];
      if (exchange !== undefined) back.put(exchange);
    }
    back.push();
    expect(back.kept).to.equal(2);
    expect(kept[1]?.request.value, 'of the slot that an answer took').to.equal(101);
    expect([front.unconsumed(), front.take().$lo, front.take().$lo]).to.deep.equal([2, 2, 0]);
  });

  it('uses no more records than were ever kept at once', () => {
    const { front, back } = ends();
    const tickets = new Set<number>();
    for (let round = 0; round < 10; round++) {
      send(front, 0);
      front.push();
      back.unconsumed();
      const exchange = back.take();
      tickets.add(exchange.ticket);
      back.keep();
      back.put(exchange);
      back.push();
      front.unconsumed();
      front.take();
    }
    expect(tickets.size).to.be.at.most(2);
    expect(() => back.exchange(77)).to.throw(RangeError);
  });

  it('copies a response out whole: nothing of the request it overwrites remains, in either ABI (XSA-216)', () => {
    for (const abi of ['x86_64-abi', 'x86_32-abi'] as const) {
      const words = page();
      const front = new FrontRing(words, blkif, { abi });
      const back = new BackRing(words, blkif, { abi });
      const slot = abi === 'x86_64-abi' ? 28 : 27;
      const size = abi === 'x86_64-abi' ? 4 : 3;
      words.fill(0xa5a5a5a5 | 0, 16, 16 + slot);
      Atomics.store(words, word.reqProd, 1);
      back.unconsumed();
      const exchange = back.take();
      exchange.response.status = -1;
      back.put(exchange);
      back.push();
      const bytes = new Uint8Array(words.buffer, 64, size * 4);
      expect([...bytes.subarray(0, 8)], 'the id goes back as it came').to.deep.equal(new Array(8).fill(0xa5));
      expect([...bytes.subarray(8, 12)]).to.deep.equal([0, 0, 0xff, 0xff]);
      if (size === 4) expect([...bytes.subarray(12, 16)]).to.deep.equal([0, 0, 0, 0]);
      expect(front.entries).to.equal(back.entries);
    }
  });

  it('answers by serve until the handler throws or returns something, with that request current', () => {
    const { front, back } = ends(0xfffffffe);
    for (const id of [0, 1, 2, 3]) send(front, id, id);
    front.push();
    const seen: number[] = [];
    const later = back.serve(back.unconsumed(), (request, response) => {
      seen.push(request.value);
      response.value = request.value * 2;
      return request.value === 1 ? 'later' : undefined;
    });
    expect([later, seen, back.current.request.value]).to.deep.equal(['later', [0, 1], 1]);
    const exchange = back.current;
    back.keep();
    const fails = (): void => {
      throw new Error('no');
    };
    expect(() => back.serve(back.unconsumed(), fails)).to.throw('no');
    expect(back.current.request.value).to.equal(2);
    back.put(back.current);
    back.serve(back.unconsumed(), (_, response) => {
      response.value = 9;
    });
    back.put(exchange);
    back.push();
    front.unconsumed();
    expect([0, 0, 0, 0].map(() => [front.take().$lo].map(Number)[0])).to.deep.equal([0, 2, 3, 1]);
  });
});

describe('a ring of bytes and shorts', () => {
  it('is refused when its messages are no whole words', () => {
    const format = { request: struct('q', { a: u8 }), response: struct('r', { a: u8 }) };
    expect(() => new FrontRing(page(), format)).to.throw(TypeError, 'no whole words');
  });

  it('can be read by a cursor in place, as a C program would', () => {
    const words = tinyPage();
    const front = new FrontRing(words, tiny);
    draft(tiny.request, words, { word: 16 }).value = 3;
    Atomics.store(words, word.reqProd, 1);
    expect(new BackRing(words, tiny).take().request.value).to.equal(3);
    expect(front.entries).to.equal(4);
  });
});
