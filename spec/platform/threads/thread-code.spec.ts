import { mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { currentBundle, threadCode } from '../../../platform/threads/thread-code.js';

describe('the bundle that npm test makes for the threads of its domains', () => {
  let path: string;
  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'splitring-spec-'));
  });
  afterEach(() => rmSync(path, { recursive: true }));

  it('is taken while every module that it was made of is as it was', () => {
    const checkout = pathToFileURL(`${path}/`);
    expect(currentBundle(checkout)).to.equal(undefined);
    mkdirSync(join(path, 'dist/.threads'), { recursive: true });
    const modules = ['dist/a.js', 'dist/b.js'];
    for (const module of modules) writeFileSync(join(path, module), '');
    const inputs = Object.fromEntries(modules.map((module) => [module, statSync(join(path, module)).mtimeMs]));
    writeFileSync(join(path, 'dist/.threads/index.json'), JSON.stringify({ inputs, modules: { 'dist/a.js': '$a' } }));
    expect(currentBundle(checkout)).to.have.property('modules').that.deep.equals({ 'dist/a.js': '$a' });
    utimesSync(join(path, 'dist/b.js'), 1, 1);
    expect(currentBundle(checkout)).to.equal(undefined);
    writeFileSync(join(path, 'dist/.threads/index.json'), JSON.stringify({ inputs: { 'dist/c.js': 1 }, modules: {} }));
    expect(currentBundle(checkout)).to.equal(undefined);
  });

  const there = currentBundle() !== undefined;
  (there ? it : it.skip)(
    `is for domains whose modules are in it, and no others${there ? '' : ' (npm test makes it)'}`,
    () => {
      const entryFor = (module: string): string => threadCode(module).entry.pathname;
      expect(entryFor(import.meta.resolve('../../../drivers/blk/module.js'))).to.match(
        /\/dist\/\.threads\/.*worker\.cjs$/,
      );
      expect(entryFor('data:text/javascript,')).to.match(/\/dist\/platform\/threads\/worker\.js$/);
    },
  );
});
