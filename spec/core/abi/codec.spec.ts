import { expect } from 'chai';
import fc from 'fast-check';
import { BackRing } from '../../../core/abi/back-ring.js';
import { FrontRing } from '../../../core/abi/front-ring.js';
import { type Abi, abis } from '../../../core/abi/layout.js';
import { sring } from '../../../core/abi/ring.js';
import { draft, layoutOf, view } from '../../../core/abi/struct.js';
import { WatchedWords } from '../../support/watched-words.js';
import {
  anyMessage,
  declared,
  decoded,
  meant,
  placed,
  type Shapes,
  tamed,
  type Value,
  type Values,
} from './any-message.js';

/** A cursor or a copy of a message of any make. */
type Any = { readonly [member: string]: Any } & {
  set(first: unknown, value?: unknown): void;
  at(i: number): Any;
  readonly length: number;
};

const POISON = 0xa5;
const SLOT = 4 * sring.entries;
const abi = fc.constantFrom(...abis);
/** Each run makes classes of its own. */
const runs = { numRuns: 40 };

/** Writes a message by `set` and by the elements of its arrays that count. */
const write = (to: Any, shapes: Shapes, values: Values, hidden?: string): void => {
  const plain = Object.entries(values).filter(([name]) => shapes[name]?.is !== 'array' && name !== hidden);
  to.set(Object.fromEntries(plain));
  for (const [name, value] of Object.entries(values)) {
    const shape = shapes[name];
    if (shape?.is !== 'array' || !Array.isArray(value)) continue;
    const list = to[name] as Any;
    for (const [i, element] of (value as Value[]).entries()) {
      if (shape.of.is === 'struct') list.at(i).set(element);
      else list.set(i, element);
    }
  }
};

/** Reads a message as plain values, and that there is nothing beyond what counts. */
const read = (from: Any, shapes: Shapes, hidden?: string): Values => {
  const one = (shape: Shapes[string], value: Any): Value => {
    if (shape.is === 'number') return value as unknown as number;
    if (shape.is === 'opaque') return { lo: value.lo as unknown as number, hi: value.hi as unknown as number };
    if (shape.is === 'struct') return read(value, shape.members);
    if (shape.is === 'padding') throw new Error('padding has no value');
    expect(() => value.at(value.length)).to.throw(RangeError);
    return Array.from({ length: value.length }, (_, i) => one(shape.of, value.at(i)));
  };
  const seen = Object.entries(shapes).filter(([name, shape]) => shape.is !== 'padding' && name !== hidden);
  return Object.fromEntries(seen.map(([name, shape]) => [name, one(shape, from[name] as Any)]));
};

const without = (values: Values, hidden: string | undefined): Values =>
  Object.fromEntries(Object.entries(values).filter(([name]) => name !== hidden));
/** Bytes that a seed stands for (mulberry32). */
const random = (seed: number, length: number): Uint8Array => {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (state + 0x6d2b79f5) | 0;
    const mixed = Math.imul(state ^ (state >>> 15), state | 1);
    return (mixed ^ (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61))) >>> 14;
  });
};
const viewOf = (words: Uint8Array): DataView => new DataView(words.buffer, words.byteOffset);

/** A ring of one kind of message both ways, over memory that is watched and full of poison. */
const ringOf = (shapes: Shapes, of: Abi) => {
  const message = declared('message', shapes);
  const hidden = 'id' in shapes ? 'id' : undefined;
  const format = { request: message, response: message, ...(hidden === undefined ? {} : { id: hidden }) };
  const watched = new WatchedWords(new Int32Array(new SharedArrayBuffer(SLOT + 2 * placed(shapes, of).size)));
  const { front, back } = watched.run(() => ({
    front: new FrontRing(watched.words, format, { abi: of }),
    back: new BackRing(watched.words, format, { abi: of }),
  }));
  const slot = new Uint8Array(watched.memory.buffer, SLOT, placed(shapes, of).size);
  slot.fill(POISON);
  watched.forget();
  return { watched, front, back, slot, hidden };
};

/** That each word was accessed at most as often, and each word of the message that must be at least once. */
const accesses = (watched: WatchedWords, reads: number, writes: number): void => {
  expect(Math.max(...watched.reads), 'reads of a word').to.be.at.most(reads);
  expect(Math.max(...watched.writes), 'writes of a word').to.be.at.most(writes);
  watched.forget();
};

/** The bytes of a slot against those of a message; the elements that do not count are nobody's business. */
const holds = (slot: Uint8Array, message: Uint8Array, shapes: Shapes, of: Abi): void => {
  const { count } = decoded(shapes, of, viewOf(message));
  const meaning = meant(shapes, of, count as number);
  expect([...slot].map((byte, i) => (meaning[i] === 'uncounted' ? '*' : byte))).to.eql(
    [...message].map((byte, i) => (meaning[i] === 'uncounted' ? '*' : byte)),
  );
};

