// One concern in one file, though longer than most: the text of a generated class is easier to judge beside the text of its parts.

import type { ArrayField, ScalarKind } from './fields.js';
import { type Abi, type Layout, layoutFor, type Member, scalarSize } from './layout.js';
import type { Choice, Struct } from './struct.js';

/** What every generated cursor has besides its members: the words it looks at, and the word where its record begins. */
export interface Cursor {
  readonly $m: Int32Array;
  $w: number;
  /** The number that `set` writes into the pairing member. */
  $id: number;
  /** The low word of the pairing member, or the whole of a narrower one. */
  readonly $lo: number;
  /** The high word of a 64-bit pairing member, else 0. */
  readonly $hi: number;
  /** Writes the pairing member. */
  $stamp(lo: number, hi: number): void;
}

/** A generated class: `new (words, word)`. */
export type CursorClass = new (words: Int32Array, word: number) => Cursor;

/** Copies one record: from these words, at this word, to those, at that one. */
export type CopyRecord = (from: Int32Array, at: number, to: Int32Array, toAt: number) => void;

/** The code that was generated for one struct in one ABI. */
export interface Codec {
  readonly layout: Layout;
  /** Words of the record, its tail included. */
  readonly words: number;
  readonly View: CursorClass;
  readonly Draft: CursorClass;
  /** Whether `set`, here and in the elements of arrays, never has to read a word before it writes it. */
  readonly packs: boolean;
  /** Writes zero into all words of a record. */
  readonly zero: (words: Int32Array, word: number) => void;
  /** Copies what counts of a record, each word read once; bytes that have no meaning may be left out. */
  readonly copyIn: CopyRecord;
  /** Copies what counts of a record, its holes included. */
  readonly copyOut: CopyRecord;
}

const at = (word: number): string => (word === 0 ? 'this.$w' : `this.$w + ${word}`);
const size = (kind: ScalarKind): number => scalarSize[kind];
const maskOf = (bytes: number, shift: number): number => (bytes === 4 ? -1 : ((1 << (8 * bytes)) - 1) << shift);

/** A value's bits where they lie in their word. */
const packed = (kind: ScalarKind, value: string, shift: number): string => {
  if (size(kind) === 4) return value;
  // Nothing lies above the highest bytes of a word, so these need no mask.
  if (shift + 8 * size(kind) === 32) return `${value} << ${shift}`;
  const masked = `${value} & ${maskOf(size(kind), 0)}`;
  return shift === 0 ? masked : `(${masked}) << ${shift}`;
};

const unpacked = (kind: ScalarKind, word: string, shift: number): string => {
  const bits = 8 * size(kind);
  const above = 32 - shift - bits;
  if (kind === 'u32') return `${word} >>> 0`;
  if (kind === 'i32') return word;
  if (kind.startsWith('i')) return above === 0 ? `${word} >> ${shift}` : `${word} << ${above} >> ${shift + above}`;
  if (above === 0) return `${word} >>> ${shift}`;
  return shift === 0 ? `${word} & ${maskOf(size(kind), 0)}` : `${word} >>> ${shift} & ${maskOf(size(kind), 0)}`;
};

/** The upper word of a number that does not fit the lower one. */
const upper = (value: number): number => {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`a 64-bit field takes whole numbers from 0 to 2^53 - 1, not ${value}`);
  }
  return value / 4294967296;
};

const wide = (lo: number, hi: number): number =>
  hi >>> 21 === 0 ? (lo >>> 0) + hi * 4294967296 : Number.POSITIVE_INFINITY;

const beyond = (what: string, i: number, length: number): never => {
  throw new RangeError(`${what}[${i}] is beyond its ${length} elements`);
};

/** What the generated text refers to by name. */
const runtime = { upper, wide, beyond };

/** A struct in place: where it begins within a word, and what its classes are called. */
interface Site {
  readonly of: Struct;
  readonly abi: Abi;
  /** Bytes from the word that the cursor points at to the beginning of the struct. */
  readonly bias: number;
  readonly pair: string | undefined;
  readonly writes: boolean;
}

/** The text of a class body, and the classes it needs, by the name it calls them. */
class Text {
  readonly fields: string[] = [];
  readonly members: string[] = [];
  readonly needs: Record<string, unknown> = {};
}

