import { expect } from 'chai';
import fc from 'fast-check';
import {
  abis,
  array,
  draft,
  grantRef,
  i8,
  i16,
  i32,
  layoutOf,
  opaque64,
  overlay,
  padding,
  type Scalar,
  struct,
  u8,
  u16,
  u32,
  u64,
  view,
} from '../../../core/index.js';

/** Memory that counts how often each of its words is read and written. */
const counted = (words: Int32Array): { memory: Int32Array; reads: number[]; writes: number[] } => {
  const reads = new Array<number>(words.length).fill(0);
  const writes = new Array<number>(words.length).fill(0);
  const count = (counts: number[], key: string | symbol): void => {
    const index = Number(String(key));
    if (Number.isInteger(index)) counts[index] = (counts[index] ?? 0) + 1;
  };
  const memory = new Proxy(words, {
    get: (target, key) => {
      count(reads, key);
      return Reflect.get(target, key, target);
    },
    set: (target, key, value) => {
      count(writes, key);
      return Reflect.set(target, key, value, target);
    },
  });
  return { memory, reads, writes };
};

describe('struct', () => {
  it('aligns a 64-bit member to 8 bytes on 64-bit x86 and Arm, to 4 on 32-bit x86', () => {
    const s = struct('s', { a: u8, b: u64, c: u8 });
    expect(layoutOf(s, 'x86_64-abi')).to.deep.include({ size: 24, align: 8, offsets: { a: 0, b: 8, c: 16 } });
    expect(layoutOf(s, 'arm-abi')).to.deep.include({ size: 24, align: 8, offsets: { a: 0, b: 8, c: 16 } });
    expect(layoutOf(s, 'x86_32-abi')).to.deep.include({ size: 16, align: 4, offsets: { a: 0, b: 4, c: 12 } });
  });

  it('names the members of nested structs and of array elements as C designates them', () => {
    const half = struct('half', { cons: u32, prod: u32 });
    const page = struct('page', { left: half, pad: padding(4), pairs: array(half, 3), refs: array(u32, 2) });
    expect(layoutOf(page).offsets).to.deep.equal({
      left: 0,
      'left.cons': 0,
      'left.prod': 4,
      pairs: 12,
      'pairs[0].cons': 12,
      'pairs[0].prod': 16,
      'pairs[1].cons': 20,
      'pairs[1].prod': 24,
      refs: 36,
    });
    expect(layoutOf(page).size).to.equal(44);
  });

  it('refuses a count that is no number beside the array', () => {
    expect(() => struct('s', { n: u8, a: array(u32, 4, { count: 'm' }) })).to.throw(TypeError, 's.a is counted by m');
    expect(() => struct('s', { n: u64, a: array(u32, 4, { count: 'n' }) })).to.throw(TypeError, 's.a is counted by n');
  });

  it('refuses names that are no names of members', () => {
    expect(() => struct('s', { 'a b': u8 })).to.throw(TypeError);
    expect(() => struct('s', { set: u8 })).to.throw(TypeError);
    expect(() => struct('a;b', { x: u8 })).to.throw(TypeError);
  });
});

describe('overlay', () => {
  it('takes the size of its largest variant', () => {
    const o = overlay(
      'o',
      { small: struct('small', { a: u8 }), big: struct('big', { a: u8, b: u64 }) },
      { shared: ['a'] },
    );
    expect(layoutOf(o, 'x86_64-abi')).to.deep.include({ size: 16, align: 8 });
    expect(layoutOf(o, 'x86_32-abi')).to.deep.include({ size: 12, align: 4 });
  });

  it('refuses a shared member that lies elsewhere in one variant, even in one ABI only', () => {
    const first = struct('first', { a: u32, id: u64 });
    const second = struct('second', { a: u32, b: u32, id: u64 });
    expect(layoutOf(first, 'x86_64-abi').offsets.id).to.equal(layoutOf(second, 'x86_64-abi').offsets.id);
    expect(() => overlay('o', { first, second }, { shared: ['id'] })).to.throw(
      TypeError,
      'o.id is shared, but lies at 4 and, in second, at 8 (x86_32-abi)',
    );
  });

  it('refuses a shared member that one variant lacks or declares differently', () => {
    const first = struct('first', { a: u32, b: u32 });
    const second = struct('second', { a: u32 });
    const third = struct('third', { a: i32 });
    expect(() => overlay('o', { first, second }, { shared: ['b'] as never[] })).to.throw(TypeError, 'second has no b');
    expect(() => overlay('o', { first, third }, { shared: ['a'] })).to.throw(TypeError, 'declare it differently');
  });

  it('refuses a choice that names no shared member or no variant', () => {
    const variants = { first: struct('first', { a: u32 }), second: struct('second', { a: u32 }) };
    expect(() => overlay('o', variants, { shared: ['a'], choice: { by: 'b', when: {}, otherwise: 'first' } })).to.throw(
      TypeError,
    );
    expect(() =>
      overlay('o', variants, { shared: ['a'], choice: { by: 'a', when: { third: [1] }, otherwise: 'first' } }),
    ).to.throw(TypeError, 'third');
  });
});

