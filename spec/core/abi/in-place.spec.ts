import { expect } from 'chai';
import fc from 'fast-check';
import { array, i8, u8, u16, u32 } from '../../../core/abi/fields.js';
import { draft, struct, view } from '../../../core/abi/struct.js';
import { asGrantRef, asSector } from '../../../core/abi/units.js';
import { blkifRequest, blkifResponse, blkifSegment } from '../../../drivers/blk/wire.js';
import { netifExtraInfo } from '../../../drivers/net/wire.js';
import { WatchedWords } from '../../support/watched-words.js';

const POISON = 0xa5;
/** Memory that is full of what nobody wrote. */
const poisoned = (words = 32): Int32Array => new Int32Array(words).fill(POISON * 0x01010101);
const bytesOf = (words: Int32Array): Uint8Array => new Uint8Array(words.buffer);
const hex = (words: Int32Array, from: number, to: number): string =>
  Buffer.from(bytesOf(words).subarray(from, to)).toString('hex');

describe('set() of a cursor in memory', () => {
  const memory = () => {
    const watched = new WatchedWords(poisoned());
    return { watched, words: watched.words, memory: watched.memory };
  };

  it('writes each word once, reads none, and puts zero into the holes (XSA-216: 5 bytes of a blkif_response)', () => {
    const { watched, words, memory: bytes } = memory();
    draft(blkifResponse, words).set({ id: { lo: 0x44332211, hi: 0x88776655 }, operation: 0x99, status: -2 });
    expect(hex(bytes, 0, 20)).to.equal('11223344556677889900feff00000000a5a5a5a5');
    expect([...watched.writes.subarray(0, 5)]).to.eql([1, 1, 1, 1, 0]);
    expect([...watched.reads.subarray(0, 5)]).to.eql([0, 0, 0, 0, 0]);
  });

  it('has three hole bytes less for x86_32', () => {
    const { words, memory: bytes } = memory();
    draft(blkifResponse, words, { abi: 'x86_32-abi' }).set({ id: { lo: 1, hi: 2 }, operation: 3, status: -1 });
    expect(hex(bytes, 0, 16)).to.equal('01000000020000000300ffffa5a5a5a5');
  });

  it('leaves arrays alone, which are written by their elements', () => {
    const { watched, words, memory: bytes } = memory();
    const write = draft(blkifRequest, words).rw;
    write.set({ operation: 1, nr_segments: 2, handle: 51712, id: { lo: 7, hi: 0 }, sector_number: asSector(2 ** 33) });
    expect(hex(bytes, 0, 28)).to.equal('010200ca0000000007000000000000000000000002000000a5a5a5a5');
    write.seg.at(1).set({ gref: asGrantRef(9), first_sect: 1, last_sect: 7 });
    expect(hex(bytes, 24, 44)).to.equal('a5a5a5a5a5a5a5a50900000001070000a5a5a5a5');
    expect([...watched.writes.subarray(0, 11)]).to.eql([1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0]);
    expect([...watched.reads.subarray(0, 11)]).to.eql(Array.from({ length: 11 }, () => 0));
  });

  it('keeps the bytes of an array that shares a word with it', () => {
    const of = struct('s', { a: u8, bytes: array(u8, 2), b: u8 });
    const words = poisoned(1);
    draft(of, words).set({ a: 1, b: 2 });
    expect(hex(words, 0, 4)).to.equal('01a5a502');
  });

  it('takes values modulo their width, the neighbours unharmed', () => {
    const words = poisoned(1);
    draft(struct('s', { a: u8, b: i8, c: u16 }), words).set({ a: 0x1ff, b: -1, c: 0x12345 });
    expect(hex(words, 0, 4)).to.equal('ffff4523');
  });

  it('of a struct inside leaves its neighbours in the same word alone', () => {
    const of = struct('s', { before: u8, inner: struct('inner', { x: u8 }), after: u16, last: u32 });
    const words = poisoned(2);
    draft(of, words).inner.set({ x: 1 });
    expect(hex(words, 0, 8)).to.equal('a501a5a5a5a5a5a5');
  });

  it('writes a nested struct with its holes', () => {
    const pair = struct('pair', { x: u8, y: u16 });
    const of = struct('s', { first: u16, pair, last: u32 });
    const words = poisoned(3);
    draft(of, words).set({ first: 0x0201, pair: { x: 3, y: 0x0605 }, last: 7 });
    expect(hex(words, 0, 12)).to.equal('010203000506000007000000');
    expect(view(of, words).pair.y).to.equal(0x0605);
  });
});