const position = (site: Site, offset: number): { readonly word: number; readonly shift: number } => {
  const byte = site.bias + offset;
  return { word: byte >> 2, shift: (byte & 3) * 8 };
};

const emitScalar = (text: Text, site: Site, name: string, kind: ScalarKind, offset: number): void => {
  const { word, shift } = position(site, offset);
  if (shift + Math.min(32, 8 * size(kind)) > 32)
    throw new TypeError(`${site.of.name}.${name} does not lie in one word`);
  if (kind === 'u64') {
    text.members.push(
      `get ${name}() { const m = this.$m, w = ${at(word)}, h = m[w + 1]; return h === 0 ? m[w] >>> 0 : wide(m[w], h); }`,
    );
    if (site.writes) {
      text.members.push(
        `set ${name}(v) { const m = this.$m, w = ${at(word)}; const h = v >>> 0 === v ? 0 : upper(v); m[w] = v; m[w + 1] = h; }`,
      );
    }
    return;
  }
  text.members.push(`get ${name}() { return ${unpacked(kind, `this.$m[${at(word)}]`, shift)}; }`);
  if (!site.writes) return;
  const mask = maskOf(size(kind), shift);
  text.members.push(
    mask === -1
      ? `set ${name}(v) { this.$m[${at(word)}] = v; }`
      : `set ${name}(v) { const m = this.$m, w = ${at(word)}; m[w] = m[w] & ${~mask} | ${packed(kind, 'v', shift)}; }`,
  );
};

/** A member that is a cursor of its own: made once, pointed at its place each time it is asked for. */
const emitSub = (text: Text, name: string, cls: unknown, word: number, before = ''): void => {
  text.needs[`C_${name}`] = cls;
  text.fields.push(`this.$${name} = new C_${name}(m, w + ${word});`);
  text.members.push(`get ${name}() { const c = this.$${name}; c.$w = ${at(word)}; ${before}return c; }`);
};

const countOf = (
  site: Site,
  field: ArrayField,
  layout: Layout,
  word: (index: number) => string,
): string | undefined => {
  const counted = layout.members.find((member) => member.name === field.count);
  if (counted === undefined) return undefined;
  const { word: index, shift } = position(site, counted.offset);
  return unpacked(counted.field.kind as ScalarKind, word(index), shift);
};

const emitArray = (text: Text, site: Site, member: Member, field: ArrayField, layout: Layout): void => {
  const what = `${site.of.name}.${member.name}`;
  const { word, shift } = position(site, member.offset);
  const inner = new Text();
  inner.fields.push(`this.length = ${field.length};`);
  const check = `if (i >>> 0 >= this.length) beyond(${JSON.stringify(what)}, i, this.length);`;
  if (field.of.kind === 'struct' || field.of.kind === 'overlay') {
    const element = layoutFor(field.of, site.abi);
    if (element.size % 4 !== 0)
      throw new TypeError(`the elements of ${what} are ${element.size} bytes, no whole words`);
    inner.needs.Element = cursorClass({ ...site, of: field.of, bias: shift / 8, pair: undefined });
    inner.fields.push('this.$e = new Element(m, w);');
    inner.members.push(`at(i) { ${check} const e = this.$e; e.$w = this.$w + i * ${element.size / 4}; return e; }`);
  } else {
    const kind = field.of.kind;
    if (kind === 'u64') throw new TypeError(`${what}: an array of 64-bit numbers has no cursor`);
    const bytes = size(kind);
    const index = bytes === 4 ? 'this.$w + i' : `this.$w + (i * ${bytes} + ${shift / 8} >> 2)`;
    const bits = `((i * ${bytes} + ${shift / 8} & 3) << 3)`;
    const value =
      bytes === 4
        ? unpacked(kind, 'm', 0)
        : `m >>> ${bits} << ${32 - 8 * bytes} ${kind.startsWith('i') ? '>>' : '>>>'} ${32 - 8 * bytes}`;
    inner.members.push(`at(i) { ${check} const m = this.$m[${index}]; return ${value}; }`);
    if (site.writes) {
      inner.members.push(
        bytes === 4
          ? `set(i, v) { ${check} this.$m[${index}] = v; }`
          : `set(i, v) { ${check} const m = this.$m, w = ${index}, s = ${bits}; m[w] = m[w] & ~(${maskOf(bytes, 0)} << s) | (v & ${maskOf(bytes, 0)}) << s; }`,
      );
    }
  }
  const count = site.writes ? undefined : countOf(site, field, layout, (index) => `this.$m[${at(index)}]`);
  const clip =
    count === undefined ? '' : `const n = ${count}; c.length = n >>> 0 < ${field.length} ? n : ${field.length}; `;
  emitSub(text, member.name, classOf(inner, `${site.of.name}_${member.name}`), word, clip);
};

