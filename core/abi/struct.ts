import type { ArrayField, Fields, Opaque, Padding, Scalar } from './fields.js';
import { inPlaceClass } from './in-place.js';
import { type Abi, abis, type Layout, layoutFor } from './layout.js';

/** A C struct, or a union that begins with the members that its variants share; declared once for all ABIs. */
export interface Struct<F extends Fields = Fields, Kind extends 'struct' | 'overlay' = 'struct' | 'overlay'> {
  readonly kind: Kind;
  /** The name in Xen's header. */
  readonly name: string;
  readonly fields: F;
  /** For an overlay: how a record tells its variant, where that was declared. */
  readonly choice: Choice | undefined;
}

/** Which variant of an overlay a record holds, told by one of the shared members. */
export interface Choice {
  /** The shared member that tells. */
  readonly by: string;
  /** Its values, for each variant but the last. */
  readonly when: Readonly<Record<string, readonly number[]>>;
  /** The variant that all other values mean. */
  readonly otherwise: string;
}

/** The two words of an opaque member. */
export interface Words {
  readonly lo: number;
  readonly hi: number;
}

/** An opaque member that is being written. */
export interface WordsDraft extends Words {
  set(value: Words): void;
}

/** An array that is being read. */
export interface ArrayView<E> {
  /** How many elements count: what the count member says, but never more than the array has. */
  readonly length: number;
  /**
   * The `i`th element. Elements that are structs share one cursor, valid until the next `at`.
   * @throws RangeError beyond `length`
   */
  at(i: number): E;
}

/** An array that is being written. */
export interface ArrayDraft<E> {
  /** How many elements there is room for. */
  readonly length: number;
  /**
   * The `i`th element. Elements that are structs share one cursor, valid until the next `at`.
   * @throws RangeError beyond `length`
   */
  at(i: number): E;
}

/** An array of numbers that is being written. */
export interface NumbersDraft<T> extends ArrayDraft<T> {
  /** Writes the `i`th number. @throws RangeError beyond `length` */
  set(i: number, value: T): void;
}

type FieldsOf<S> = S extends Struct<infer F> ? F : never;
type IsOverlay<S> = S extends { readonly kind: 'overlay' } ? true : false;
/** A member is hidden in a message and in the variants of one, not in the structs inside. */
type Within<S, Hidden> = IsOverlay<S> extends true ? Hidden : never;
type Seen<F extends Fields, Hidden> = {
  [K in keyof F]: F[K] extends Padding ? never : K extends Hidden ? never : K;
}[keyof F];
type Numbers<F extends Fields, Hidden> = { [K in Seen<F, Hidden>]: F[K] extends Scalar ? K : never }[Seen<F, Hidden>];
type Others<F extends Fields, Hidden> = Exclude<Seen<F, Hidden>, Numbers<F, Hidden>>;
/** The members that `set` takes: not arrays, and not unions. */
type Plain<F extends Fields, Hidden> = {
  [K in Seen<F, Hidden>]: F[K] extends Scalar | Opaque | { readonly kind: 'struct' } ? K : never;
}[Seen<F, Hidden>];

type FieldView<X, Hidden> =
  X extends Scalar<infer T>
    ? T
    : X extends Opaque
      ? Words
      : X extends ArrayField<infer E>
        ? ArrayView<E extends Scalar<infer T> ? T : View<E>>
        : View<X, Hidden>;

type FieldDraft<X, Hidden> =
  X extends ArrayField<infer E>
    ? E extends Scalar<infer T>
      ? NumbersDraft<T>
      : ArrayDraft<Draft<E>>
    : X extends Opaque
      ? WordsDraft
      : Draft<X, Hidden>;

type FieldSlot<X, Hidden> =
  X extends ArrayField<infer E>
    ? E extends Scalar<infer T>
      ? Pick<NumbersDraft<T>, 'length' | 'set'>
      : ArrayDraft<Slot<E>>
    : Slot<X, Hidden>;

type FieldValue<X> = X extends Scalar<infer T> ? T : X extends Opaque ? Words : Values<X>;

interface Settable<V> {
  /** Writes all plain members, and zero into the holes between them: each word of memory once. */
  set(values: V): void;
}

/**
 * A record to be read: `View<typeof request>`. `Hidden` names the member that the framework keeps to itself to pair a response
 * with its request.
 */
export type View<S, Hidden = never> = {
  readonly [K in Seen<FieldsOf<S>, Hidden>]: FieldView<FieldsOf<S>[K], Within<S, Hidden>>;
};

// With `& {}` the compiler shows the members themselves, in editors and errors, in place of the type's name and arguments.
/** All plain members of a struct at once; arrays and unions are written through their own cursors. */
export type Values<S, Hidden = never> = {
  readonly [K in Plain<FieldsOf<S>, Hidden>]: FieldValue<FieldsOf<S>[K]>;
} & {};

/** A private record to be written, member by member or whole by `set`. */
export type Draft<S, Hidden = never> = {
  -readonly [K in Numbers<FieldsOf<S>, Hidden>]: FieldsOf<S>[K] extends Scalar<infer T> ? T : never;
} & {
  readonly [K in Others<FieldsOf<S>, Hidden>]: FieldDraft<FieldsOf<S>[K], Within<S, Hidden>>;
} & (IsOverlay<S> extends true ? unknown : Settable<Values<S, Hidden>>);

