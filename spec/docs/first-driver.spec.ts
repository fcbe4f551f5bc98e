import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';

/** The repository's root, seen from dist/spec/docs. */
const root = new URL('../../../', import.meta.url).pathname;
const page = readFileSync(join(root, 'docs/first-driver.md'), 'utf8');

interface Block {
  readonly language: string;
  readonly name: string;
  readonly text: string;
}

const blocks: readonly Block[] = [...page.matchAll(/^```(\w*) ?(.*)\n([\s\S]*?)^```$/gm)].map(
  ([, language = '', name = '', text = '']) => ({ language, name, text }),
);
const files = blocks.filter(({ language }) => language !== 'text');

const run = (cwd: string, program: string, ...args: readonly string[]): string => {
  try {
    return execFileSync(process.execPath, [join(root, 'node_modules', program), ...args], { cwd, encoding: 'utf8' });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}`);
  }
};

describe('docs/first-driver.md', () => {
  let folder: string;

  before(function () {
    this.timeout(60_000);
    // Below the package, so that 'splitring' is the package itself, as it is for a user who has installed it.
    folder = mkdtempSync(join(root, 'dist/first-driver-'));
    for (const { name, text } of files) writeFileSync(join(folder, name), text);
  });

  after(() => rmSync(folder, { recursive: true, force: true }));

  it('names the file of every block of code', () => {
    expect(blocks.map(({ language, name }) => `${language} ${name}`)).to.deep.equal([
      'json tsconfig.json',
      'ts protocol.ts',
      'ts entropy.ts',
      'ts backend.ts',
      'ts frontend.ts',
      'ts rng.spec.ts',
      'ts watch.ts',
      'text watch.ts',
    ]);
  });

  for (const { language, name, text } of files) {
    if (language !== 'ts' || name === 'watch.ts' || name === 'rng.spec.ts') continue;
    it(`shows examples/rng/${name} as it is`, () => {
      expect(text).to.equal(readFileSync(join(root, 'examples/rng', name), 'utf8'));
    });
  }

  it('compiles, its test passes, and its program prints what the page shows', function () {
    this.timeout(60_000);
    run(folder, 'typescript/bin/tsc', '-p', '.');
    expect(run(folder, 'mocha/bin/mocha.js', '--no-config', '--timeout', '20000', 'built/rng.spec.js')).to.contain(
      '2 passing',
    );
    const shown = blocks.find(({ language, name }) => language === 'text' && name === 'watch.ts')?.text;
    expect(execFileSync(process.execPath, ['built/watch.js'], { cwd: folder, encoding: 'utf8' })).to.equal(shown);
  });
});
