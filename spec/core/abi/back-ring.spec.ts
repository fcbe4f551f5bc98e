import { expect } from 'chai';
import { BackRing } from '../../../core/abi/back-ring.js';
import { u32 } from '../../../core/abi/fields.js';
import { FrontRing } from '../../../core/abi/front-ring.js';
import type { Abi } from '../../../core/abi/layout.js';
import { sring } from '../../../core/abi/ring.js';
import { draft, layoutOf, struct, view } from '../../../core/abi/struct.js';
import { asGrantRef, asSector, PAGE_SIZE } from '../../../core/abi/units.js';
import { PeerFault } from '../../../core/errors.js';
import { blkifOp, blkifRequest, blkifResponse } from '../../../drivers/blk/wire.js';
import { netifRxRequest, netifRxResponse } from '../../../drivers/net/wire.js';
import { WatchedWords } from '../../support/watched-words.js';

const blkif = { request: blkifRequest, response: blkifResponse, id: 'id' } as const;
const FIRST = 0xfffffff0;
const both = ['x86_64-abi', 'x86_32-abi'] as const satisfies readonly Abi[];
const page = (pages = 1): Int32Array => new Int32Array(new SharedArrayBuffer(pages * PAGE_SIZE));
const ends = (abi: Abi = 'x86_64-abi', words = page(), first = FIRST) => ({
  words,
  front: new FrontRing(words, blkif, { abi, first }),
  back: new BackRing(words, blkif, { abi }),
});
/** The word of a slot. */
const slotWord = (index: number, abi: Abi): number => sring.entries + (index * layoutOf(blkifRequest, abi).size) / 4;

describe('a backend’s end of a ring', () => {
  it('attaches to a page without writing to it (BACK_RING_ATTACH)', () => {
    const { words } = ends();
    const before = words.slice();
    new BackRing(words, blkif);
    expect(words).to.eql(before);
  });

  it('attaches where a backend before it ended, with requests pending, and answers them (re-attach)', () => {
    const { words, front, back } = ends();
    for (let sector = 0; sector < 5; sector++) {
      front.slot(sector).rw.set({ operation: 0, nr_segments: 0, handle: 0, sector_number: asSector(sector) });
      front.put();
    }
    front.push();
    back.unconsumed();
    for (let i = 0; i < 2; i++) back.put(back.take());
    back.take(); // taken, and never answered: whoever comes next has to do it again
    back.push();

    const next = new BackRing(words, blkif);
    expect(next.unconsumed()).to.equal(3);
    expect(next.take().request.rw.sector_number).to.equal(2);
    next.put(next.current);
    next.push();
    expect(front.unconsumed()).to.equal(3);
    expect([front.take(), front.take(), front.take()].map(({ $lo }) => $lo)[2]).to.equal(2);
  });

  it('never believes its own index in the page, whatever the peer writes there', () => {
    const { words, front, back } = ends();
    for (let i = 0; i < 3; i++) {
      front.slot(i).rw.set({ operation: 0, nr_segments: 0, handle: 0, sector_number: asSector(i) });
      front.put();
    }
    front.push();
    for (let i = 0; i < 3; i++) {
      words[sring.rspProd] = 0x12345678;
      words[sring.reqEvent] = 0x12345678;
      expect(back.unconsumed()).to.equal(3 - i);
      expect(back.take().request.rw.sector_number).to.equal(i);
      back.put(back.current);
      expect(back.push()).to.equal(i === 0); // rsp_event is the first response’s
      expect((words[sring.rspProd] as number) >>> 0).to.equal((FIRST + i + 1) >>> 0);
    }
    expect(back.finalCheck()).to.equal(false);
    expect((words[sring.reqEvent] as number) >>> 0).to.equal((FIRST + 4) >>> 0);
  });

  it('takes nothing when there are more requests than slots, and again when the first is asked for', () => {
    const { words, back } = ends();
    for (const ahead of [33, 34, 2 ** 31, 2 ** 32 - 1]) {
      words[sring.reqProd] = (FIRST + ahead) | 0;
      expect(() => back.unconsumed()).to.throw(PeerFault, `cannot be ${(FIRST + ahead) % 2 ** 32}`);
      expect(back.reqCons >>> 0).to.equal(FIRST);
    }
  });

  it('counts what it has not answered against the ring: a slot cannot be asked for twice', () => {
    const { words, back } = ends();
    words[sring.reqProd] = (FIRST + 32) | 0;
    expect(back.unconsumed()).to.equal(32);
    for (let i = 0; i < 32; i++) {
      back.take();
      back.keep();
    }
    expect(back.kept).to.equal(32);
    words[sring.reqProd] = (FIRST + 33) | 0;
    expect(() => back.unconsumed()).to.throw(PeerFault, 'req_prod, with at most 0 to come');
    back.put(back.exchange(7));
    expect(back.unconsumed()).to.equal(1);
  });
});