describe('a message of any make', () => {
  it('lies as a C compiler lays it out, in every ABI', () => {
    fc.assert(
      fc.property(anyMessage, abi, (shapes, of) => {
        const { size, align, at } = placed(shapes, of);
        const layout = layoutOf(declared('message', shapes), of);
        expect([layout.size, layout.align]).to.eql([size, align]);
        for (const [name, offset] of Object.entries(at))
          if (shapes[name]?.is !== 'padding') expect(layout.offsets[name], name).to.equal(offset);
      }),
      runs,
    );
  });

  it('is written to a slot with each word once, none read back, holes zero, and read back the same, both ways', () => {
    fc.assert(
      fc.property(anyMessage, abi, fc.integer(), fc.nat(0xffff), (shapes, of, seed, id) => {
        const { watched, front, back, slot, hidden } = ringOf(shapes, of);
        const sent = tamed(shapes, of, random(seed, placed(shapes, of).size));
        const values = decoded(shapes, of, viewOf(sent));
        if (hidden !== undefined) {
          const { is } = shapes.id as Shapes[string];
          const at = placed(shapes, of).at.id ?? 0;
          if (is === 'opaque') viewOf(sent).setBigUint64(at, BigInt(id), true);
          else if (shapes.id?.is === 'number' && shapes.id.kind === 'u32') viewOf(sent).setUint32(at, id, true);
          else viewOf(sent).setUint16(at, id, true);
        }
        const own = without(values, hidden);
        watched.run(() => {
          write(front.slot(id) as unknown as Any, shapes, values, hidden);
          front.put();
          accesses(watched, 0, 1);
          front.push();
          holds(slot, sent, shapes, of);

          expect(back.unconsumed()).to.equal(1);
          const exchange = back.take();
          accesses(watched, 1, 0);
          expect(read(exchange.request as unknown as Any, shapes, hidden)).to.eql(own);

          slot.fill(POISON);
          write(exchange.response as unknown as Any, shapes, values, hidden);
          back.put(exchange);
          accesses(watched, 0, 1);
          back.push();
          holds(slot, sent, shapes, of);

          expect(front.unconsumed()).to.equal(1);
          expect(read(front.take() as unknown as Any, shapes, hidden)).to.eql(own);
          accesses(watched, 1, 0);
        });
      }),
      runs,
    );
  });

  it('is read from whatever bytes a peer wrote as they were at its only look, however they change (XSA-155)', () => {
    fc.assert(
      fc.property(anyMessage, abi, fc.integer(), (shapes, of, seed) => {
        const { watched, back, slot, hidden } = ringOf(shapes, of);
        slot.set(random(seed, slot.length));
        const expected = without(decoded(shapes, of, viewOf(slot)), hidden);
        const taken = slot.slice();
        watched.onRead = (word) => {
          watched.memory[word] = ~(watched.memory[word] as number);
        };
        watched.run(() => {
          Atomics.store(watched.words, sring.reqProd, 1);
          const exchange = back.take();
          accesses(watched, 1, 0);
          slot.fill(POISON);
          expect(read(exchange.request as unknown as Any, shapes, hidden)).to.eql(expected);
          expect(watched.reads.every((count) => count === 0)).to.equal(true);

          back.put(exchange);
          if (hidden === undefined) return;
          const at = placed(shapes, of).at.id ?? 0;
          const length =
            shapes.id?.is === 'opaque' ? 8 : shapes.id?.is === 'number' && shapes.id.kind === 'u32' ? 4 : 2;
          expect([...slot.subarray(at, at + length)], 'the id').to.eql([...taken.subarray(at, at + length)]);
        });
      }),
      runs,
    );
  });

  it('in memory is written and read in place the same', () => {
    fc.assert(
      fc.property(anyMessage, abi, fc.integer(), (shapes, of, seed) => {
        const message = declared('message', shapes);
        const sent = tamed(shapes, of, random(seed, placed(shapes, of).size));
        const values = decoded(shapes, of, viewOf(sent));
        const words = new Int32Array(sent.length / 4 + 2).fill(-1);
        const place = { word: 1, abi: of };
        write(draft(message, words, place) as unknown as Any, shapes, values);
        holds(new Uint8Array(words.buffer, 4, sent.length), sent, shapes, of);
        expect([words[0], words[words.length - 1]]).to.eql([-1, -1]);
        expect(read(view(message, words, place) as unknown as Any, shapes)).to.eql(values);
      }),
      runs,
    );
  });
});
