import { ClassText, unpacked } from './class-text.js';
import type { ArrayField, ScalarKind } from './fields.js';
import { isStruct, numberAccess } from './in-place.js';
import { type Abi, type Layout, layoutFor, type Member } from './layout.js';
import type { Struct } from './struct.js';

/** A private copy of a message that a peer wrote. */
export interface RecordView {
  /** Reads the message that begins at this word, each word once. */
  $load(words: Int32Array, word: number): void;
  /** The low word of the member that pairs a response with its request, or the whole of a narrower one. */
  readonly $lo: number;
  /** The high word of a 64-bit one, else 0. */
  readonly $hi: number;
}

/** A message that is being written, all zero at first. */
export interface RecordDraft {
  /** Writes the message to this word and the following, with this pairing member, holes included; the draft is all zero after it. */
  $store(words: Int32Array, word: number, lo: number, hi: number): void;
  /** Makes the draft all zero. */
  $zero(): void;
}

/** A class of records. */
export type RecordClass<T> = new () => T;

/** A message's struct in one ABI, with the member that pairs a response with its request. */
export interface Message {
  readonly of: Struct;
  readonly layout: Layout;
  readonly pair: Member | undefined;
}

/** An array among a message's members. */
export type ArrayMember = Member & { readonly field: ArrayField };

/** @throws TypeError when `pair` names no member that can pair */
export const message = (of: Struct, abi: Abi, pair: string | undefined): Message => {
  const layout = layoutFor(of, abi);
  const member = layout.members.find(({ name }) => name === pair);
  if (pair !== undefined && (member === undefined || !/^(opaque64|u)/.test(member.field.kind))) {
    throw new TypeError(`${of.name}.${pair} cannot pair responses with requests`);
  }
  return { of, layout, pair: member };
};

/** The kind of a member that is a number. */
export const scalarOf = ({ field }: Member): ScalarKind => field.kind as ScalarKind;
/** Where a member begins. */
export const lies = ({ offset }: Member): { readonly index: number; readonly shift: number } => ({
  index: offset >> 2,
  shift: (offset & 3) * 8,
});
/** Whether a member takes two words. */
export const is64 = ({ field }: Member): boolean => field.kind === 'opaque64' || field.kind === 'u64';
/** Whether a member is an array. */
export const isArray = (member: Member): member is ArrayMember => member.field.kind === 'array';
/** The words that a number lies in. */
export const wordsOf = (member: Member): number[] => {
  const { index } = lies(member);
  return is64(member) ? [index, index + 1] : [index];
};

/** The members that an author sees. */
export const seen = ({ layout, pair }: Message): Member[] =>
  layout.members.filter((member) => member !== pair && member.field.kind !== 'padding');

/**
 * The words that a record holds one by one, as numbers: what is read again right after it was written stays in a register then, which
 * V8 does not do for the elements of an Int32Array.
 */
export const held = (of: Message): number[] => {
  const numbers = seen(of).filter((member) => !isArray(member) && !isStruct(member.field));
  return [...new Set(numbers.flatMap(wordsOf))].sort((a, b) => a - b);
};

/** Whether a message consists of numbers, and of arrays of whole words. */
export const isPlain = ({ of, layout }: Message): boolean =>
  of.kind === 'struct' &&
  layout.size % 4 === 0 &&
  layout.members.every(({ field, offset, size }) => {
    if (field.kind !== 'array') return !isStruct(field);
    if (offset % 4 !== 0 || size % 4 !== 0) return false;
    return isStruct(field.of) ? layoutFor(field.of, layout.abi).size % 4 === 0 : field.of.kind !== 'u64';
  });

/** A variant of an overlay. */
export interface Variant extends Message {
  readonly name: string;
}

/** The variants of an overlay in their order. */
export const variantsOf = (of: Message): Variant[] =>
  Object.entries(of.of.fields).flatMap(([name, field]) =>
    field.kind === 'struct' ? [{ name, ...message(field, of.layout.abi, of.pair?.name) }] : [],
  );

