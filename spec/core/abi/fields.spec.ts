import { expect } from 'chai';
import fc from 'fast-check';
import {
  array,
  grantRef,
  i8,
  i16,
  i32,
  opaque64,
  padding,
  type Scalar,
  sector,
  u8,
  u16,
  u32,
  u64,
} from '../../../core/abi/fields.js';
import { draft, struct, view } from '../../../core/abi/struct.js';
import { asGrantRef, asSector } from '../../../core/abi/units.js';
import { blkifResponse } from '../../../drivers/blk/wire.js';

const bytesOf = (words: Int32Array): Uint8Array => new Uint8Array(words.buffer);
/** Memory that is full of what nobody wrote. */
const poisoned = (words: number): Int32Array => new Int32Array(words).fill(0xa5a5a5a5);

describe('array() and padding()', () => {
  it('refuse lengths that are none', () => {
    for (const length of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => array(u8, length)).to.throw(RangeError, `not ${length}`);
      expect(() => padding(length)).to.throw(RangeError, `not ${length}`);
    }
  });
});

describe('a number', () => {
  /** A member of each kind at each place of a word that it can have, between members that must not change. */
  const kinds: readonly (readonly [kind: Scalar, width: number, signed: boolean])[] = [
    [u8, 8, false],
    [i8, 8, true],
    [u16, 16, false],
    [i16, 16, true],
    [u32, 32, false],
    [i32, 32, true],
  ];
  for (const [kind, width, signed] of kinds) {
    it(`of kind ${kind.kind} reads back what was written, modulo 2^${width} as in C, at every place of a word`, () => {
      const modulus = 2 ** width;
      const places = Array.from({ length: 32 / width }, (_, i) => i);
      const of = struct('s', { before: u32, ...Object.fromEntries(places.map((i) => [`at${i}`, kind])), after: u32 });
      fc.assert(
        fc.property(
          fc.nat({ max: places.length - 1 }),
          fc.integer({ min: -(2 ** 33), max: 2 ** 33 }),
          fc.integer(),
          (place, value, others) => {
            const words = Int32Array.of(others, others, others, 0);
            const name = `at${place}`;
            (draft(of, words) as unknown as Record<string, number>)[name] = value;
            const stored = ((value % modulus) + modulus) % modulus;
            const expected = signed && stored >= modulus / 2 ? stored - modulus : stored;
            expect((view(of, words) as unknown as Record<string, number>)[name]).to.equal(expected);
            const bytes = bytesOf(words);
            const kept = bytesOf(Int32Array.of(others, others, others, 0));
            const begin = 4 + (place * width) / 8;
            for (let i = 0; i < width / 8; i++) kept[begin + i] = Math.floor(stored / 256 ** i) % 256;
            expect([...bytes]).to.eql([...kept]);
          },
        ),
      );
    });
  }

  it('of kind i16 tells -1 from 65535, and -2 is BLKIF_RSP_EOPNOTSUPP', () => {
    const words = new Int32Array(4);
    draft(blkifResponse, words).status = 65534;
    expect(view(blkifResponse, words).status).to.equal(-2);
  });

  it('of a unit is that unit: a grant reference with all 32 bits, a sector with 53', () => {
    const of = struct('s', { gref: grantRef, first: sector });
    const words = poisoned(4);
    draft(of, words).set({ gref: asGrantRef(0xffffffff), first: asSector(2 ** 53 - 1) });
    expect(view(of, words).gref).to.equal(0xffffffff);
    expect(view(of, words).first).to.equal(2 ** 53 - 1);
  });
});

describe('a 64-bit number', () => {
  const of = struct('s', { wide: u64 });

  it('reads back every whole number below 2^53, set alone or with the rest', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        const words = poisoned(2);
        draft(of, words).wide = value;
        expect(view(of, words).wide).to.equal(value);
        expect(new BigUint64Array(words.buffer)[0]).to.equal(BigInt(value));
        words.fill(-1);
        draft(of, words).set({ wide: value });
        expect(view(of, words).wide).to.equal(value);
      }),
    );
  });

  it('refuses to be written as anything else, and leaves memory as it was', () => {
    for (const value of [-1, 2 ** 53, 0.5, Number.NaN, Number.POSITIVE_INFINITY, -(2 ** 32), 2 ** 64]) {
      const words = poisoned(2);
      const write = draft(of, words);
      expect(() => {
        write.wide = value;
      }).to.throw(RangeError, `not ${value}`);
      expect(() => write.set({ wide: value })).to.throw(RangeError, `not ${value}`);
      expect([...words]).to.eql([...poisoned(2)]);
    }
  });

  it('of a peer that is 2^53 or more reads as Infinity, so that every limit refuses it', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }), (value) => {
        const memory = new BigUint64Array([value]);
        expect(view(of, new Int32Array(memory.buffer)).wide).to.equal(Number.POSITIVE_INFINITY);
      }),
    );
    for (const [value, read] of [
      [2n ** 53n - 1n, 2 ** 53 - 1],
      [2n ** 53n, Number.POSITIVE_INFINITY],
      [2n ** 32n - 1n, 2 ** 32 - 1],
      [2n ** 32n, 2 ** 32],
      [2n ** 31n, 2 ** 31],
    ] as const) {
      expect(view(of, new Int32Array(new BigUint64Array([value]).buffer)).wide).to.equal(read);
    }
  });
});

describe('an opaque member', () => {
  it('passes all 64 bits from one record to another (Windows uses them)', () => {
    const of = struct('s', { before: u8, id: opaque64 });
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (id) => {
        const from = new BigUint64Array([0n, id]);
        const to = new BigUint64Array(2).fill(2n ** 64n - 1n);
        draft(of, new Int32Array(to.buffer)).id.set(view(of, new Int32Array(from.buffer)).id);
        expect(to[1]).to.equal(id);
        draft(of, new Int32Array(to.buffer)).set({ before: 3, id: view(of, new Int32Array(from.buffer)).id });
        expect([...to]).to.eql([3n, id]);
      }),
    );
  });
});
