import type { Field, ScalarKind } from './fields.js';
import type { Struct } from './struct.js';

/** How a domain's compiler lays structs out, as the key `protocol` names it (protocols.h). Arm aligns as 64-bit x86 does. */
export type Abi = 'x86_64-abi' | 'x86_32-abi' | 'arm-abi';
/** All ABIs that a peer may announce. */
export const abis = ['x86_64-abi', 'x86_32-abi', 'arm-abi'] as const satisfies readonly Abi[];

/** A member where it lies in its struct. */
export interface Member {
  readonly name: string;
  readonly field: Field;
  /** Bytes from the beginning of the struct. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

/** A struct as one ABI lays it out. */
export interface Layout {
  readonly of: Struct;
  readonly abi: Abi;
  /** `sizeof`, bytes. */
  readonly size: number;
  /** `_Alignof`, bytes. */
  readonly align: number;
  readonly members: readonly Member[];
  /**
   * `offsetof`, bytes, for each member by its C designator: `seg`, `seg[0].gref`, `left.prod`. An array has entries for itself, and
   * for its first two elements where they are structs.
   */
  readonly offsets: Readonly<Record<string, number>>;
}

/** Bytes of a number of each kind. */
export const scalarSize = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, u64: 8 } as const satisfies Readonly<
  Record<ScalarKind, number>
>;

const up = (n: number, align: number): number => (n + align - 1) & -align;

const measure = (field: Field, abi: Abi): { readonly size: number; readonly align: number } => {
  const natural = (size: number): { size: number; align: number } => ({
    size,
    align: abi === 'x86_32-abi' ? Math.min(size, 4) : size,
  });
  switch (field.kind) {
    case 'struct':
    case 'overlay':
      return layoutFor(field, abi);
    case 'array': {
      const { size, align } = measure(field.of, abi);
      return { size: size * field.length, align };
    }
    case 'padding':
      return { size: field.bytes, align: 1 };
    case 'opaque64':
      return natural(8);
    default:
      return natural(scalarSize[field.kind]);
  }
};

const offsetsOf = (members: readonly Member[], abi: Abi): Record<string, number> => {
  const offsets: Record<string, number> = {};
  const add = (prefix: string, base: number, of: Struct): void => {
    for (const [inner, offset] of Object.entries(layoutFor(of, abi).offsets))
      offsets[`${prefix}.${inner}`] = base + offset;
  };
  for (const { name, field, offset } of members) {
    if (field.kind === 'padding') continue;
    offsets[name] = offset;
    if (field.kind === 'struct' || field.kind === 'overlay') add(name, offset, field);
    if (field.kind !== 'array' || (field.of.kind !== 'struct' && field.of.kind !== 'overlay')) continue;
    const { size } = layoutFor(field.of, abi);
    for (let i = 0; i < Math.min(field.length, 2); i++) add(`${name}[${i}]`, offset + i * size, field.of);
  }
  return offsets;
};

const place = (of: Struct, abi: Abi): Layout => {
  const members: Member[] = [];
  let end = 0;
  let next = 0;
  let align = 1;
  for (const [name, field] of Object.entries(of.fields)) {
    const own = measure(field, abi);
    // The variants of an overlay all begin where it begins; the members that they share lie where the first variant has them.
    const variant = of.kind === 'overlay' && field.kind === 'struct';
    const shared = of.kind === 'overlay' && !variant ? sharedOffset(of, name, abi) : undefined;
    const offset = variant ? 0 : (shared ?? up(next, own.align));
    members.push({ name, field, offset, size: own.size });
    next = offset + own.size;
    end = Math.max(end, next);
    align = Math.max(align, own.align);
  }
  return { of, abi, size: up(end, align), align, members, offsets: offsetsOf(members, abi) };
};

/** Where the variants of an overlay have a member that they share. @throws TypeError when they differ */
const sharedOffset = (of: Struct, name: string, abi: Abi): number => {
  let found: number | undefined;
  for (const [variant, field] of Object.entries(of.fields)) {
    if (field.kind !== 'struct') continue;
    const offset = layoutFor(field, abi).offsets[name];
    if (offset === undefined) throw new TypeError(`${of.name}: its variant ${variant} has no ${name} to share`);
    found ??= offset;
    if (offset !== found) {
      throw new TypeError(
        `${of.name}.${name} is shared, but lies at ${found} and, in ${variant}, at ${offset} (${abi})`,
      );
    }
  }
  return found ?? 0;
};

const known = new WeakMap<Struct, Map<Abi, Layout>>();

/** A struct as one ABI lays it out; the same object at each call. */
export const layoutFor = (of: Struct, abi: Abi): Layout => {
  let byAbi = known.get(of);
  if (byAbi === undefined) {
    byAbi = new Map();
    known.set(of, byAbi);
  }
  let layout = byAbi.get(abi);
  if (layout === undefined) {
    layout = place(of, abi);
    byAbi.set(abi, layout);
  }
  return layout;
};
