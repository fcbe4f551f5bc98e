import { ClassText, unpacked } from './class-text.js';
import { countText, inPlaceClass, isStruct } from './in-place.js';
import { type Abi, layoutFor, type Member } from './layout.js';
import {
  type ArrayMember,
  arrayMember,
  countedWords,
  type ElementText,
  held,
  is64,
  isArray,
  isChosen,
  isPlain,
  lies,
  type Message,
  message,
  numberGetter,
  opaqueMember,
  type RecordClass,
  type RecordView,
  scalarOf,
  seen,
  sharedNumbers,
  variantsOf,
  wordAt,
  wordsOf,
} from './message.js';
import type { Struct } from './struct.js';

/** Reads the pairing member, of whose words some are known as `x0`, `x1` … already. */
const loadPair = (pair: Member, known: readonly number[]): string => {
  const { index, shift } = lies(pair);
  const read = (i: number): string => (known.includes(i) ? `x${i}` : wordAt(i));
  if (is64(pair)) return `this.$lo = ${read(index)}; this.$hi = ${read(index + 1)};`;
  return `this.$lo = ${unpacked(scalarOf(pair), read(index), shift)};`;
};

/** Elements of a few words are copied element by element, which takes fewer turns of the loop than word by word. */
const loadArray = (of: Message, member: ArrayMember): string => {
  const { name, field, offset, size } = member;
  const count = countText(of.layout, field, 0, (index) => `x${index}`);
  const words = size / field.length / 4;
  const each = Number.isInteger(words) && words <= 4 ? words : 1;
  const { before, end } = countedWords(member, count);
  const copies = Array.from({ length: each }, (_, i) =>
    i === 0 ? 'a[i] = m[k + i];' : `a[i + ${i}] = m[k + i + ${i}];`,
  );
  const length = count === undefined ? '' : 's.length = n;';
  return `{ const s = this.${name}, a = s.$a, k = w + ${offset / 4}; ${before} ${length} for (let i = 0, e = ${end}; i < e; i += ${each}) { ${copies.join(' ')} } }`;
};

const elementView = (of: Message, { field }: ArrayMember): ElementText | undefined => {
  if (!isStruct(field.of)) return undefined;
  const element = message(field.of, of.layout.abi, undefined);
  const words = element.layout.size / 4;
  if (isPlain(element) && !seen(element).some(isArray)) {
    return { cls: structView(element), made: '', point: `e.$load(this.$a, i * ${words});` };
  }
  const cls = inPlaceClass({ of: field.of, abi: of.layout.abi, bias: 0, pair: undefined, writes: false });
  return { cls, made: 'this.$a, 0', point: `e.$w = i * ${words};` };
};

/** @param given for a variant: the words that its overlay has read already, as it has the pairing member */
const structView = (of: Message, given?: readonly number[]): RecordClass<RecordView> => {
  const text = new ClassText(`${of.of.name}_View`, '');
  const members = seen(of);
  const arrays = members.filter(isArray);
  const words = held(of);
  // A word that is wanted twice is read once, into a variable.
  const counts = arrays.map(({ field }) => field.count);
  const paired = given === undefined && of.pair !== undefined ? of.pair : undefined;
  const twice = of.layout.members.flatMap((member) =>
    counts.includes(member.name) || member === paired ? wordsOf(member) : [],
  );
  const load = words.map((index) => {
    if (given?.includes(index)) return `this.$${index} = x${index};`;
    if (!twice.includes(index)) return `this.$${index} = ${wordAt(index)};`;
    return `const x${index} = ${wordAt(index)}; this.$${index} = x${index};`;
  });
  if (paired !== undefined) load.push(loadPair(paired, words));
  text.fields.push(...words.map((index) => `this.$${index} = 0;`));
  if (given === undefined) text.fields.push('this.$lo = 0; this.$hi = 0;');
  for (const member of members) {
    if (isArray(member)) arrayMember(text, of, member, false, elementView(of, member));
    else if (member.field.kind === 'opaque64') opaqueMember(text, of, member, false);
    else numberGetter(text, member);
  }
  load.push(...arrays.map((member) => loadArray(of, member)));
  const parameters = ['m', 'w', ...(given ?? []).map((index) => `x${index}`)];
  text.members.push(`$load(${parameters.join(', ')}) { ${load.join(' ')} }`);
  return text.compile() as RecordClass<RecordView>;
};

