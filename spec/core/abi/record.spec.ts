import { expect } from 'chai';
import fc from 'fast-check';
import { codecFor } from '../../../core/abi/codec.js';
import type { RecordDraft, RecordView } from '../../../core/abi/message.js';
import {
  type Abi,
  array,
  type Draft,
  type GrantRef,
  layoutOf,
  opaque64,
  overlay,
  padding,
  type Sector,
  type Struct,
  struct,
  u8,
  u16,
  u32,
  u64,
  type View,
} from '../../../core/index.js';
import { blkifRequest, blkifResponse } from '../../../drivers/blk/wire.js';
import { netifExtraInfo, netifTxRequest } from '../../../drivers/net/wire.js';

const view = <S extends Struct, Id extends string = never>(
  of: S,
  abi: Abi = 'x86_64-abi',
  id?: Id,
): View<S, Id> & RecordView => new (codecFor(of, abi, id).View)() as View<S, Id> & RecordView;
const draft = <S extends Struct, Id extends string = never>(
  of: S,
  abi: Abi = 'x86_64-abi',
  id?: Id,
): Draft<S, Id> & RecordDraft => new (codecFor(of, abi, id).Draft)() as unknown as Draft<S, Id> & RecordDraft;

/** Words that count how often each is read, and that change after each read: what a hostile peer does. */
const restless = (words: Int32Array): { memory: Int32Array; reads: Map<number, number> } => {
  const reads = new Map<number, number>();
  const memory = new Proxy(words, {
    get: (target, key) => {
      const index = Number(String(key));
      const value = Reflect.get(target, key, target) as unknown;
      if (Number.isInteger(index)) {
        reads.set(index, (reads.get(index) ?? 0) + 1);
        target[index] = ~(target[index] ?? 0);
      }
      return value;
    },
  });
  return { memory, reads };
};

describe('the private copy of a message', () => {
  it('reads each word once, and none that does not count (XSA-155)', () => {
    const words = new Int32Array(40);
    words[4] = 0x0000_0200; // read, two segments
    words.set([10, 0x700, 11, 0x700, 12], 10);
    const { memory, reads } = restless(words);
    const copy = view(blkifRequest, 'x86_64-abi', 'id');
    copy.$load(memory, 4);
    expect([...reads.keys()].sort((a, b) => a - b)).to.deep.equal([4, 6, 7, 8, 9, 10, 11, 12, 13]);
    expect([...reads.values()].every((n) => n === 1)).to.equal(true);
    expect(copy.rw.seg.length).to.equal(2);
    expect([copy.rw.seg.at(1).gref, copy.rw.seg.at(1).last_sect]).to.deep.equal([11, 7]);
  });

  it('does not change when the peer changes the slot afterwards (XSA-155)', () => {
    const words = new Int32Array(28);
    words.set([0x0000_0100, 0, 5, 6, 77, 0, 9, 0x700]);
    const copy = view(blkifRequest, 'x86_64-abi', 'id');
    copy.$load(words, 0);
    words.fill(-1);
    expect([copy.operation, copy.rw.nr_segments, copy.rw.sector_number, copy.rw.seg.at(0).gref]).to.deep.equal([
      0, 1, 77, 9,
    ]);
    expect([copy.$lo, copy.$hi]).to.deep.equal([5, 6]);
  });

  it('holds the variant that the message is, and no other', () => {
    const words = new Int32Array(28);
    const copy = view(blkifRequest);
    words[0] = 5;
    words.set([100, 0, 200, 0], 4);
    copy.$load(words, 0);
    expect([copy.discard.sector_number, copy.discard.nr_sectors]).to.deep.equal([100, 200]);
    expect(() => copy.rw).to.throw(TypeError, 'blkif_request.rw is not what this message holds');
    words[0] = 6 | (40 << 16);
    copy.$load(words, 0);
    expect(copy.indirect.nr_segments).to.equal(40);
    expect(() => copy.discard).to.throw(TypeError);
    words[0] = 77;
    copy.$load(words, 0);
    expect(copy.rw.operation).to.equal(77);
  });

  it('never takes more elements than the array has, whatever the count', () => {
    const words = new Int32Array(28).fill(7);
    const copy = view(blkifRequest);
    for (const count of [11, 12, 127, 128, 255]) {
      words[0] = count << 8;
      copy.$load(words, 0);
      expect(copy.rw.nr_segments).to.equal(count);
      expect(copy.rw.seg.length).to.equal(11);
      expect(() => copy.rw.seg.at(11)).to.throw(RangeError);
    }
  });

  it('forgets the elements of the message before', () => {
    const words = new Int32Array(28);
    const copy = view(blkifRequest);
    words[0] = 3 << 8;
    copy.$load(words, 0);
    words[0] = 1 << 8;
    copy.$load(words, 0);
    expect(() => copy.rw.seg.at(1)).to.throw(RangeError);
  });

  it('reads a pairing member that shares its word with another', () => {
    const copy = view(netifTxRequest, 'x86_64-abi', 'id');
    const { memory, reads } = restless(new Int32Array([8, 0x0001_0010, (1500 << 16) | 0xfffe]));
    copy.$load(memory, 0);
    expect([copy.$lo, copy.$hi, copy.size, copy.flags, copy.gref]).to.deep.equal([0xfffe, 0, 1500, 1, 8]);
    expect([...reads.values()]).to.deep.equal([1, 1, 1]);
  });

  it('reads messages of any other make too: unions inside, arrays at odd places', () => {
    const copy = view(netifExtraInfo);
    const words = new Int32Array([0x22110102, 0x66554433]);
    copy.$load(words, 0);
    words.fill(0);
    expect(copy.type).to.equal(2);
    expect(Array.from({ length: 6 }, (_, i) => copy.u.mcast.addr.at(i))).to.deep.equal([
      0x11, 0x22, 0x33, 0x44, 0x55, 0x66,
    ]);
    expect(copy.u.gso.size).to.equal(0x2211);
  });
});