for (const abi of both) {
  describe(`blkif requests on a ring of ${abi} (blkif.h)`, () => {
    /** A backend over watched memory, whose first slot holds what `write` wrote, full of poison besides. */
    const taken = (write: (words: Int32Array, word: number) => void) => {
      const watched = new WatchedWords(page());
      const { back } = watched.run(() => ends(abi, watched.words, 0));
      watched.memory.fill(0xa5a5a5a5 | 0, sring.entries);
      write(watched.memory, slotWord(0, abi));
      watched.memory[sring.reqProd] = 1;
      watched.forget();
      return watched.run(() => {
        expect(back.unconsumed()).to.equal(1);
        const exchange = back.take();
        const touched = [...watched.reads].flatMap((count, word) => (count > 0 ? [word - slotWord(0, abi)] : []));
        expect(Math.max(...watched.reads), 'reads of a word').to.equal(1);
        expect(Math.max(...watched.writes), 'writes').to.equal(0);
        return { exchange, back, watched, touched };
      });
    };
    /** Words of a request before its segments, without those of holes. */
    const head = abi === 'x86_64-abi' ? [0, 2, 3, 4, 5] : [0, 1, 2, 3, 4];
    const segments = abi === 'x86_64-abi' ? 6 : 5;
    const range = (from: number, length: number): number[] => Array.from({ length }, (_, i) => from + i);

    it('to read or write are copied as far as their segments count', () => {
      for (const n of [0, 1, 5, 11]) {
        const { exchange, touched } = taken((words, word) => {
          const { rw } = draft(blkifRequest, words, { word, abi });
          const id = { lo: 1, hi: 2 };
          rw.set({ operation: blkifOp.write, nr_segments: n, handle: 51712, id, sector_number: asSector(2 ** 40) });
          for (let i = 0; i < n; i++) rw.seg.at(i).set({ gref: asGrantRef(100 + i), first_sect: 1, last_sect: 6 });
        });
        expect(touched).to.eql([...head, ...range(segments, 2 * n)]);
        const { rw } = exchange.request;
        expect([rw.operation, rw.nr_segments, rw.handle, rw.sector_number]).to.eql([1, n, 51712, 2 ** 40]);
        const grefs = Array.from({ length: rw.seg.length }, (_, i) => rw.seg.at(i).gref);
        expect(grefs).to.eql(range(100, n));
        expect(() => rw.seg.at(n)).to.throw(RangeError);
      }
    });

    it('with more segments than a request has are copied no further than the request goes', () => {
      for (const n of [12, 128, 255]) {
        const { exchange, touched } = taken((words, word) => {
          words[word] = (n << 8) | blkifOp.read;
        });
        expect(touched).to.eql([...head, ...range(segments, 22)]);
        expect([exchange.request.rw.nr_segments, exchange.request.rw.seg.length]).to.eql([n, 11]);
      }
    });

    it('to discard are copied as discards, and are nothing else', () => {
      const { exchange, touched } = taken((words, word) => {
        const id = { lo: 3, hi: 4 };
        const sectors = { sector_number: asSector(8), nr_sectors: 2 ** 33 };
        draft(blkifRequest, words, { word, abi }).discard.set({ operation: 5, flag: 1, handle: 9, id, ...sectors });
      });
      expect(touched).to.eql(abi === 'x86_64-abi' ? [0, 2, 3, 4, 5, 6, 7] : [0, 1, 2, 3, 4, 5, 6]);
      const { request } = exchange;
      expect([request.operation, request.discard.flag, request.discard.nr_sectors]).to.eql([5, 1, 2 ** 33]);
      expect(() => request.rw).to.throw(TypeError, 'blkif_request.rw is not what this message holds');
      expect(() => request.indirect).to.throw(TypeError);
    });

    it('with indirect segments have their handle after the sector, and all eight pages', () => {
      const { exchange, touched } = taken((words, word) => {
        const { indirect } = draft(blkifRequest, words, { word, abi });
        const ids = { id: { lo: 5, hi: 6 }, sector_number: asSector(16), handle: 51728 };
        indirect.set({ operation: 6, indirect_op: 1, nr_segments: 4096, ...ids });
        for (let i = 0; i < 8; i++) indirect.indirect_grefs.set(i, asGrantRef(i + 1));
      });
      expect(touched).to.eql(abi === 'x86_64-abi' ? [0, ...range(2, 13)] : range(0, 14));
      const { indirect } = exchange.request;
      expect([indirect.nr_segments, indirect.handle, indirect.indirect_op]).to.eql([4096, 51728, 1]);
      expect(indirect.indirect_grefs.at(7)).to.equal(8);
      expect(() => indirect.indirect_grefs.at(8)).to.throw(RangeError);
    });

    it('of an operation that nobody knows are read as reads and writes are', () => {
      const { exchange } = taken((words, word) => {
        words[word] = 0xee;
      });
      expect(exchange.request.operation).to.equal(0xee);
      expect(exchange.request.rw.nr_segments).to.equal(0);
    });

    it('get their id back with all 64 bits, in a response without anything of the request (XSA-216)', () => {
      const { exchange, back, watched } = taken((words, word) => {
        draft(blkifRequest, words, { word, abi }).rw.id.set({ lo: 0x89abcdef, hi: 0xfedcba98 });
      });
      exchange.response.operation = blkifOp.read;
      exchange.response.status = -1;
      watched.run(() => {
        back.put(exchange);
        back.push();
      });
      const { size } = layoutOf(blkifResponse, abi);
      const bytes = new Uint8Array(watched.memory.buffer, 4 * slotWord(0, abi), size);
      const id = [0xef, 0xcd, 0xab, 0x89, 0x98, 0xba, 0xdc, 0xfe];
      expect([...bytes]).to.eql([...id, 0, 0, 0xff, 0xff, ...Array.from({ length: size - 12 }, () => 0)]);
      expect([...watched.writes].reduce((sum, count) => sum + count)).to.equal(size / 4);
    });

    for (const order of [0, 1, 2, 3, 4]) {
      it(`fill a ring of ${2 ** order} pages with ${32 << order}, are answered backwards, and come round the wrap`, () => {
        const { front, back } = ends(abi, page(2 ** order));
        expect([front.entries, back.entries]).to.eql([32 << order, 32 << order]);
        for (let round = 0; round < 3; round++) {
          const sector = (i: number): number => round * 1000 + i;
          for (let i = 0; !front.full; i++) {
            const { rw } = front.slot(i);
            rw.set({ operation: 1, nr_segments: 1, handle: 1, sector_number: asSector(sector(i)) });
            rw.seg.at(0).set({ gref: asGrantRef(i), first_sect: 0, last_sect: 7 });
            front.put();
          }
          front.push();
          expect(back.unconsumed()).to.equal(32 << order);
          const kept = Array.from({ length: 32 << order }, () => {
            const exchange = back.take();
            back.keep();
            return exchange;
          });
          for (const [i, exchange] of [...kept.entries()].reverse()) {
            const { rw } = exchange.request;
            expect([rw.sector_number, rw.seg.at(0).gref]).to.eql([sector(i), i]);
            exchange.response.status = (i % 3) - 2;
            back.put(exchange);
          }
          back.push();
          expect(front.unconsumed()).to.equal(32 << order);
          for (let i = (32 << order) - 1; i >= 0; i--) {
            const response = front.take();
            expect([response.$lo, response.$hi, response.status]).to.eql([i, 0, (i % 3) - 2]);
            expect(front.free).to.equal((32 << order) - i);
          }
        }
      });
    }
  });
}

