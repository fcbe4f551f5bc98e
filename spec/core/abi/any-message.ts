import fc from 'fast-check';
import {
  array,
  type Field,
  type Fields,
  i8,
  i16,
  i32,
  opaque64,
  padding,
  type Scalar,
  type ScalarKind,
  u8,
  u16,
  u32,
  u64,
} from '../../../core/abi/fields.js';
import type { Abi } from '../../../core/abi/layout.js';
import { type Struct, struct } from '../../../core/abi/struct.js';

/** A member of a message of any make. */
export type Shape =
  | { readonly is: 'number'; readonly kind: ScalarKind }
  | { readonly is: 'opaque' }
  | { readonly is: 'padding'; readonly bytes: number }
  | { readonly is: 'struct'; readonly members: Shapes }
  | { readonly is: 'array'; readonly of: Shape; readonly length: number; readonly count?: string };
/** Members by their names. */
export type Shapes = Readonly<Record<string, Shape>>;
/** What a message holds: numbers, opaque words, arrays of what counts, structs. */
export type Value = number | { readonly lo: number; readonly hi: number } | readonly Value[] | Values;
/** Values by the names of their members, which padding has none of. */
export interface Values {
  readonly [member: string]: Value;
}

const scalars: Readonly<Record<ScalarKind, Scalar>> = { u8, i8, u16, i16, u32, i32, u64 };
const kinds = Object.keys(scalars) as ScalarKind[];
const narrow = kinds.filter((kind) => kind !== 'u64');
const bytesOf = (kind: ScalarKind): number => Number(kind.slice(1)) / 8;

const named = (members: readonly Shape[], prefix = 'm'): Shapes =>
  Object.fromEntries(members.map((member, i) => [`${prefix}${i}`, member]));
const number = (kind: ScalarKind): Shape => ({ is: 'number', kind });

const simple: fc.Arbitrary<Shape> = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...kinds).map(number) },
  { weight: 1, arbitrary: fc.constant<Shape>({ is: 'opaque' }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 5 }).map((bytes): Shape => ({ is: 'padding', bytes })) },
);
const inner = fc.array(simple, { minLength: 1, maxLength: 4 });
/** Elements of whole words. */
const element = inner.map((members): Shape => ({ is: 'struct', members: { ...named(members), last: number('u32') } }));
const arrays = fc.record({
  is: fc.constant('array' as const),
  of: fc.oneof(fc.constantFrom(...narrow).map(number), element),
  length: fc.integer({ min: 1, max: 5 }),
});
const member: fc.Arbitrary<Shape> = fc.oneof(
  { weight: 6, arbitrary: simple },
  { weight: 1, arbitrary: inner.map((members): Shape => ({ is: 'struct', members: named(members) })) },
  { weight: 2, arbitrary: arrays },
  { weight: 2, arbitrary: arrays.map((shape): Shape => ({ ...shape, count: 'count' })) },
);

/** Messages of whole words, of members of all kinds in any order, with or without an `id` among them. */
export const anyMessage: fc.Arbitrary<Shapes> = fc
  .record({
    members: fc.array(member, { maxLength: 8 }),
    id: fc.constantFrom<Shape | undefined>(undefined, number('u16'), number('u32'), { is: 'opaque' }),
    idAt: fc.nat(8),
    count: fc.constantFrom<ScalarKind>('u8', 'u16', 'u32', 'i8'),
    countAt: fc.nat(8),
  })
  .map(({ members, id, idAt, count, countAt }) => {
    const entries = Object.entries(named(members));
    entries.splice(countAt, 0, ['count', number(count)]);
    if (id !== undefined) entries.splice(idAt, 0, ['id', id]);
    return { ...Object.fromEntries(entries), tail: number('u32') };
  });

const field = (shape: Shape): Field => {
  switch (shape.is) {
    case 'number':
      return scalars[shape.kind];
    case 'opaque':
      return opaque64;
    case 'padding':
      return padding(shape.bytes);
    case 'struct':
      return declared('inner', shape.members);
    case 'array':
      return array(
        field(shape.of) as Scalar | Struct,
        shape.length,
        shape.count === undefined ? {} : { count: shape.count },
      );
  }
};

/** The struct() of a message. */
export const declared = (name: string, shapes: Shapes): Struct<Fields, 'struct'> =>
  struct(name, Object.fromEntries(Object.entries(shapes).map(([member, shape]) => [member, field(shape)])));

/** Size and alignment as a C compiler has them. */
const measured = (shape: Shape, abi: Abi): { readonly size: number; readonly align: number } => {
  const widest = abi === 'x86_32-abi' ? 4 : 8;
  switch (shape.is) {
    case 'number':
      return { size: bytesOf(shape.kind), align: Math.min(bytesOf(shape.kind), widest) };
    case 'opaque':
      return { size: 8, align: widest };
    case 'padding':
      return { size: shape.bytes, align: 1 };
    case 'struct':
      return placed(shape.members, abi);
    case 'array': {
      const { size, align } = measured(shape.of, abi);
      return { size: size * shape.length, align };
    }
  }
};

