/** A piece of a WebAssembly binary. */
export type Bytes = readonly number[];

/** The type i32. */
export const i32 = 0x7f;
const memarg = (offset: number): Bytes => [2, ...leb128(offset)];

/** An unsigned number. */
export const leb128 = (value: number): Bytes =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb128(value >>> 7)];
const signedLeb128 = (value: number): Bytes =>
  value >= -64 && value < 64 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signedLeb128(value >> 7)];

/** The instructions that our Xen's code uses, by their names in the text format. Loads and stores are of aligned words. */
export const wasm = {
  localGet: (local: number): Bytes => [0x20, local],
  localSet: (local: number): Bytes => [0x21, local],
  localTee: (local: number): Bytes => [0x22, local],
  i32Const: (value: number): Bytes => [0x41, ...signedLeb128(value | 0)],
  i32Load: (offset = 0): Bytes => [0x28, ...memarg(offset)],
  i32AtomicLoad: (offset = 0): Bytes => [0xfe, 0x10, ...memarg(offset)],
  i32AtomicRmwAnd: [0xfe, 0x2c, 2, 0] as Bytes,
  i32AtomicRmwCmpxchg: [0xfe, 0x48, 2, 0] as Bytes,
  memoryCopy: [0xfc, 10, 0, 0] as Bytes,
  memoryFill: [0xfc, 11, 0] as Bytes,
  eqz: [0x45] as Bytes,
  ne: [0x47] as Bytes,
  gtU: [0x4b] as Bytes,
  geU: [0x4f] as Bytes,
  add: [0x6a] as Bytes,
  sub: [0x6b] as Bytes,
  and: [0x71] as Bytes,
  or: [0x72] as Bytes,
  shl: [0x74] as Bytes,
  shrU: [0x76] as Bytes,
  drop: [0x1a] as Bytes,
  /** What is in it is left by `br_if 0`. */
  block: (...body: readonly Bytes[]): Bytes => [0x02, 0x40, ...body.flat(), 0x0b],
  brIf: (depth: number): Bytes => [0x0d, depth],
  /** Runs `then` if the top of the stack is not 0, else `other`. */
  ifElse: (then: readonly Bytes[], other: readonly Bytes[]): Bytes => [
    0x04,
    0x40,
    ...then.flat(),
    0x05,
    ...other.flat(),
    0x0b,
  ],
} as const;

/** A function that a module exports; its parameters and its result are i32, its locals come after the parameters. */
export interface Code {
  readonly name: string;
  readonly params: number;
  readonly results: 0 | 1;
  readonly locals: number;
  readonly body: readonly Bytes[];
}

const section = (id: number, ...body: readonly Bytes[]): Bytes => {
  const bytes = body.flat();
  return [id, ...leb128(bytes.length), ...bytes];
};
const text = (chars: string): Bytes => [chars.length, ...[...chars].map((c) => c.charCodeAt(0))];
const vector = (items: readonly Bytes[]): Bytes => [...leb128(items.length), ...items.flat()];

/** A module of functions over the shared memory `xen.memory` of `bytes` bytes. */
export const moduleOf = (bytes: number, functions: readonly Code[]): Uint8Array<ArrayBuffer> => {
  const pages = leb128(bytes / 65536);
  const types = functions.map(({ params, results }) => [
    0x60,
    ...vector(new Array<Bytes>(params).fill([i32])),
    ...vector(new Array<Bytes>(results).fill([i32])),
  ]);
  const bodies = functions.map(({ locals, body }) => {
    const code = [...vector(locals === 0 ? [] : [[...leb128(locals), i32]]), ...body.flat(), 0x0b];
    return [...leb128(code.length), ...code];
  });
  return new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(types)),
    ...section(2, vector([[...text('xen'), ...text('memory'), 2, 3, ...pages, ...pages]])),
    ...section(3, vector(functions.map((_, i) => leb128(i)))),
    ...section(7, vector(functions.map(({ name }, i) => [...text(name), 0, ...leb128(i)]))),
    ...section(10, vector(bodies)),
  ]);
};
