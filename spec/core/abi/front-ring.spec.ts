import { expect } from 'chai';
import { BackRing } from '../../../core/abi/back-ring.js';
import { array, u8, u32 } from '../../../core/abi/fields.js';
import { FrontRing } from '../../../core/abi/front-ring.js';
import { sring } from '../../../core/abi/ring.js';
import { struct } from '../../../core/abi/struct.js';
import { asGrantRef, asSector, PAGE_SIZE } from '../../../core/abi/units.js';
import { PeerFault } from '../../../core/errors.js';
import { blkifRequest, blkifResponse } from '../../../drivers/blk/wire.js';
import { WatchedWords } from '../../support/watched-words.js';

const blkif = { request: blkifRequest, response: blkifResponse, id: 'id' } as const;
const FIRST = 0xfffffff0;

describe('a frontend’s end of a ring', () => {
  let words: Int32Array;
  let front: FrontRing<typeof blkifRequest, typeof blkifResponse, 'id'>;
  let back: BackRing<typeof blkifRequest, typeof blkifResponse, 'id'>;

  beforeEach(() => {
    words = new Int32Array(new SharedArrayBuffer(PAGE_SIZE));
    front = new FrontRing(words, blkif, { first: FIRST });
    back = new BackRing(words, blkif);
  });

  const send = (count: number): void => {
    for (let i = 0; i < count; i++) {
      front.slot(i).rw.set({ operation: 0, nr_segments: 0, handle: 0, sector_number: asSector(i) });
      front.put();
    }
    front.push();
  };
  const answer = (count: number): void => {
    expect(back.unconsumed()).to.be.at.least(count);
    back.serve(count, () => undefined);
    back.push();
  };

  it('zeroes what was in its pages, and asks for the first message each way (SHARED_RING_INIT, XSA-403)', () => {
    const dirty = new Int32Array(4 * 1024).fill(0x5ec4e75);
    new FrontRing(dirty, blkif, { first: FIRST });
    const initial = [FIRST, FIRST + 1, FIRST, FIRST + 1].map((value) => value | 0);
    expect([...dirty.subarray(0, 4)]).to.eql(initial);
    expect(dirty.subarray(4).every((word) => word === 0)).to.equal(true);
  });

  it('is full with 32 requests of blkif outstanding, and each response taken frees one slot', () => {
    send(32);
    expect([front.full, front.free]).to.eql([true, 0]);
    answer(3);
    expect(front.free).to.equal(0);
    expect(front.unconsumed()).to.equal(3);
    expect(front.free).to.equal(0);
    for (const free of [1, 2, 3]) {
      front.take();
      expect(front.free).to.equal(free);
    }
    send(3);
    expect(front.full).to.equal(true);
  });

  it('never believes its own index in the page, whatever the peer writes there', () => {
    for (let i = 0; i < 40; i++) {
      words[sring.reqProd] = 0x12345678;
      words[sring.rspEvent] = 0x12345678;
      expect(front.full).to.equal(false);
      front.slot(i).rw.set({ operation: 0, nr_segments: 0, handle: 0, sector_number: asSector(i) });
      front.put();
      words[sring.reqProd] = 0x12345678;
      expect(front.push()).to.equal(i % 2 === 0);
      expect((words[sring.reqProd] as number) >>> 0).to.equal((FIRST + i + 1) >>> 0);
      answer(1);
      if (i % 2 === 1) expect(back.finalCheck()).to.equal(false);
      words[sring.reqProd] = 0x12345678;
      expect(front.unconsumed()).to.equal(1);
      expect(front.take().$lo).to.equal(i);
      words[sring.reqProd] = (FIRST + i + 1) | 0;
      expect(front.finalCheck()).to.equal(false);
      expect((words[sring.rspEvent] as number) >>> 0).to.equal((FIRST + i + 2) >>> 0);
    }
  });

  it('takes nothing when more is answered than was published, put in or not', () => {
    send(2);
    front.slot(2).rw.set({ operation: 0, nr_segments: 0, handle: 0, sector_number: asSector(0) });
    front.put();
    for (const ahead of [3, 4, 33, 2 ** 31, 2 ** 32 - 1]) {
      words[sring.rspProd] = (FIRST + ahead) | 0;
      expect(() => front.unconsumed()).to.throw(PeerFault, `rsp_prod, with at most 2 to come after ${FIRST},`);
      expect(front.free).to.equal(29);
    }
  });

  it('hands out responses in one go, and keeps those that come after one that was objected to', () => {
    send(5);
    answer(5);
    const seen: number[] = [];
    const each = ({ $lo }: { readonly $lo: number }, slot: number): void => {
      seen.push($lo);
      expect(slot).to.equal((FIRST + $lo) & 31);
      if ($lo === 2) throw new Error('no more');
    };
    expect(() => front.takeEach(front.unconsumed(), each)).to.throw('no more');
    expect([seen, front.unconsumed(), front.free]).to.eql([[0, 1, 2], 2, 30]);
    front.takeEach(1, each);
    expect([seen, front.unconsumed()]).to.eql([[0, 1, 2, 3], 1]);
  });

  it('drafts a request privately where it is asked to, each time from zero', () => {
    const { rw } = front.draft(5);
    rw.operation = 1;
    rw.nr_segments = 1;
    rw.sector_number = asSector(7);
    rw.seg.at(0).gref = asGrantRef(8);
    expect(words.subarray(sring.entries).every((word) => word === 0)).to.equal(true);
    front.putDraft();
    const slot = sring.entries + (FIRST & 31) * 28;
    expect([...words.subarray(slot, slot + 8)]).to.eql([0x101, 0, 5, 0, 7, 0, 8, 0]);
    front.draft(6).rw.operation = 2; // and never put in
    const again = front.draft(7);
    again.rw.nr_segments = 3;
    expect(again.rw.operation).to.equal(0);
    front.putDraft();
    expect([...words.subarray(slot + 28, slot + 31)]).to.eql([0x300, 0, 7]);
  });

  it('writes no word of shared memory in parts, which would read it back: such a request is drafted', () => {
    const element = struct('element', { a: u8, b: array(u8, 3) });
    const request = struct('request', { n: u32, list: array(element, 2) });
    const watched = new WatchedWords(new Int32Array(new SharedArrayBuffer(4 * sring.entries + 12)));
    watched.run(() => {
      const ring = new FrontRing(watched.words, { request, response: struct('response', { n: u32 }) });
      watched.forget();
      const slot = ring.slot(0);
      slot.set({ n: 2 });
      for (const i of [0, 1]) {
        slot.list.at(i).set({ a: i + 1 });
        for (const j of [0, 1, 2]) slot.list.at(i).b.set(j, 16 * i + j);
      }
      expect([Math.max(...watched.reads), Math.max(...watched.writes)]).to.eql([0, 0]);
      ring.put();
      expect([Math.max(...watched.reads), Math.max(...watched.writes)]).to.eql([0, 1]);
    });
    expect([...watched.memory.subarray(sring.entries)]).to.eql([2, 0x02010001, 0x12111002]);
  });

  it('needs memory for at least one slot', () => {
    expect(() => new FrontRing(new Int32Array(40), blkif)).to.throw(RangeError, '160 bytes hold no ring of 112-byte');
  });
});
