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
const chunk = (name: string): string => `dist/chunks/${name}.js`;

/** What becomes of an entry that imports `one` and chunks, each given with the chunks that it imports. */
const shared = (
  chunks: Readonly<Record<string, readonly [text: string, ...imports: readonly string[]]>>,
  variables: readonly string[] = [],
): Readonly<Record<string, string>> => {
  const loads = (names: readonly string[]) => ({
    imports: names.map((name) => ({ path: chunk(name), kind: 'import-statement' })),
  });
  const outputs = Object.entries(chunks).map(([name, [text]]) => ({ path: chunk(name), text }));
  const made = withSharedScript(
    [
      { path: entry, text: 'import {\n  one as first\n} from "../chunks/one.js";\nexport {\n  first\n};\n' },
      ...outputs,
    ],
    {
      outputs: {
        [entry]: loads(['one']),
        ...Object.fromEntries(Object.entries(chunks).map(([name, [, ...imports]]) => [chunk(name), loads(imports)])),
      },
    },
    [entry],
    new Set(variables),
  );
  return Object.fromEntries(made.map(({ path, text }) => [path, text]));
};

/** What the script makes of a chunk. */
const chunkIn = (text: string | undefined): ((name: string) => Readonly<Record<string, unknown>>) => {
  const chunks = new Script(text ?? '').runInThisContext()({ 'node:os': { EOL: '\n' } });
  return (name) => chunks[`$${name}`]();
};

describe('scripts/shared-script.mjs', () => {
  it('makes functions of chunks, each of which runs once, when it is first asked for, and before its importers', () => {
    const outputs = shared({
      one: ['import {\n  two\n} from "./two.js";\nvar one = [two];\nexport {\n  one\n};\n', 'two'],
      two: ['import { EOL } from "node:os";\nvar it = [EOL];\nexport {\n  it as two\n};\n'],
    });
    expect(Object.keys(outputs)).to.have.members([entry, 'dist/chunks/splitring.js', 'dist/chunks/splitring.cjs']);
    const made = chunkIn(outputs['dist/chunks/splitring.cjs']);
    const { one } = made('one');
    expect(one).to.deep.equal([['\n']]);
    expect(made('one')).to.equal(made('one'));
    expect(one).to.have.property('0', made('two').two);
  });

  it('has an entry take from the script what it took from a chunk', () => {
    const made = shared({ one: ['var one = 1;\nexport {\n  one\n};\n'] });
    expect(made[entry])
      .to.match(/^import \{ chunks as \$chunks \} from "\.\.\/chunks\/splitring\.js";\nconst \{ one: first \} = /)
      .and.contain('export {\n  first\n};');
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