/** Whether a message is an overlay that tells its variant, of plain variants. */
export const isChosen = (of: Message): boolean =>
  of.of.kind === 'overlay' && of.of.choice !== undefined && variantsOf(of).every(isPlain);

/** The numbers that all variants share, without the one that pairs. */
export const sharedNumbers = (of: Message): Member[] => seen(of).filter(({ field }) => !isStruct(field));

/** An expression of a message's word in memory. */
export const wordAt = (index: number): string => (index === 0 ? 'm[w]' : `m[w + ${index}]`);

/** How many words of an array count, with the statement before that finds `n`; the count is an expression or undefined. */
export const countedWords = (
  { field, size }: ArrayMember,
  count: string | undefined,
): { readonly before: string; readonly end: string } => {
  if (count === undefined) return { before: '', end: `${size / 4}` };
  const bytes = size / field.length;
  // Of elements narrower than a word, the word that the last one lies in counts whole.
  const end = bytes % 4 === 0 ? (bytes === 4 ? 'n' : `n * ${bytes / 4}`) : `n * ${bytes} + 3 >> 2`;
  return { before: `let n = ${count}; if (n >>> 0 > ${field.length}) n = ${field.length};`, end };
};

/** Adds the getter of a number in a word that is held. */
export const numberGetter = (text: ClassText, member: Member): void => {
  const { index, shift } = lies(member);
  const [lo, hi] = [`this.$${index}`, `this.$${index + 1}`];
  const value =
    member.field.kind === 'u64' ? `${hi} ? wide(${lo}, ${hi}) : ${lo} >>> 0` : unpacked(scalarOf(member), lo, shift);
  text.members.push(`get ${member.name}() { return ${value}; }`);
};

/** Adds an opaque member, whose two words its record holds. */
export const opaqueMember = (text: ClassText, of: Message, { name, offset }: Member, writes: boolean): void => {
  const inner = new ClassText(`${of.of.name}_${name}`, 'r');
  const [lo, hi] = [`this.$r.$${offset >> 2}`, `this.$r.$${(offset >> 2) + 1}`];
  inner.fields.push('this.$r = r;');
  inner.members.push(`get lo() { return ${lo} >>> 0; }`, `get hi() { return ${hi} >>> 0; }`);
  if (writes) inner.members.push(`set(v) { ${lo} = v.lo | 0; ${hi} = v.hi | 0; }`);
  text.scope[`C_${name}`] = inner.compile();
  text.fields.push(`this.${name} = new C_${name}(this);`);
};

/** How an array's struct elements are reached: `e`, an element's cursor, is made and pointed by these. */
export interface ElementText {
  readonly cls: unknown;
  readonly made: string;
  readonly point: string;
}

/** Adds an array, in words of its own. */
export const arrayMember = (
  text: ClassText,
  of: Message,
  member: ArrayMember,
  writes: boolean,
  element: ElementText | undefined,
): void => {
  const { field, name, size } = member;
  const inner = new ClassText(`${of.of.name}_${name}`, '');
  const length = writes || field.count === undefined ? `${field.length}` : 'this.length';
  const check = `if (i >>> 0 >= ${length}) beyond('${of.of.name}.${name}', i, ${length});`;
  inner.fields.push(`this.length = ${field.length}; this.$a = new Int32Array(${size / 4});`);
  if (element !== undefined) {
    inner.scope.Element = element.cls;
    inner.fields.push(`this.$e = new Element(${element.made});`);
    inner.members.push(`at(i) { ${check} const e = this.$e; ${element.point} return e; }`);
  } else {
    const access = numberAccess(field.of.kind as ScalarKind, 'this.$a', '0', 0);
    inner.members.push(`at(i) { ${check} ${access.get} }`);
    if (writes) inner.members.push(`set(i, v) { ${check} ${access.set} }`);
  }
  text.scope[`C_${name}`] = inner.compile();
  text.fields.push(`this.${name} = new C_${name}();`);
};