const wrong = (what: string): never => {
  throw new TypeError(`${what} is not what this message holds`);
};

const overlayView = (of: Message): RecordClass<RecordView> => {
  const text = new ClassText(`${of.of.name}_View`, '');
  const variants = variantsOf(of);
  const numbers = sharedNumbers(of);
  const { choice } = of.of;
  const tag = numbers.find(({ name }) => name === choice?.by);
  if (choice === undefined || tag === undefined)
    throw new TypeError(`${of.of.name} has no shared ${choice?.by} to choose by`);
  const own = held(of);
  const pairWords = of.pair === undefined ? [] : wordsOf(of.pair);
  const inVariants = new Set(variants.flatMap(held));
  const read = [...new Set([...own, ...pairWords.filter((index) => inVariants.has(index))])];
  const given = read.map((index) => `, x${index}`).join('');
  const load = read.map(
    (index) => `const x${index} = ${wordAt(index)};${own.includes(index) ? ` this.$${index} = x${index};` : ''}`,
  );
  if (of.pair !== undefined) load.push(loadPair(of.pair, read));
  text.fields.push('this.$v = 0; this.$lo = 0; this.$hi = 0;', ...own.map((index) => `this.$${index} = 0;`));
  text.scope.wrong = wrong;
  variants.forEach((variant, i) => {
    const { name } = variant;
    text.scope[`C_${name}`] = structView(variant, read);
    text.fields.push(`this.$c_${name} = new C_${name}();`);
    text.members.push(
      `get ${name}() { if (this.$v !== ${i}) wrong('${of.of.name}.${name}'); return this.$c_${name}; }`,
    );
  });
  for (const member of numbers) {
    if (member.field.kind === 'opaque64') opaqueMember(text, of, member, false);
    else numberGetter(text, member);
  }
  const loadVariant = (name: string): string => {
    const i = variants.findIndex((variant) => variant.name === name);
    if (i < 0) throw new TypeError(`${of.of.name} has no variant ${name}`);
    return `this.$v = ${i}; this.$c_${name}.$load(m, w${given});`;
  };
  // The usual variant is loaded here and the others out of line: what is inlined on the data path has to be small.
  const value = unpacked(scalarOf(tag), `x${lies(tag).index}`, lies(tag).shift);
  const unusual = Object.values(choice.when).flatMap((values) => values.map((v) => `t === ${v}`));
  const cases = Object.entries(choice.when).map(([name, values]) => {
    return `${values.map((v) => `case ${v}:`).join(' ')} ${loadVariant(name)} break;`;
  });
  text.members.push(
    `$load(m, w) { ${load.join(' ')} const t = ${value}; if (${unusual.join(' || ') || 'false'}) this.$other(m, w, t${given}); else { ${loadVariant(choice.otherwise)} } }`,
    `$other(m, w, t${given}) { switch (t) { ${cases.join(' ')} } }`,
  );
  return text.compile() as RecordClass<RecordView>;
};

/** For messages of any other make: a cursor over words of its own, copied whole. */
const wordsView = (of: Message): RecordClass<RecordView> => {
  const text = new ClassText(`${of.of.name}_View extends Base`, '');
  text.scope.Base = inPlaceClass({ of: of.of, abi: of.layout.abi, bias: 0, pair: of.pair?.name, writes: false });
  text.fields.push(`super(new Int32Array(${of.layout.size / 4}), 0); this.$lo = 0; this.$hi = 0;`);
  const pair = of.pair === undefined ? '' : `m = a; w = 0; ${loadPair(of.pair, [])}`;
  text.members.push(
    `$load(m, w) { const a = this.$m; for (let i = 0; i < ${of.layout.size / 4}; i++) a[i] = m[w + i]; ${pair} }`,
  );
  return text.compile() as RecordClass<RecordView>;
};

/** The class of a message's private copies. */
export const viewClass = (of: Struct, abi: Abi, pair: string | undefined): RecordClass<RecordView> => {
  const made = message(of, abi, pair);
  if (layoutFor(of, abi).size % 4 !== 0) throw new TypeError(`${of.name} is ${made.layout.size} bytes, no whole words`);
  return isPlain(made) ? structView(made) : isChosen(made) ? overlayView(made) : wordsView(made);
};
