import { expect } from 'chai';
import { BackRing } from '../../../core/abi/back-ring.js';
import { FrontRing } from '../../../core/abi/front-ring.js';
import type { Abi } from '../../../core/abi/layout.js';
import { ResponseJournal } from '../../../core/abi/response-journal.js';
import { sring } from '../../../core/abi/ring.js';
import { layoutOf } from '../../../core/abi/struct.js';
import { asSector, PAGE_SIZE } from '../../../core/abi/units.js';
import { blkifRequest, blkifResponse } from '../../../drivers/blk/wire.js';

const blkif = { request: blkifRequest, response: blkifResponse, id: 'id' } as const;
const page = (): Int32Array => new Int32Array(new SharedArrayBuffer(PAGE_SIZE));

/** A page of words that calls `wrote` after each word that is written to it. */
const watched = (words: Int32Array, wrote: () => void): Int32Array =>
  new Proxy(words, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set: (target, key, value) => {
      Reflect.set(target, key, value, target);
      wrote();
      return true;
    },
  });

/** The first words of the slots of six messages. */
const slots = (words: Int32Array, first: number, abi: Abi): readonly Int32Array[] =>
  [0, 1, 2, 3, 4, 5].map((i) => {
    const slot = sring.entries + ((first + i) & 31) * (layoutOf(blkifRequest, abi).size / 4);
    return words.slice(slot, slot + 3);
  });

/** Puts `count` requests, for sectors 100, 101 …, on the ring. */
const send = (front: FrontRing<typeof blkifRequest, typeof blkifResponse, 'id'>, count: number): void => {
  for (let i = 0; i < count; i++) {
    front.slot(i).rw.set({ operation: 1, nr_segments: 0, handle: 0, sector_number: asSector(100 + i) });
    front.put();
  }
  front.push();
};

const answerAll = (back: BackRing<typeof blkifRequest, typeof blkifResponse, 'id'>, count: number): number[] => {
  const done: number[] = [];
  for (let i = 0; i < count; i++) {
    const { request, response } = back.take();
    done.push(request.rw.sector_number);
    response.operation = request.operation;
    response.status = 0;
    back.put(back.current);
  }
  return done;
};

describe('a backend’s notes of its responses', () => {
  for (const abi of ['x86_64-abi', 'x86_32-abi'] as const satisfies readonly Abi[]) {
    for (const first of [0, 0xfffffffd]) {
      it(`let the next one answer each request once, wherever the one before it died (${abi}, from index ${first})`, () => {
        const requests = 6;
        const real = page();
        const front = new FrontRing(real, blkif, { abi, first });
        send(front, requests);
        const ids = slots(real, first, abi).map((words) => words[abi === 'x86_64-abi' ? 2 : 1]);
        const deaths: Int32Array[] = [];
        const { store } = Atomics;
        const words = watched(real, () => deaths.push(real.slice()));
        Atomics.store = ((target: Int32Array, word: number, value: number): number => {
          store(target === words ? real : target, word, value);
          deaths.push(real.slice());
          return value;
        }) as typeof store;
        const { load } = Atomics;
        Atomics.load = ((target: Int32Array, word: number) =>
          load(target === words ? real : target, word)) as typeof load;
        try {
          const back = new BackRing(words, blkif, { abi, journal: 'begin' });
          back.unconsumed();
          answerAll(back, 2);
          back.push();
          answerAll(back, 4);
          back.push();
        } finally {
          Object.assign(Atomics, { load, store });
        }
        expect(deaths).to.have.length.greaterThan(requests * 6);
        for (const dead of deaths) {
          const back = new BackRing(dead, blkif, { abi, journal: 'takeUp' });
          const left = back.unconsumed();
          const redone = answerAll(back, left);
          expect(redone).to.eql([100, 101, 102, 103, 104, 105].slice(requests - left));
          back.push();
          expect(slots(dead, first, abi).map((words) => [words[0], (words[2] ?? 0) & 0xff])).to.eql(
            ids.map((id) => [id, 1]),
          );
          expect(Atomics.load(dead, sring.rspProd)).to.equal((first + requests) | 0);
        }
      });
    }
  }

  it('are of the responses that a handler gives at once, too', () => {
    const words = page();
    const front = new FrontRing(words, blkif);
    const back = new BackRing(words, blkif, { journal: 'begin' });
    send(front, 5);
    const done: number[] = [];
    const handler = ({ rw }: { readonly rw: { readonly sector_number: number } }): unknown => {
      // It dies at the fourth.
      if (done.length === 3) throw new Error('died');
      done.push(rw.sector_number);
      return undefined;
    };
    expect(() => back.serve(back.unconsumed(), handler)).to.throw('died');
    const next = new BackRing(words, blkif, { journal: 'takeUp' });
    expect(next.unconsumed()).to.equal(2);
    expect(done.concat(answerAll(next, 2))).to.eql([100, 101, 102, 103, 104]);
  });

  it('are none on a page that was never noted on, wherever its ring begins', () => {
    for (const from of [0, 1, -1, -16, 0x7fffffff]) expect(new ResponseJournal(page(), 4).end(from, 32)).to.equal(from);
  });

  it('count no further than there are requests, whatever a frontend writes there', () => {
    const words = page().fill(-1);
    const notes = new ResponseJournal(words, 4);
    notes.put(100, 40);
    expect(notes.end(0, 32)).to.equal(0);
    notes.put(100, 7);
    expect(notes.end(0, 6)).to.equal(0);
    expect(notes.end(0, 7)).to.equal(7);
    expect(notes.end(7, 7)).to.equal(7);
  });

  it('are begun anew with a ring: the last life’s on the same page count neither then, nor once it is taken up', () => {
    const words = page();
    const front = new FrontRing(words, blkif);
    for (const index of [4, 5]) new ResponseJournal(words, 4).put(sring.entries, index);
    send(front, 6);
    const back = new BackRing(words, blkif, { journal: 'begin' });
    expect(back.unconsumed()).to.equal(6);
    // It dies before it has published its first answer.
    answerAll(back, 1);
    const next = new BackRing(words, blkif, { journal: 'takeUp' });
    expect(answerAll(next, next.unconsumed())).to.eql([101, 102, 103, 104, 105]);
  });

  it('have room for no response of more than four words', () => {
    expect(() => new ResponseJournal(page(), 5)).to.throw(RangeError, 'a response of 5 words cannot be noted');
  });
});