describe('a ring without an id', () => {
  it('is answered in the order of the requests, and the slots are the same ones (netif rx)', () => {
    const words = page();
    const format = { request: netifRxRequest, response: netifRxResponse };
    const front = new FrontRing(words, format, { first: FIRST });
    const back = new BackRing(words, format);
    expect([front.entries, front.paired]).to.eql([256, false]);
    for (let i = 0; i < 20; i++) {
      expect(front.nextRequest).to.equal((FIRST + i) & 255);
      front.slot(0).set({ id: i, gref: asGrantRef(i) });
      front.put();
    }
    front.push();
    back.serve(back.unconsumed(), (request, response) => {
      response.set({ id: request.id, offset: 0, flags: 0, status: request.gref });
    });
    back.push();
    for (let i = 0; i < 20; i++) {
      expect(front.nextResponse).to.equal((FIRST + i) & 255);
      expect(view(netifRxResponse, words, { word: sring.entries + 2 * front.nextResponse }).status).to.equal(i);
      expect(front.take().status).to.equal(i);
    }
  });

  it('may have messages of different sizes: a slot is as large as the larger', () => {
    const small = struct('small', { a: u32 });
    const large = struct('large', { a: u32, b: u32, c: u32 });
    const words = new Int32Array(sring.entries + 4 * 3);
    const front = new FrontRing(words, { request: small, response: large });
    const back = new BackRing(words, { request: small, response: large });
    expect(front.entries).to.equal(4);
    for (let i = 0; i < 4; i++) {
      front.slot(0).set({ a: i });
      front.put();
    }
    front.push();
    expect([...words.subarray(sring.entries)]).to.eql([0, 0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0]);
    back.serve(back.unconsumed(), (request, response) => {
      response.set({ a: request.a, b: 7, c: 8 });
    });
    back.push();
    expect(front.unconsumed()).to.equal(4);
    expect([...words.subarray(sring.entries)]).to.eql([0, 7, 8, 1, 7, 8, 2, 7, 8, 3, 7, 8]);
  });
});