describe('an array in memory', () => {
  const of = struct('s', { n: u32, list: array(u16, 6, { count: 'n' }) });

  it('lets two arrays be counted by one member, before or after them', () => {
    const of = struct('s', { a: array(u32, 4, { count: 'n' }), n: u32, b: array(u32, 4, { count: 'n' }) });
    const read = view(of, Int32Array.of(1, 2, 3, 4, 2, 5, 6, 7, 8));
    expect([read.a.length, read.b.length]).to.eql([2, 2]);
    expect([read.a.at(1), read.b.at(1)]).to.eql([2, 6]);
  });

  it('is as long as its count says, and reading beyond is a RangeError', () => {
    const words = Int32Array.of(3, 0x00020001, 0x00040003, 0x00060005);
    const { list } = view(of, words);
    expect(list.length).to.equal(3);
    expect([list.at(0), list.at(1), list.at(2)]).to.eql([1, 2, 3]);
    for (const i of [3, 5, 6, -1, 2 ** 31]) {
      expect(() => list.at(i)).to.throw(RangeError, `s.list[${i}] is beyond its 3 elements`);
    }
  });

  it('is never longer than it was declared, whatever a peer’s count says', () => {
    for (const count of [7, 255, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const { list } = view(of, Int32Array.of(count, 0, 0, 0x00060005));
      expect(list.length).to.equal(6);
      expect(list.at(5)).to.equal(6);
      expect(() => list.at(6)).to.throw(RangeError);
    }
    const signed = struct('s', { n: i8, list: array(u32, 6, { count: 'n' }) });
    expect(view(signed, Int32Array.of(-1, 0, 0, 0, 0, 0, 0)).list.length).to.equal(6);
  });

  it('that is written has room for all its elements', () => {
    const words = poisoned(4);
    const { list } = draft(of, words);
    expect(list.length).to.equal(6);
    for (let i = 0; i < 6; i++) list.set(i, 0x10001 * (i + 1));
    expect(hex(words, 0, 16)).to.equal('a5a5a5a5010002000300040005000600');
    expect(() => list.set(6, 1)).to.throw(RangeError, 's.list[6] is beyond its 6 elements');
    expect(() => list.at(-1)).to.throw(RangeError);
  });

  it('of structs hands out one cursor, pointed at the element asked for last', () => {
    const segments = struct('s', { seg: array(blkifSegment, 3) });
    const words = new Int32Array(6);
    const write = draft(segments, words).seg;
    const first = write.at(0);
    first.last_sect = 7;
    expect(write.at(2)).to.equal(first);
    first.last_sect = 3;
    expect([...words]).to.eql([0, 0x700, 0, 0, 0, 0x300]);
    const { seg } = view(segments, words);
    expect([seg.at(0).last_sect, seg.at(1).last_sect, seg.at(2).last_sect]).to.eql([7, 0, 3]);
  });

  it('of small numbers lies side by side, signs and all', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -128, max: 127 }), { minLength: 7, maxLength: 7 }), (values) => {
        const bytes = struct('s', { before: u16, list: array(i8, 7) });
        const words = poisoned(3);
        const write = draft(bytes, words);
        values.forEach((value, i) => {
          write.list.set(i, value);
        });
        expect([...new Int8Array(words.buffer, 2, 7)]).to.eql(values);
        expect(values.map((_, i) => view(bytes, words).list.at(i))).to.eql(values);
        expect([hex(words, 0, 2), hex(words, 9, 12)]).to.eql(['a5a5', 'a5a5a5']);
      }),
    );
  });
});

describe('a cursor in memory', () => {
  it('reads where it was told, in the ABI that it was told', () => {
    const words = new Int32Array(64);
    const at = { word: 20, abi: 'x86_32-abi' } as const;
    const { rw } = draft(blkifRequest, words, at);
    rw.sector_number = asSector(77);
    rw.seg.at(10).gref = asGrantRef(5);
    expect([words[20 + 3], words[20 + 5 + 20]]).to.eql([77, 5]);
    const read = view(blkifRequest, words, at);
    words[20] = 11 << 8;
    expect([read.rw.sector_number, read.rw.seg.at(10).gref]).to.eql([77, 5]);
  });

  it('takes members whose names a cursor could use for itself', () => {
    const names = { m: u8, w: u8, v: u8, e: u8, at: u8, length: u8, c_list: u32, list: array(u32, 2), lo: u8, hi: u8 };
    const words = poisoned();
    const write = draft(struct('s', names), words);
    const values = { m: 1, w: 2, v: 3, e: 4, at: 5, length: 6, c_list: 7, lo: 8, hi: 9 };
    write.set(values);
    write.list.set(0, 10);
    const read = view(struct('s', names), words);
    expect(Object.fromEntries(Object.keys(values).map((name) => [name, read[name as keyof typeof values]]))).to.eql(
      values,
    );
    expect(read.list.at(0)).to.equal(10);
  });

  it('inside a struct lies where C has it (netif_extra_info.u)', () => {
    const words = poisoned();
    const write = draft(netifExtraInfo, words);
    write.set({ type: 1, flags: 0 });
    write.u.gso.set({ size: 1448, type: 1, features: 0 });
    expect(hex(words, 0, 8)).to.equal('0100a80501000000');
    for (const [i, byte] of [2, 0, 0x5e, 0, 0, 1].entries()) write.u.mcast.addr.set(i, byte);
    expect(hex(words, 0, 10)).to.equal('010002005e000001a5a5');
    write.u.hash.set({ type: 3, algorithm: 1 });
    for (let i = 0; i < 4; i++) write.u.hash.value.set(i, 0x11 * (i + 1));
    expect(hex(words, 0, 8)).to.equal('0100030111223344');
    expect(view(netifExtraInfo, words).u.hash.value.at(3)).to.equal(0x44);
  });
});