describe('the private draft of a message', () => {
  const poison = (n: number): Int32Array => new Int32Array(n).fill(0xa5a5a5a5 | 0);

  it('goes out with zero in every hole (XSA-216)', () => {
    for (const [abi, words] of [
      ['x86_64-abi', 4],
      ['x86_32-abi', 3],
    ] as const) {
      const response = draft(blkifResponse, abi, 'id');
      const memory = poison(6);
      response.operation = 1;
      response.status = -1;
      response.$store(memory, 1, 0x11, 0x22);
      expect([...memory].map((word) => word >>> 0)).to.deep.equal(
        [0xa5a5a5a5, 0x11, 0x22, 0xffff0001, ...(words === 4 ? [0] : []), 0xa5a5a5a5, 0xa5a5a5a5].slice(0, 6),
      );
    }
  });

  it('is all zero again after it went out', () => {
    const s = struct('s', { id: u16, a: u16, n: u8, b: u8, list: array(u32, 4, { count: 'n' }), wide: u64 });
    const written = draft(s, 'x86_64-abi', 'id');
    written.set({ a: 1, n: 2, b: 3, wide: 2 ** 33 });
    for (let i = 0; i < 4; i++) written.list.set(i, 9);
    written.$store(new Int32Array(8), 0, 5, 0);
    const memory = poison(8);
    written.n = 4;
    written.$store(memory, 0, 6, 0);
    expect([...memory]).to.deep.equal([6, 4, 0, 0, 0, 0, 0, 0]);
  });

  it('writes only the elements that count', () => {
    const request = draft(blkifRequest, 'x86_64-abi', 'id');
    request.rw.set({ operation: 0, nr_segments: 1, handle: 51712, sector_number: 8 as Sector });
    request.rw.seg.at(0).set({ gref: 9 as GrantRef, first_sect: 0, last_sect: 7 });
    request.rw.seg.at(1).gref = 10 as GrantRef;
    const memory = poison(28);
    request.$store(memory, 0, 3, 0);
    expect([...memory.slice(0, 8)]).to.deep.equal([(51712 << 16) | 0x100, 0, 3, 0, 8, 0, 9, 0x700]);
    expect([...memory.slice(8)].every((word) => word === (0xa5a5a5a5 | 0))).to.equal(true);
  });

  it('of a union goes out as the variant that was written, shared members and all', () => {
    const request = draft(blkifRequest, 'x86_32-abi', 'id');
    request.operation = 5;
    request.discard.nr_sectors = 16;
    const memory = poison(27);
    request.$store(memory, 0, 1, 0);
    expect([...memory.slice(0, 7)]).to.deep.equal([5, 1, 0, 0, 0, 16, 0]);
    request.$store(memory, 0, 2, 0);
    expect(memory[0], 'the draft was blank again').to.equal(0);
  });

  it('reads back what was written, on both ABIs, for messages of any make (property)', () => {
    const pair = struct('pair', { x: u32, y: u16, z: u16 });
    const inner = struct('inner', { p: u16, q: u32 });
    const plain = struct('plain', { id: opaque64, a: u8, n: u8, b: u16, list: array(pair, 3, { count: 'n' }), c: u64 });
    const odd = struct('odd', { a: u8, id: u16, nested: inner, tail: array(u16, 3), c: u64, pad: padding(4), n: u32 });
    fc.assert(
      fc.property(
        fc.constantFrom('x86_64-abi' as const, 'x86_32-abi' as const),
        fc.record({
          a: fc.nat(255),
          b: fc.nat(65535),
          c: fc.nat(2 ** 53 - 1),
          n: fc.nat(3),
          p: fc.nat(65535),
          q: fc.nat(2 ** 32 - 1),
        }),
        fc.array(fc.nat(65535), { minLength: 3, maxLength: 3 }),
        fc.nat(65535),
        (abi, { a, b, c, n, p, q }, list, id) => {
          const memory = poison(20);
          const out = draft(plain, abi, 'id');
          out.set({ a, n, b, c });
          for (const [i, y] of list.entries()) out.list.at(i).set({ x: q, y, z: 1 });
          out.$store(memory, 2, id, -id);
          const back = view(plain, abi, 'id');
          back.$load(memory, 2);
          expect([back.a, back.n, back.b, back.c, back.$lo, back.$hi]).to.deep.equal([a, n, b, c, id, -id | 0]);
          for (let i = 0; i < n; i++)
            expect([back.list.at(i).x, back.list.at(i).y, back.list.at(i).z]).to.deep.equal([q, list[i], 1]);

          const words = layoutOf(odd, abi).size / 4;
          const oddMemory = poison(20);
          const oddOut = draft(odd, abi, 'id');
          oddOut.set({ a, nested: { p, q }, c, n });
          for (const [i, value] of list.entries()) oddOut.tail.set(i, value);
          oddOut.$store(oddMemory, 2, id, 0);
          const oddBack = view(odd, abi, 'id');
          oddBack.$load(oddMemory, 2);
          expect([oddBack.a, oddBack.nested.p, oddBack.nested.q, oddBack.c, oddBack.n]).to.deep.equal([a, p, q, c, n]);
          expect([oddBack.$lo, ...list.map((_, i) => oddBack.tail.at(i))]).to.deep.equal([id, ...list]);
          expect(oddMemory[1], 'the word before').to.equal(0xa5a5a5a5 | 0);
          expect(oddMemory[2 + words], 'the word after').to.equal(0xa5a5a5a5 | 0);
        },
      ),
    );
  });

  it('cannot be paired by what is no unsigned number', () => {
    const s = struct('s', { a: u32, list: array(u32, 2) });
    expect(() => codecFor(s, 'x86_64-abi', 'list')).to.throw(TypeError, 's.list cannot pair');
    expect(() => codecFor(s, 'x86_64-abi', 'b')).to.throw(TypeError, 's.b cannot pair');
    expect(() => codecFor(struct('t', { a: u8 }), 'x86_64-abi')).to.throw(TypeError, 'no whole words');
  });

  it('needs a way to tell the variant to be held apart, and is read whole without', () => {
    const o = overlay(
      'o',
      { x: struct('x', { tag: u32, a: u32 }), y: struct('y', { tag: u32, b: u16, c: u16 }) },
      { shared: ['tag'] },
    );
    const copy = view(o);
    copy.$load(new Int32Array([1, 0x00020001]), 0);
    expect([copy.x.a, copy.y.b, copy.y.c]).to.deep.equal([0x00020001, 1, 2]);
  });
});