const opaqueText = (writes: boolean): Text => {
  const text = new Text();
  text.members.push('get lo() { return this.$m[this.$w] >>> 0; }', 'get hi() { return this.$m[this.$w + 1] >>> 0; }');
  if (writes) text.members.push('set(v) { const m = this.$m, w = this.$w; m[w] = v.lo; m[w + 1] = v.hi; }');
  return text;
};

/** The number or words that pair a response with its request. */
const emitPair = (text: Text, site: Site, member: Member): void => {
  const { word, shift } = position(site, member.offset);
  text.fields.push('this.$id = 0;');
  const kind = member.field.kind;
  if (kind === 'opaque64' || kind === 'u64') {
    text.members.push(`get $lo() { return this.$m[${at(word)}]; }`, `get $hi() { return this.$m[${at(word + 1)}]; }`);
    if (site.writes) {
      text.members.push(`$stamp(lo, hi) { const m = this.$m, w = ${at(word)}; m[w] = lo; m[w + 1] = hi; }`);
    }
    return;
  }
  if (kind !== 'u8' && kind !== 'u16' && kind !== 'u32') {
    throw new TypeError(`${site.of.name}.${member.name} cannot pair responses with requests`);
  }
  text.members.push(
    `get $lo() { return ${unpacked(kind, `this.$m[${at(word)}]`, shift)}; }`,
    'get $hi() { return 0; }',
  );
  if (!site.writes) return;
  const mask = maskOf(size(kind), shift);
  text.members.push(
    mask === -1
      ? `$stamp(lo, hi) { this.$m[${at(word)}] = lo; }`
      : `$stamp(lo, hi) { const m = this.$m, w = ${at(word)}; m[w] = m[w] & ${~mask} | ${packed(kind, 'lo', shift)}; }`,
  );
};

/** The terms that `set` puts together in each word, and the bytes of the word that it leaves alone. */
class WordPlan {
  readonly terms: string[] = [];
  kept = 0;
}

const plan = (site: Site): { readonly words: WordPlan[]; readonly wides: string[] } => {
  const words: WordPlan[] = [];
  const wides: string[] = [];
  const word = (i: number): WordPlan => (words[i] ??= new WordPlan());
  const keep = (from: number, to: number): void => {
    for (let byte = from; byte < to; byte++) word(byte >> 2).kept |= 255 << ((byte & 3) * 8);
  };
  const visit = (of: Struct, base: number, path: string, pair: string | undefined): void => {
    for (const { name, field, offset, size: bytes } of layoutFor(of, site.abi).members) {
      const byte = base + offset;
      const { kind } = field;
      const value = name === pair ? 'this.$id' : `${path}.${name}`;
      if (kind === 'padding') continue;
      if (kind === 'array' || kind === 'overlay') keep(byte, byte + bytes);
      else if (kind === 'struct') visit(field, byte, value, undefined);
      else if (kind === 'opaque64') {
        word(byte >> 2).terms.push(name === pair ? value : `${value}.lo`);
        word((byte >> 2) + 1).terms.push(name === pair ? '0' : `${value}.hi`);
      } else if (kind === 'u64') {
        const local = `v${wides.length}`;
        wides.push(`const ${local} = ${value}, h${wides.length} = ${local} >>> 0 === ${local} ? 0 : upper(${local});`);
        word((byte >> 2) + 1).terms.push(`h${wides.length - 1}`);
        word(byte >> 2).terms.push(local);
      } else word(byte >> 2).terms.push(packed(kind, value, (byte & 3) * 8));
    }
  };
  const { size: bytes } = layoutFor(site.of, site.abi);
  for (let i = 0; i < Math.ceil((site.bias + bytes) / 4); i++) word(i);
  keep(0, site.bias);
  keep(site.bias + bytes, words.length * 4);
  visit(site.of, site.bias, 'v', site.pair);
  return { words, wides };
};