/** Where a C compiler puts the members of a struct. */
export const placed = (
  shapes: Shapes,
  abi: Abi,
): { readonly size: number; readonly align: number; readonly at: Readonly<Record<string, number>> } => {
  const at: Record<string, number> = {};
  let end = 0;
  let widest = 1;
  for (const [name, shape] of Object.entries(shapes)) {
    const { size, align } = measured(shape, abi);
    while (end % align !== 0) end++;
    at[name] = end;
    end += size;
    widest = Math.max(widest, align);
  }
  while (end % widest !== 0) end++;
  return { size: end, align: widest, at };
};

const decodedNumber = (kind: ScalarKind, from: DataView, at: number): number => {
  switch (kind) {
    case 'u8':
      return from.getUint8(at);
    case 'i8':
      return from.getInt8(at);
    case 'u16':
      return from.getUint16(at, true);
    case 'i16':
      return from.getInt16(at, true);
    case 'u32':
      return from.getUint32(at, true);
    case 'i32':
      return from.getInt32(at, true);
    case 'u64': {
      const value = from.getBigUint64(at, true);
      return value < 2n ** 53n ? Number(value) : Number.POSITIVE_INFINITY;
    }
  }
};

/** What the bytes from `at` on mean; of an array that is counted, as many elements as its count says and it has. */
export const decoded = (shapes: Shapes, abi: Abi, from: DataView, at = 0): Values => {
  const { at: offsets } = placed(shapes, abi);
  const decode = (shape: Shape, begin: number): Value | undefined => {
    switch (shape.is) {
      case 'number':
        return decodedNumber(shape.kind, from, begin);
      case 'opaque':
        return { lo: from.getUint32(begin, true), hi: from.getUint32(begin + 4, true) };
      case 'padding':
        return undefined;
      case 'struct':
        return decoded(shape.members, abi, from, begin);
      case 'array': {
        const counter = shapes[shape.count ?? ''];
        const says =
          counter?.is === 'number'
            ? decodedNumber(counter.kind, from, at + (offsets[shape.count ?? ''] ?? 0))
            : shape.length;
        const count = says < 0 || says > shape.length ? shape.length : says;
        const { size } = measured(shape.of, abi);
        return Array.from({ length: count }, (_, i) => decode(shape.of, begin + i * size) as Value);
      }
    }
  };
  const all = Object.entries(shapes).map(([name, shape]) => [name, decode(shape, at + (offsets[name] ?? 0))] as const);
  return Object.fromEntries(all.filter((entry): entry is readonly [string, Value] => entry[1] !== undefined));
};

/** A number or an opaque member, where it lies in a message. */
interface Leaf {
  readonly shape: Shape;
  readonly at: number;
  readonly size: number;
  /** For what lies in an array that is counted, the number of its element. */
  readonly element: number | undefined;
}

function* leaves(shapes: Shapes, abi: Abi, base = 0, element?: number): Generator<Leaf> {
  for (const [name, offset] of Object.entries(placed(shapes, abi).at)) {
    const shape = shapes[name];
    if (shape !== undefined) yield* leavesOf(shape, abi, base + offset, element);
  }
}

function* leavesOf(shape: Shape, abi: Abi, at: number, element: number | undefined): Generator<Leaf> {
  const { size } = measured(shape, abi);
  if (shape.is === 'struct') yield* leaves(shape.members, abi, at, element);
  else if (shape.is === 'array') {
    for (let i = 0; i < shape.length; i++)
      yield* leavesOf(shape.of, abi, at + (i * size) / shape.length, shape.count === undefined ? element : i);
  } else if (shape.is !== 'padding') yield { shape, at, size, element };
}

/** Which bytes of a message carry something, which are holes, and which belong to elements that do not count. */
export type Meaning = 'something' | 'nothing' | 'uncounted';

/** What each byte of a message is for whose `count` says so many. */
export const meant = (shapes: Shapes, abi: Abi, count: number): readonly Meaning[] => {
  const bytes = Array.from({ length: placed(shapes, abi).size }, (): Meaning => 'nothing');
  const counted = count < 0 ? Number.POSITIVE_INFINITY : count;
  for (const [name, offset] of Object.entries(placed(shapes, abi).at)) {
    const shape = shapes[name];
    if (shape?.is !== 'array' || shape.count === undefined) continue;
    const { size } = measured(shape, abi);
    if (counted < shape.length) bytes.fill('uncounted', offset + (counted * size) / shape.length, offset + size);
  }
  for (const { at, size, element } of leaves(shapes, abi))
    if (element === undefined || element < counted) bytes.fill('something', at, at + size);
  return bytes;
};

/** Makes the bytes of a message of those of a dice: zero in holes, no 64-bit number of 2^53 or more. */
export const tamed = (shapes: Shapes, abi: Abi, bytes: Uint8Array): Uint8Array => {
  const made = new Uint8Array(placed(shapes, abi).size);
  for (const { shape, at, size } of leaves(shapes, abi)) {
    made.set(bytes.subarray(at, at + size), at);
    if (shape.is === 'number' && shape.kind === 'u64') made.set([(made[at + 6] as number) & 31, 0], at + 6);
  }
  return made;
};
