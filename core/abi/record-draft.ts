import { ClassText, packed, replaced } from './class-text.js';
import { countText, inPlaceClass, isStruct } from './in-place.js';
import type { Abi, Member } from './layout.js';
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
  type RecordDraft,
  scalarOf,
  seen,
  sharedNumbers,
  variantsOf,
  wordAt,
  wordsOf,
} from './message.js';
import { setText } from './set-text.js';
import type { Struct } from './struct.js';

const numberSetter = (text: ClassText, member: Member): void => {
  const { index, shift } = lies(member);
  const [lo, hi] = [`this.$${index}`, `this.$${index + 1}`];
  const statement =
    member.field.kind === 'u64'
      ? `${hi} = v >>> 0 === v ? 0 : upper(v) | 0; ${lo} = v | 0;`
      : `${lo} = ${replaced(scalarOf(member), lo, 'v', shift)} | 0;`;
  text.members.push(`set ${member.name}(v) { ${statement} }`);
};

const elementDraft = (of: Message, { field }: ArrayMember): ElementText | undefined => {
  if (!isStruct(field.of)) return undefined;
  const { abi } = of.layout;
  const { size } = message(field.of, abi, undefined).layout;
  const cls = inPlaceClass({ of: field.of, abi, bias: 0, pair: undefined, writes: true });
  return { cls, made: 'this.$a, 0', point: `e.$w = i * ${size / 4};` };
};

/** What goes into one word, if it is not an array's: what is held of it, and the pairing member. */
const wordValue = ({ pair }: Message, words: readonly number[], index: number): string => {
  const own = words.includes(index) ? `this.$${index}` : undefined;
  if (pair === undefined || !wordsOf(pair).includes(index)) return own ?? '0';
  if (is64(pair)) return index === lies(pair).index ? 'lo' : 'hi';
  const id = packed(scalarOf(pair), 'lo', lies(pair).shift);
  return own === undefined ? id : `${own} | ${id}`;
};

const storeArray = (of: Message, member: ArrayMember): string => {
  const count = countText(of.layout, member.field, 0, (index) => `this.$${index}`);
  const { before, end } = countedWords(member, count);
  return `{ const a = this.${member.name}.$a, k = w + ${member.offset / 4}; ${before} for (let i = 0, e = ${end}; i < e; i++) m[k + i] = a[i]; }`;
};

const structDraft = (of: Message): RecordClass<RecordDraft> => {
  const text = new ClassText(`${of.of.name}_Draft`, '');
  const members = seen(of);
  const arrays = members.filter(isArray);
  const words = held(of);
  const inArrays = new Set(
    arrays.flatMap(({ offset, size }) => Array.from({ length: size / 4 }, (_, i) => offset / 4 + i)),
  );
  const others = Array.from({ length: of.layout.size / 4 }, (_, i) => i).filter((index) => !inArrays.has(index));
  const zero = [...words.map((i) => `this.$${i} = 0;`), ...arrays.map(({ name }) => `this.${name}.$a.fill(0);`)].join(
    ' ',
  );
  const store = [
    ...others.map((i) => `${wordAt(i)} = ${wordValue(of, words, i)};`),
    ...arrays.map((member) => storeArray(of, member)),
  ];
  text.fields.push(...words.map((i) => `this.$${i} = 0;`));
  for (const member of members) {
    if (isArray(member)) arrayMember(text, of, member, true, elementDraft(of, member));
    else if (member.field.kind === 'opaque64') opaqueMember(text, of, member, true);
    else {
      numberGetter(text, member);
      numberSetter(text, member);
    }
  }
  const pair = of.pair === undefined ? undefined : { name: of.pair.name, value: undefined };
  const set = setText(of.of, of.layout.abi, 0, pair);
  text.members.push(
    `set(v) { ${set.before} ${words.map((i) => `this.$${i} = ${set.words[i]?.value} | 0;`).join(' ')} }`,
    `$zero() { ${zero} }`,
    `$store(m, w, lo, hi) { ${store.join(' ')} ${zero} }`,
  );
  return text.compile() as RecordClass<RecordDraft>;
};

/** Writes whichever variant was asked for last; shared members are written in all. */
const overlayDraft = (of: Message): RecordClass<RecordDraft> => {
  const text = new ClassText(`${of.of.name}_Draft`, '');
  const variants = variantsOf(of);
  text.fields.push('this.$v = 0;');
  variants.forEach((variant, i) => {
    const { name } = variant;
    text.scope[`C_${name}`] = structDraft(variant);
    text.fields.push(`this.$c_${name} = new C_${name}();`);
    text.members.push(`get ${name}() { this.$v = ${i}; return this.$c_${name}; }`);
  });
  const [first] = variants;
  for (const { name, field } of sharedNumbers(of)) {
    text.members.push(`get ${name}() { return this.$c_${first?.name}.${name}; }`);
    const set = variants.map((variant) => `this.$c_${variant.name}.${name} = v;`);
    if (field.kind !== 'opaque64') text.members.push(`set ${name}(v) { ${set.join(' ')} }`);
  }
  const cases = variants.map(({ name }, i) => `case ${i}: this.$c_${name}.$store(m, w, lo, hi); break;`);
  text.members.push(
    `$zero() { this.$v = 0; ${variants.map(({ name }) => `this.$c_${name}.$zero();`).join(' ')} }`,
    `$store(m, w, lo, hi) { switch (this.$v) { ${cases.join(' ')} } this.$zero(); }`,
  );
  return text.compile() as RecordClass<RecordDraft>;
};

/** For messages of any other make: a cursor over words of its own, copied whole. */
const wordsDraft = (of: Message): RecordClass<RecordDraft> => {
  const text = new ClassText(`${of.of.name}_Draft extends Base`, '');
  text.scope.Base = inPlaceClass({ of: of.of, abi: of.layout.abi, bias: 0, pair: of.pair?.name, writes: true });
  text.fields.push(`super(new Int32Array(${of.layout.size / 4}), 0);`);
  const pair =
    of.pair === undefined
      ? []
      : wordsOf(of.pair).map((i) => {
          const { pair } = of;
          if (pair === undefined || is64(pair))
            return `a[${i}] = ${i === lies(of.pair as Member).index ? 'lo' : 'hi'};`;
          return `a[${i}] = ${replaced(scalarOf(pair), `a[${i}]`, 'lo', lies(pair).shift)};`;
        });
  text.members.push(
    '$zero() { this.$m.fill(0); }',
    `$store(m, w, lo, hi) { const a = this.$m; ${pair.join(' ')} for (let i = 0; i < ${of.layout.size / 4}; i++) m[w + i] = a[i]; a.fill(0); }`,
  );
  return text.compile() as RecordClass<RecordDraft>;
};

/** The class of a message's private drafts. */
export const draftClass = (of: Struct, abi: Abi, pair: string | undefined): RecordClass<RecordDraft> => {
  const made = message(of, abi, pair);
  if (made.layout.size % 4 !== 0) throw new TypeError(`${of.name} is ${made.layout.size} bytes, no whole words`);
  return isPlain(made) ? structDraft(made) : isChosen(made) ? overlayDraft(made) : wordsDraft(made);
};
