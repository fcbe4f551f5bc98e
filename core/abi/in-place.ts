import { ClassText, maskOf, replaced, unpacked } from './class-text.js';
import type { ArrayField, ScalarKind } from './fields.js';
import { type Abi, type Layout, layoutFor, type Member, scalarSize } from './layout.js';
import { setText } from './set-text.js';
import type { Struct } from './struct.js';

/** What a generated cursor has besides its members: the words it looks at, and the word where its record begins. */
export interface InPlace {
  readonly $m: Int32Array;
  $w: number;
  /** The number that `set` writes into the member that pairs a response with its request. */
  $pair: number;
}

/** A generated class: `new (words, word)`. */
export type InPlaceClass = new (words: Int32Array, word: number) => InPlace;

/** A struct in memory. */
export interface Site {
  readonly of: Struct;
  readonly abi: Abi;
  /** Bytes from the word that the cursor points at to the beginning of the struct. */
  readonly bias: number;
  readonly pair: string | undefined;
  readonly writes: boolean;
}

/** Whether a field is a struct or union of its own. */
export const isStruct = (field: { readonly kind: string }): field is Struct =>
  field.kind === 'struct' || field.kind === 'overlay';
/**
 * Where a cursor's record begins. Words are numbered below 2^30, and what was masked so is known to be small: adding to it needs no
 * check for overflow.
 */
const BEGIN = 'this.$w & 1073741823';
const at = (word: number): string => (word === 0 ? 'this.$w' : `this.$w + ${word}`);
const wordOf = (site: Site, offset: number): number => (site.bias + offset) >> 2;
const shiftOf = (site: Site, offset: number): number => ((site.bias + offset) & 3) * 8;

const scalarMember = (text: ClassText, site: Site, name: string, kind: ScalarKind, offset: number): void => {
  const word = wordOf(site, offset);
  const shift = shiftOf(site, offset);
  if (kind === 'u64') {
    text.members.push(
      `get ${name}() { const m = this.$m, w = ${at(word)}, h = m[w + 1]; return h === 0 ? m[w] >>> 0 : wide(m[w], h); }`,
    );
    if (!site.writes) return;
    text.members.push(
      `set ${name}(v) { const m = this.$m, w = ${at(word)}, h = v >>> 0 === v ? 0 : upper(v); m[w] = v; m[w + 1] = h; }`,
    );
    return;
  }
  text.members.push(`get ${name}() { return ${unpacked(kind, `this.$m[${at(word)}]`, shift)}; }`);
  if (!site.writes) return;
  text.members.push(
    `set ${name}(v) { const m = this.$m, w = ${at(word)}; m[w] = ${replaced(kind, 'm[w]', 'v', shift)}; }`,
  );
};

/** A member that is a cursor of its own: made once, and pointed at its place each time it is asked for. */
const cursorMember = (text: ClassText, name: string, cls: unknown, word: number, before = ''): void => {
  text.scope[`C_${name}`] = cls;
  text.fields.push(`this.$c_${name} = new C_${name}(m, w + ${word});`);
  text.members.push(`get ${name}() { const c = this.$c_${name}; c.$w = ${at(word)}; ${before}return c; }`);
};

const classText = (name: string): ClassText => {
  const text = new ClassText(name, 'm, w');
  text.fields.push('this.$m = m; this.$w = w;');
  return text;
};

/** The expression of how many elements of an array count, of what its struct's words are. */
export const countText = (
  layout: Layout,
  field: ArrayField,
  bias: number,
  word: (index: number) => string,
): string | undefined => {
  const member = layout.members.find(({ name }) => name === field.count);
  if (member === undefined) return undefined;
  const byte = bias + member.offset;
  return unpacked(member.field.kind as ScalarKind, word(byte >> 2), (byte & 3) * 8);
};

/** `at`, and `set` where it writes, for the numbers that begin `bias` bytes into the words `m` at word `w`. */
export const numberAccess = (
  kind: ScalarKind,
  m: string,
  w: string,
  bias: number,
): { readonly get: string; readonly set: string } => {
  const bytes = scalarSize[kind];
  if (bytes === 4) return { get: `return ${unpacked(kind, `${m}[${w} + i]`, 0)};`, set: `${m}[${w} + i] = v;` };
  const index = `${w} + (i * ${bytes} + ${bias} >> 2)`;
  const shift = `((i * ${bytes} + ${bias} & 3) << 3)`;
  const above = 32 - 8 * bytes;
  return {
    get: `return ${m}[${index}] >>> ${shift} << ${above} ${kind.startsWith('i') ? '>>' : '>>>'} ${above};`,
    set: `const a = ${m}, k = ${index}, s = ${shift}; a[k] = a[k] & ~(${maskOf(bytes, 0)} << s) | (v & ${maskOf(bytes, 0)}) << s;`,
  };
};