const emitSet = (text: Text, site: Site): void => {
  const { words, wides } = plan(site);
  const writes = words.flatMap(({ terms, kept }, i) => {
    if (kept === -1) return [];
    const value =
      terms.length === 0 ? '0' : terms.length === 1 ? terms.join('') : terms.map((t) => `(${t})`).join(' | ');
    return kept === 0 ? [`m[w + ${i}] = ${value};`] : [`m[w + ${i}] = m[w + ${i}] & ${kept} | (${value});`];
  });
  text.members.push(`set(v) { ${wides.join(' ')} const m = this.$m, w = this.$w; ${writes.join(' ')} }`);
};

const packs = (site: Site): boolean => {
  const { kind, fields } = site.of;
  const { members } = layoutFor(site.of, site.abi);
  if (kind === 'struct' && plan(site).words.some(({ kept }) => kept !== 0 && kept !== -1)) return false;
  return (
    members.every(({ field, offset }) => {
      const bias = site.bias + offset;
      if (field.kind === 'struct' && kind === 'struct') return true;
      if (field.kind === 'struct' || field.kind === 'overlay') return packs({ ...site, of: field, bias });
      if (field.kind !== 'array') return true;
      if (field.of.kind === 'struct' || field.of.kind === 'overlay') return packs({ ...site, of: field.of, bias });
      return size(field.of.kind) === 4;
    }) && fields !== undefined
  );
};

const classOf = (text: Text, name: string): CursorClass => {
  const scope = { ...runtime, ...text.needs };
  const body = `'use strict'; return class ${name} { constructor(m, w) { this.$m = m; this.$w = w; ${text.fields.join(' ')} }\n${text.members.join('\n')}\n};`;
  return new Function(...Object.keys(scope), body)(...Object.values(scope)) as CursorClass;
};

const emitMember = (text: Text, site: Site, layout: Layout, member: Member): void => {
  const { name, field, offset } = member;
  const { word, shift } = position(site, offset);
  const inner = (of: Struct, pair: string | undefined): CursorClass =>
    cursorClass({ ...site, of, bias: shift / 8, pair });
  switch (field.kind) {
    case 'padding':
      break;
    case 'opaque64':
      emitSub(text, name, classOf(opaqueText(site.writes), `${site.of.name}_${name}`), word);
      break;
    case 'array':
      emitArray(text, site, member, field, layout);
      break;
    case 'struct':
    case 'overlay': {
      const pair =
        site.of.kind === 'overlay' && field.kind === 'struct' && field.fields[site.pair ?? ''] !== undefined
          ? site.pair
          : undefined;
      emitSub(text, name, inner(field, pair), word, pair === undefined ? '' : 'c.$id = this.$id; ');
      break;
    }
    default:
      emitScalar(text, site, name, field.kind, offset);
  }
};

const cursorClass = (site: Site): CursorClass => {
  const layout = layoutFor(site.of, site.abi);
  const text = new Text();
  for (const member of layout.members) {
    emitMember(text, site, layout, member);
    if (member.name === site.pair) emitPair(text, site, member);
  }
  if (site.pair === undefined)
    text.members.push('get $lo() { return 0; }', 'get $hi() { return 0; }', '$stamp(lo, hi) {}');
  if (site.writes && site.of.kind === 'struct') emitSet(text, site);
  return classOf(text, `${site.of.name}${site.writes ? 'Draft' : 'View'}`);
};

/** The words of a record that are copied: those that always are, and runs of which only a counted part is. */
interface Extent {
  readonly always: ReadonlySet<number>;
  readonly counted: readonly {
    readonly from: number;
    readonly count: string;
    readonly max: number;
    readonly words: number;
  }[];
}