describe('a cursor in memory', () => {
  const bounds: Readonly<Record<string, readonly [Scalar, number, number]>> = {
    u8: [u8, 0, 0xff],
    i8: [i8, -0x80, 0x7f],
    u16: [u16, 0, 0xffff],
    i16: [i16, -0x8000, 0x7fff],
    u32: [u32, 0, 0xffffffff],
    i32: [i32, -0x80000000, 0x7fffffff],
    u64: [u64, 0, Number.MAX_SAFE_INTEGER],
  };
  const kind = fc.constantFrom(...Object.keys(bounds));
  const members = fc.array(kind, { minLength: 1, maxLength: 12 });

  it('reads back whatever was set, member by member or whole, wherever it lies (property)', () => {
    fc.assert(
      fc.property(
        members,
        fc.constantFrom(...abis),
        fc.infiniteStream(fc.nat(1000)),
        fc.boolean(),
        (kinds, abi, stream, whole) => {
          const fields = Object.fromEntries(kinds.map((name, i) => [`m${i}`, bounds[name]?.[0] ?? u8]));
          const s = struct('s', fields);
          const { size } = layoutOf(s, abi);
          const memory = new Int32Array(Math.ceil(size / 4) + 2).fill(-1);
          const values = Object.fromEntries(
            kinds.map((name, i) => {
              const [, low, high] = bounds[name] ?? [u8, 0, 0];
              const fraction = (stream.next().value as number) / 1000;
              return [`m${i}`, Math.min(high, low + Math.floor(fraction * (high - low)))];
            }),
          );
          const written = draft(s, memory, { word: 1, abi }) as unknown as Record<string, number> & {
            set(v: object): void;
          };
          if (whole) written.set(values);
          else for (const [name, value] of Object.entries(values)) written[name] = value;
          const read = view(s, memory, { word: 1, abi }) as Record<string, number>;
          for (const name of Object.keys(values)) expect(read[name], name).to.equal(values[name]);
          expect(memory[0], 'the word before').to.equal(-1);
          expect(memory[memory.length - 1], 'the word after').to.equal(-1);
        },
      ),
    );
  });

  it('writes each word once by set, without reading any, and zero into the holes', () => {
    const s = struct('s', { a: u8, b: u32, c: u8, d: u16, e: u64, f: i16 });
    const words = new Int32Array(8).fill(-1);
    const { memory, reads, writes } = counted(words);
    const cursor = draft(s, memory);
    cursor.set({ a: 0x1ff, b: 0x89abcdef, c: 3, d: 4, e: 2 ** 40 + 5, f: -1 });
    expect(writes).to.deep.equal([1, 1, 1, 1, 1, 1, 1, 1]);
    expect(reads).to.deep.equal([0, 0, 0, 0, 0, 0, 0, 0]);
    expect([...words].map((word) => word >>> 0)).to.deep.equal([0xff, 0x89abcdef, 0x00040003, 0, 5, 2 ** 8, 0xffff, 0]);
  });

  it('refuses to write what a 64-bit member cannot hold exactly', () => {
    const cursor = draft(struct('s', { a: u64 }), new Int32Array(2));
    for (const value of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => cursor.set({ a: value }), `${value}`).to.throw(RangeError);
      expect(() => {
        cursor.a = value;
      }, `${value}`).to.throw(RangeError);
    }
  });

  it('reads 2^53 and more as Infinity, which no limit lets pass', () => {
    const cursor = view(struct('s', { a: u64 }), new Int32Array([0, 2 ** 21]));
    expect(cursor.a).to.equal(Number.POSITIVE_INFINITY);
    expect(view(struct('s', { a: u64 }), new Int32Array([-1, 2 ** 21 - 1])).a).to.equal(Number.MAX_SAFE_INTEGER);
  });

  it('hands an opaque member on as two words', () => {
    const s = struct('s', { a: u8, id: opaque64 });
    const from = new Int32Array([0, 0, -1, -2]);
    const to = new Int32Array(4);
    draft(s, to).set({ a: 7, id: view(s, from).id });
    expect([...to]).to.deep.equal([7, 0, -1, -2]);
    draft(s, to).id.set({ lo: 1, hi: 2 });
    expect([...to]).to.deep.equal([7, 0, 1, 2]);
  });

  it('reads no element beyond the count, nor beyond the array whatever the count says', () => {
    const s = struct('s', { n: u8, refs: array(grantRef, 3, { count: 'n' }) });
    const memory = new Int32Array([2, 10, 11, 12]);
    const { refs } = view(s, memory);
    expect([refs.length, refs.at(0), refs.at(1)]).to.deep.equal([2, 10, 11]);
    expect(() => refs.at(2)).to.throw(RangeError, 's.refs[2] is beyond its 2 elements');
    expect(() => refs.at(-1)).to.throw(RangeError);
    memory[0] = 255;
    expect(view(s, memory).refs.length).to.equal(3);
    expect(() => view(s, memory).refs.at(3)).to.throw(RangeError);
  });

  it('reads and writes arrays of narrow numbers wherever they begin', () => {
    const s = struct('s', { type: u8, flags: u8, addr: array(u8, 6), words: array(i16, 3) });
    const memory = new Int32Array(4).fill(-1);
    const written = draft(s, memory);
    for (let i = 0; i < 6; i++) written.addr.set(i, i + 1);
    for (let i = 0; i < 3; i++) written.words.set(i, -i);
    expect([...new Uint8Array(memory.buffer)].slice(0, 14)).to.deep.equal([
      255, 255, 1, 2, 3, 4, 5, 6, 0, 0, 255, 255, 254, 255,
    ]);
    const read = view(s, memory);
    expect(Array.from({ length: 6 }, (_, i) => read.addr.at(i))).to.deep.equal([1, 2, 3, 4, 5, 6]);
    expect(Array.from({ length: 3 }, (_, i) => read.words.at(i))).to.deep.equal([0, -1, -2]);
    expect(read.type).to.equal(255);
  });

  it('leaves the arrays and unions alone when set writes the rest', () => {
    const s = struct('s', {
      type: u8,
      flags: u8,
      u: overlay('u', { a: struct('a', { x: u16 }), b: struct('b', { y: array(u8, 6) }) }),
    });
    const memory = new Int32Array([0x11223344, 0x55667788]);
    draft(s, memory).set({ type: 1, flags: 2 });
    expect([...memory]).to.deep.equal([0x11220201, 0x55667788]);
    draft(s, memory).u.a.set({ x: 0xabcd });
    expect([...memory].map((word) => word >>> 0)).to.deep.equal([0xabcd0201, 0x55667788]);
    expect(view(s, memory).u.b.y.at(0)).to.equal(0xcd);
  });

  it('reads and writes nested structs, by member and whole', () => {
    const half = struct('half', { cons: u32, prod: u16 });
    const s = struct('s', { left: half, right: half });
    const memory = new Int32Array(4).fill(-1);
    draft(s, memory).set({ left: { cons: 1, prod: 2 }, right: { cons: 3, prod: 4 } });
    expect([...memory]).to.deep.equal([1, 2, 3, 4]);
    draft(s, memory).right.prod = 9;
    expect(view(s, memory).right.prod).to.equal(9);
  });
});