const arrayMember = (text: ClassText, site: Site, member: Member, field: ArrayField, layout: Layout): void => {
  const what = `${site.of.name}.${member.name}`;
  const bias = shiftOf(site, member.offset) / 8;
  const inner = classText(`${site.of.name}_${member.name}`);
  inner.fields.push(`this.length = ${field.length};`);
  // Only a count that the peer wrote has to be looked up.
  const length = site.writes || field.count === undefined ? `${field.length}` : 'this.length';
  const check = `if (i >>> 0 >= ${length}) beyond('${what}', i, ${length});`;
  if (isStruct(field.of)) {
    const { size } = layoutFor(field.of, site.abi);
    if (size % 4 !== 0) throw new TypeError(`${what} has elements of ${size} bytes, which are no whole words`);
    inner.scope.Element = inPlaceClass({ ...site, of: field.of, bias, pair: undefined });
    inner.fields.push('this.$e = new Element(m, w);');
    inner.members.push(`at(i) { ${check} const e = this.$e; e.$w = this.$w + i * ${size / 4} | 0; return e; }`);
  } else {
    if (field.of.kind === 'u64') throw new TypeError(`${what}: an array of 64-bit numbers cannot be read in place`);
    const access = numberAccess(field.of.kind, 'this.$m', 'this.$w', bias);
    inner.members.push(`at(i) { ${check} ${access.get} }`);
    if (site.writes) inner.members.push(`set(i, v) { ${check} ${access.set} }`);
  }
  const count = site.writes ? undefined : countText(layout, field, site.bias, (index) => `this.$m[${at(index)}]`);
  const clip =
    count === undefined ? '' : `const n = ${count}; c.length = n >>> 0 < ${field.length} ? n : ${field.length}; `;
  cursorMember(text, member.name, inner.compile(), wordOf(site, member.offset), clip);
};

const opaqueClass = (site: Site, name: string): unknown => {
  const text = classText(`${site.of.name}_${name}`);
  text.members.push('get lo() { return this.$m[this.$w] >>> 0; }', 'get hi() { return this.$m[this.$w + 1] >>> 0; }');
  if (site.writes) text.members.push('set(v) { const m = this.$m, w = this.$w; m[w] = v.lo; m[w + 1] = v.hi; }');
  return text.compile();
};

const emitMember = (text: ClassText, site: Site, layout: Layout, member: Member): void => {
  const { name, field, offset } = member;
  if (field.kind === 'padding' || name === site.pair) return;
  if (field.kind === 'opaque64') cursorMember(text, name, opaqueClass(site, name), wordOf(site, offset));
  else if (field.kind === 'array') arrayMember(text, site, member, field, layout);
  else if (isStruct(field)) {
    const variant = site.of.kind === 'overlay' && field.kind === 'struct';
    const pair = variant ? site.pair : undefined;
    const inner = inPlaceClass({ ...site, of: field, bias: shiftOf(site, offset) / 8, pair });
    cursorMember(text, name, inner, wordOf(site, offset), pair === undefined ? '' : 'c.$pair = this.$pair; ');
  } else scalarMember(text, site, name, field.kind, offset);
};

/** The class of a struct's cursors over memory: it reads, or reads and writes, where the struct lies. */
export const inPlaceClass = (site: Site): InPlaceClass => {
  const layout = layoutFor(site.of, site.abi);
  const text = classText(`${site.of.name}_${site.writes ? 'draft' : 'view'}`);
  if (site.pair !== undefined) text.fields.push('this.$pair = 0;');
  for (const member of layout.members) emitMember(text, site, layout, member);
  if (site.writes && site.of.kind === 'struct') {
    const pair = site.pair === undefined ? undefined : { name: site.pair, value: 'this.$pair' };
    const { before, words } = setText(site.of, site.abi, site.bias, pair);
    const place = (i: number): string => (i === 0 ? 'm[w]' : `m[w + ${i}]`);
    const stores = words.flatMap(({ value, kept }, i) => {
      if (value === undefined) return [];
      return [`${place(i)} = ${kept === 0 ? value : `${place(i)} & ${kept} | ${value}`};`];
    });
    text.members.push(`set(v) { ${before} const m = this.$m, w = ${BEGIN}; ${stores.join(' ')} }`);
  }
  return text.compile() as InPlaceClass;
};

/** Whether `set`, of the struct and of all elements below it, never has to read a word before it writes it. */
export const packsWhole = (of: Struct, abi: Abi, bias = 0): boolean => {
  if (
    of.kind === 'struct' &&
    setText(of, abi, bias, undefined).words.some(({ value, kept }) => value !== undefined && kept !== 0)
  ) {
    return false;
  }
  return layoutFor(of, abi).members.every(({ field, offset }) => {
    const inner = (bias + offset) & 3;
    if (field.kind === 'array')
      return isStruct(field.of) ? packsWhole(field.of, abi, inner) : scalarSize[field.of.kind] === 4 && inner === 0;
    return isStruct(field) && (field.kind === 'overlay' || of.kind === 'overlay')
      ? packsWhole(field, abi, inner)
      : true;
  });
};
