import { expect } from 'chai';
import fc from 'fast-check';
import { Model } from '../../../bench/soak/model.js';
import { SECTOR_WORDS } from '../../../bench/soak/pattern.js';

const FIRST = 100;
const SECTORS = 8;

describe('the soak’s model of a disk', () => {
  const fresh = (): Model => new Model(new Uint8Array(new SharedArrayBuffer(Model.bytesFor(SECTORS))), FIRST, SECTORS);
  const sectors = (count: number): Int32Array => new Int32Array(count * SECTOR_WORDS);

  it('wants zeros where nothing was ever written', () => {
    const words = sectors(2);
    expect(fresh().check(FIRST, words)).to.equal(undefined);
    words[SECTOR_WORDS + 5] = 1;
    expect(fresh().check(FIRST, words)).to.match(/^sector 101 differs from byte 20 /);
  });

  it('wants what was written once that is answered, and allows it and what was there before until then', () => {
    const model = fresh();
    const [before, written] = [sectors(1), sectors(1)];
    model.write(FIRST, written);
    expect([model.check(FIRST, before), model.check(FIRST, written)]).to.deep.equal([undefined, undefined]);
    model.answered(FIRST, 1);
    expect(model.check(FIRST, before)).to.match(/must hold version 1, and says that it is version 0 of sector 0/);
    expect(model.check(FIRST, written)).to.equal(undefined);
    expect(model.underWay).to.equal(0);
  });

  it('holds on to what a reader found of a write that nobody answered', () => {
    for (const happened of [true, false]) {
      const model = fresh();
      const [before, written] = [sectors(1), sectors(1)];
      model.write(FIRST, written);
      expect(model.settle(FIRST, happened ? written : before)).to.equal(undefined);
      expect(model.check(FIRST, happened ? before : written)).to.match(/^sector 100 differs/);
      expect(model.underWay).to.equal(0);
    }
  });

  it('tells any word that is changed, and any sector in another’s place', () => {
    const model = fresh();
    const words = sectors(SECTORS);
    model.write(FIRST, words);
    model.answered(FIRST, SECTORS);
    const word = fc.nat(SECTORS * SECTOR_WORDS - 1);
    fc.assert(
      fc.property(word, fc.integer({ min: 1 }), (at, change) => {
        const other = words.slice();
        other[at] = (other[at] as number) ^ change;
        expect(model.check(FIRST, other)).to.match(
          new RegExp(`^sector ${FIRST + Math.floor(at / SECTOR_WORDS)} differs from byte ${(at % SECTOR_WORDS) * 4} `),
        );
      }),
    );
    expect(model.check(FIRST + 1, words.subarray(0, SECTOR_WORDS))).to.match(/version 1 of sector 100$/);
  });
});
