import type { Struct } from './struct.js';
import type { Domid, GrantRef, Port, Sector } from './units.js';

declare const value: unique symbol;

/** The C types that a field can have. */
export type ScalarKind = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'u64';

/** A number of a fixed width, little-endian; `T` is the unit or enumeration that it is read and written as. */
export interface Scalar<T extends number = number> {
  readonly kind: ScalarKind;
  /** The same field for numbers of one unit or enumeration: `u16.as<Vdev>()`. */
  as<U extends number>(): Scalar<U>;
  readonly [value]?: T;
}

/** Eight bytes that this end only hands back: two words, never a number (Windows frontends use all 64 bits of an id). */
export interface Opaque {
  readonly kind: 'opaque64';
}

/** Bytes that are always zero and that nobody reads. */
export interface Padding {
  readonly kind: 'padding';
  readonly bytes: number;
}

/** What an array can be made of. */
export type Element = Scalar | Struct;

/** A C array, of which a field beside it may tell how many elements count. */
export interface ArrayField<E extends Element = Element> {
  readonly kind: 'array';
  readonly of: E;
  readonly length: number;
  /** The field of the same struct that holds the number of elements that count. */
  readonly count: string | undefined;
}

/** Anything that a struct can have as a member. */
export type Field = Scalar | Opaque | Padding | ArrayField | Struct;
/** The members of a struct in their order. */
export type Fields = Readonly<Record<string, Field>>;

const scalar = (kind: ScalarKind): Scalar => {
  const field: Scalar = { kind, as: <U extends number>() => field as Scalar<U> };
  return field;
};

/** `uint8_t`; a value is stored modulo 2^8, as in C. */
export const u8 = scalar('u8');
/** `int8_t`; a value is stored modulo 2^8, as in C. */
export const i8 = scalar('i8');
/** `uint16_t`; a value is stored modulo 2^16, as in C. */
export const u16 = scalar('u16');
/** `int16_t`; a value is stored modulo 2^16, as in C. */
export const i16 = scalar('i16');
/** `uint32_t`; a value is stored modulo 2^32, as in C. */
export const u32 = scalar('u32');
/** `int32_t`; a value is stored modulo 2^32, as in C. */
export const i32 = scalar('i32');
/**
 * `uint64_t` as a number. Writing anything but a whole number from 0 to 2^53 - 1 is a RangeError. A peer's value of 2^53 or
 * more reads as Infinity, so that every check against a limit refuses it and the data path does not throw.
 */
export const u64 = scalar('u64');
/** `uint64_t` that is only handed back, like the id of a blkif_request. */
export const opaque64: Opaque = { kind: 'opaque64' };

/** `grant_ref_t`. */
export const grantRef = u32.as<GrantRef>();
/** `evtchn_port_t`. */
export const port = u32.as<Port>();
/** `domid_t`. */
export const domid = u16.as<Domid>();
/** `blkif_sector_t`: units of 512 bytes. */
export const sector = u64.as<Sector>();

const whole = (what: string, n: number): number => {
  if (!Number.isInteger(n) || n < 0) throw new RangeError(`${what}, not ${n}`);
  return n;
};

/** `n` bytes that are written as zero and never read. @throws RangeError unless `n` is a whole number */
export const padding = (n: number): Padding => ({ kind: 'padding', bytes: whole('padding has whole bytes', n) });

/**
 * `n` elements side by side. With `count`, only as many as that field of the same struct says are copied to and from the peer, and
 * reading beyond them is a RangeError.
 * @throws RangeError unless `n` is a whole number
 */
export const array = <E extends Element>(
  of: E,
  n: number,
  options: { readonly count?: string } = {},
): ArrayField<E> => ({
  kind: 'array',
  of,
  length: whole('an array has a whole number of elements', n),
  count: options.count,
});