const extentOf = (of: Struct, abi: Abi, holes: boolean): Extent => {
  const layout = layoutFor(of, abi);
  const site: Site = { of, abi, bias: 0, pair: undefined, writes: false };
  const always = new Set<number>();
  const counted: Extent['counted'][number][] = [];
  const whole = (from: number, to: number): void => {
    for (let i = from >> 2; i < Math.ceil(to / 4); i++) always.add(i);
  };
  const covered = new Set<number>();
  for (const { field, offset, size: bytes } of layout.members) {
    const count = field.kind === 'array' ? countOf(site, field, layout, (index) => `x${index}`) : undefined;
    if (field.kind === 'array' && count !== undefined && offset % 4 === 0 && (bytes / field.length) % 4 === 0) {
      counted.push({ from: offset / 4, count, max: field.length, words: bytes / field.length / 4 });
      for (let i = offset / 4; i < (offset + bytes) / 4; i++) covered.add(i);
    } else if (field.kind !== 'padding') whole(offset, offset + bytes);
  }
  if (holes) for (let i = 0; i < layout.size / 4; i++) if (!covered.has(i)) always.add(i);
  return { always, counted };
};

const copyText = (of: Struct, abi: Abi, holes: boolean, given: ReadonlySet<number>): string => {
  const { always, counted } = extentOf(of, abi, holes);
  const wanted = [...always].filter((i) => !given.has(i)).sort((a, b) => a - b);
  const named = new Set(counted.flatMap(({ count }) => [...count.matchAll(/x(\d+)/g)].map((m) => Number(m[1]))));
  const lines = wanted.map((i) =>
    named.has(i) ? `const x${i} = f[a + ${i}]; t[b + ${i}] = x${i};` : `t[b + ${i}] = f[a + ${i}];`,
  );
  for (const { from, count, max, words } of counted) {
    lines.push(
      `{ let n = ${count}; if (n >>> 0 > ${max}) n = ${max}; for (let i = ${from}, e = ${from} + n * ${words}; i < e; i++) t[b + i] = f[a + i]; }`,
    );
  }
  return lines.join('\n');
};

const choiceText = (of: Struct, abi: Abi, holes: boolean, choice: Choice): string => {
  const layout = layoutFor(of, abi);
  const tag = layout.members.find((member) => member.name === choice.by);
  if (tag === undefined) throw new TypeError(`${of.name} has no ${choice.by} to choose a variant by`);
  const index = tag.offset >> 2;
  const variant = (name: string): string => {
    const field = of.fields[name];
    if (field?.kind !== 'struct') throw new TypeError(`${of.name} has no variant ${name}`);
    return copyText(field, abi, holes, new Set([index]));
  };
  const cases = Object.entries(choice.when).map(
    ([name, values]) => `${values.map((value) => `case ${value}:`).join(' ')} { ${variant(name)} return; }`,
  );
  const value = unpacked(tag.field.kind as ScalarKind, `x${index}`, (tag.offset & 3) * 8);
  return `const x${index} = f[a + ${index}]; t[b + ${index}] = x${index};\nswitch (${value}) { ${cases.join('\n')} default: { ${variant(choice.otherwise)} } }`;
};

const copier = (of: Struct, abi: Abi, holes: boolean): CopyRecord => {
  const { kind, choice } = of;
  const body =
    kind === 'overlay' && choice !== undefined
      ? choiceText(of, abi, holes, choice)
      : copyText(of, abi, holes, new Set());
  return new Function('f', 'a', 't', 'b', `'use strict'; ${body}`) as CopyRecord;
};

const zeroer = (words: number): Codec['zero'] =>
  new Function(
    'm',
    'w',
    `'use strict'; ${Array.from({ length: words }, (_, i) => `m[w + ${i}] = 0;`).join(' ')}`,
  ) as Codec['zero'];

const known = new WeakMap<Layout, Map<string | undefined, Codec>>();

/** The code for one struct in one ABI; `pair` names the member that pairs a response with its request. */
export const codecFor = (of: Struct, abi: Abi, pair?: string): Codec => {
  const layout = layoutFor(of, abi);
  let byPair = known.get(layout);
  if (byPair === undefined) {
    byPair = new Map();
    known.set(layout, byPair);
  }
  const found = byPair.get(pair);
  if (found !== undefined) return found;
  const words = Math.ceil(layout.size / 4);
  const site = { of, abi, bias: 0, pair };
  const made: Codec = {
    layout,
    words,
    View: cursorClass({ ...site, writes: false }),
    Draft: cursorClass({ ...site, writes: true }),
    packs: packs({ ...site, writes: true }),
    zero: zeroer(words),
    copyIn: copier(of, abi, false),
    copyOut: copier(of, abi, true),
  };
  byPair.set(pair, made);
  return made;
};