/** A record that is written whole, by `set` and by its arrays' elements: each word once, and nothing is read back. */
export type Slot<S, Hidden = never> =
  IsOverlay<S> extends true
    ? { readonly [K in Others<FieldsOf<S>, Hidden>]: FieldSlot<FieldsOf<S>[K], Hidden> }
    : {
        readonly [K in Exclude<Others<FieldsOf<S>, Hidden>, Plain<FieldsOf<S>, Hidden>>]: FieldSlot<
          FieldsOf<S>[K],
          Hidden
        >;
      } & Settable<Values<S, Hidden>>;

/** Where in memory a record lies, and how. */
export interface Place {
  /** The word that the record begins with; 0 without it. */
  readonly word?: number;
  /** The ABI of the domain that wrote or will read it; the 64-bit one without it. */
  readonly abi?: Abi;
}

// Names become part of generated code.
const isName = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);
const checkStruct = (name: string): void => {
  if (!isName(name)) throw new TypeError(`${name} cannot be the name of a struct`);
};
const checkMember = (owner: string, name: string): void => {
  if (!isName(name) || name === 'set' || name === 'constructor')
    throw new TypeError(`${owner}.${name} cannot be the name of a member`);
};

/**
 * A C struct, its members in order: `struct('vrng_request', { id: u16, length: u16, gref: grantRef })`.
 * @throws TypeError for a name that cannot be a member's, and for a count that names no number beside its array
 */
export const struct = <const F extends Fields>(name: string, fields: F): Struct<F, 'struct'> => {
  checkStruct(name);
  for (const [member, field] of Object.entries(fields)) {
    checkMember(name, member);
    if (field.kind !== 'array' || field.count === undefined) continue;
    const count = fields[field.count]?.kind;
    if (count === undefined || count === 'u64' || !/^[ui]/.test(count)) {
      throw new TypeError(
        `${name}.${member} is counted by ${field.count}, which is no number of at most 32 bits beside it`,
      );
    }
  }
  return { kind: 'struct', name, fields, choice: undefined };
};

type Variants = Readonly<Record<string, Struct<Fields, 'struct'>>>;
type Common<V extends Variants> = { [N in keyof V]: keyof FieldsOf<V[N]> }[keyof V] & string;
/** The field that the variants share, as the variant that declares it first has it. */
type SharedField<V extends Variants, K> =
  FieldsOf<V[keyof V]> extends infer F ? (F extends Fields ? (K extends keyof F ? F[K] : never) : never) : never;

/**
 * A C union of structs that begin alike: `overlay('blkif_request', { rw, discard, indirect }, { shared: ['operation', 'id'] })`. The
 * shared members are read on the union itself, the rest on its variants. With `choice`, only the part of the variant that a record
 * holds is copied to and from the peer.
 * @throws TypeError when a shared member does not lie at the same offset in all variants, in any ABI
 */
export const overlay = <const V extends Variants, const K extends Common<V> = never>(
  name: string,
  variants: V,
  options: { readonly shared?: readonly K[]; readonly choice?: Choice } = {},
): Struct<{ readonly [P in K]: SharedField<V, P> } & V, 'overlay'> => {
  checkStruct(name);
  const fields: Record<string, Fields[string]> = {};
  for (const shared of options.shared ?? []) {
    for (const [variant, { fields: own }] of Object.entries(variants)) {
      const field = own[shared];
      if (field === undefined) throw new TypeError(`${name}: its variant ${variant} has no ${shared} to share`);
      fields[shared] ??= field;
      if (fields[shared] !== field)
        throw new TypeError(`${name}.${shared} is shared, but its variants declare it differently`);
    }
  }
  for (const [variant, of] of Object.entries(variants)) {
    checkMember(name, variant);
    if (variant in fields) throw new TypeError(`${name}.${variant} is both a variant and a shared member`);
    fields[variant] = of;
  }
  const { choice } = options;
  if (choice !== undefined) {
    if (!/^[ui](8|16|32)$/.test(fields[choice.by]?.kind ?? ''))
      throw new TypeError(`${name} has no shared number ${choice.by} to choose by`);
    for (const variant of [...Object.keys(choice.when), choice.otherwise]) {
      if (!(variant in variants)) throw new TypeError(`${name} has no variant ${variant} to choose`);
    }
  }
  const made = {
    kind: 'overlay' as const,
    name,
    fields: fields as { readonly [P in K]: SharedField<V, P> } & V,
    choice: options.choice,
  };
  for (const abi of abis) layoutFor(made, abi);
  return made;
};

/**
 * A cursor that reads a record in place. Over memory that a peer can write, every read may see another value: rings hand out views
 * of private copies only (XSA-155).
 */
export const view = <S extends Struct>(
  of: S,
  words: Int32Array,
  { word = 0, abi = 'x86_64-abi' }: Place = {},
): View<S> =>
  new (inPlaceClass({ of, abi, bias: 0, pair: undefined, writes: false }))(words, word) as unknown as View<S>;

/** A cursor that writes a record in place; its setters change bytes by reading a word first, so the memory must be private. */
export const draft = <S extends Struct>(
  of: S,
  words: Int32Array,
  { word = 0, abi = 'x86_64-abi' }: Place = {},
): Draft<S> =>
  new (inPlaceClass({ of, abi, bias: 0, pair: undefined, writes: true }))(words, word) as unknown as Draft<S>;

/** Offsets, size and alignment in bytes, as C computes them. */
export const layoutOf = (of: Struct, abi: Abi = 'x86_64-abi'): Pick<Layout, 'size' | 'align' | 'offsets'> =>
  layoutFor(of, abi);
