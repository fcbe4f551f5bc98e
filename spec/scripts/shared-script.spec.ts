import { Script } from 'node:vm';
import { expect } from 'chai';

interface Output {
  readonly path: string;
  readonly text: string;
}

type Imports = readonly { readonly path: string; readonly kind: string }[];

interface SharedScript {
  withSharedScript(
    outputs: readonly Output[],
    metafile: { readonly outputs: { readonly [path: string]: { readonly imports: Imports } } },
    entries: readonly string[],
    variables: ReadonlySet<string>,
  ): readonly Output[];
}

const { withSharedScript } = (await import(
  new URL('scripts/shared-script.mjs', import.meta.resolve('splitring/package.json')).href
)) as SharedScript;

const entry = 'dist/a/entry.js';
const other = 'dist/b/other.js';
const made = ['dist/chunks/splitring.js', 'dist/chunks/splitring.cjs', 'dist/platform/threads/worker.cjs'];
const chunk = (name: string): string => `dist/chunks/${name}.js`;

/**
 * What becomes of an entry and another module, both of which import `one`, and of chunks, each given with the chunks that it imports. Only
 * what the entry is made of goes into the script.
 */
const shared = (
  chunks: Readonly<Record<string, readonly [text: string, ...imports: readonly string[]]>>,
  variables: readonly string[] = [],
): Readonly<Record<string, string>> => {
  const loads = (names: readonly string[]) => ({
    imports: names.map((name) => ({ path: chunk(name), kind: 'import-statement' })),
  });
  const outputs = Object.entries(chunks).map(([name, [text]]) => ({ path: chunk(name), text }));
  const importing =
    'import {\n  one as first\n} from "../chunks/one.js";\nexport {\n  first,\n  first as default\n};\n';
  const all = withSharedScript(
    [{ path: entry, text: importing }, { path: other, text: importing }, ...outputs],
    {
      outputs: {
        [entry]: loads(['one']),
        [other]: loads(['one']),
        ...Object.fromEntries(Object.entries(chunks).map(([name, [, ...imports]]) => [chunk(name), loads(imports)])),
      },
    },
    [entry],
    new Set(variables),
  );
  return Object.fromEntries(all.map(({ path, text }) => [path, text]));
};

/** What the script makes of a chunk, or of the entry. */
const chunkIn = (text: string | undefined): ((name: string) => Readonly<Record<string, unknown>>) => {
  const chunks = new Script(text ?? '').runInThisContext()(process.getBuiltinModule);
  return (name) => chunks[`$${name}`]();
};

describe('scripts/shared-script.mjs', () => {
  it('makes functions of chunks, each of which runs once, when it is first asked for, and before its importers', () => {
    const outputs = shared({
      one: ['import {\n  two\n} from "./two.js";\nvar one = [two];\nexport {\n  one\n};\n', 'two'],
      two: ['import { EOL } from "node:os";\nvar it = [EOL];\nexport {\n  it as two\n};\n'],
    });
    expect(Object.keys(outputs)).to.have.members([entry, other, ...made]);
    const chunkOf = chunkIn(outputs['dist/chunks/splitring.cjs']);
    const { one } = chunkOf('one');
    expect(one).to.deep.equal([['\n']]);
    expect(chunkOf('one')).to.equal(chunkOf('one'));
    expect(one).to.have.property('0', chunkOf('two').two);
  });

  const one = 'var one = [1];\nexport {\n  one\n};\n';
  const takes = /^import \{ chunks as \$chunks \} from "\.\.\/chunks\/splitring\.js";\nconst \{ one: first \} = /;

  it('has a module take from the script what it took from a chunk', () => {
    expect(shared({ one: [one] })[other])
      .to.match(takes)
      .and.contain('export {\n  first,\n  first as default\n};');
  });

  it('puts an entry into the script too, and leaves a module that exports what it made there', () => {
    const outputs = shared({ one: [one] });
    const chunkOf = chunkIn(outputs['dist/chunks/splitring.cjs']);
    expect(chunkOf('a_entry')).to.deep.equal({ first: [1], default: [1] });
    expect(chunkOf('a_entry').default).to.equal(chunkOf('one').one);
    expect(outputs[entry]).to.contain('= $chunks.$a_entry();\nexport { $0 as first, $1 as default };');
  });

  it('refuses a chunk that imports while it runs, or waits, or changes what it exports, and chunks that load each other', () => {
    const one = (body: string): string => `${body}\nexport {\n  one\n};\n`;
    expect(() => shared({ one: [one('var one = () => import("node:os");')] })).to.throw(
      /chunks\/one\.js cannot go into a script: it imports while it runs/,
    );
    expect(() => shared({ one: [one('var one = await 1;')] })).to.throw(SyntaxError);
    const counter = one('let one = 1;\nfunction more() {\n  one = 2;\n}');
    expect(() => shared({ one: [counter] }, ['one'])).to.throw(/one\.js exports the variable one, and changes it/);
    expect(() => shared({ one: [one('var one = 1;'), 'two'], two: ['', 'one'] })).to.throw(/chunks load each other/);
  });
});
