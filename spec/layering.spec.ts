import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { violations } from './support/layering.js';
import { type Source, sourcesOf } from './support/sources.js';
import { projectRoot } from './support/typescript.js';

describe('the layers', () => {
  it('import only what lies below them', () => {
    const sources = sourcesOf(projectRoot);
    expect(sources.map(({ path }) => path)).to.include('core/abi/units.ts');
    expect(violations(sources)).to.deep.equal([]);
  });
});

describe('the rules on layers', () => {
  let root: string;

  before(() => {
    root = mkdtempSync(join(tmpdir(), 'splitring-layers-'));
    write('tsconfig.json', JSON.stringify({ compilerOptions: { module: 'nodenext', noLib: true, types: [] } }));
  });

  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };

  /** What the rules say of a project of these files alone. */
  const judged = (files: Readonly<Record<string, string>>): readonly string[] => violations(read(files));

  const read = (files: Readonly<Record<string, string>>): readonly Source[] => {
    for (const [path, text] of Object.entries(files)) write(path, text);
    const sources = sourcesOf(root);
    for (const path of Object.keys(files)) rmSync(join(root, path));
    return sources;
  };

  after(() => rmSync(root, { recursive: true }));

  it('see every form of import, and no import in a comment, a string or a pattern', () => {
    const [source] = read({
      'core/abi/a.ts': `
        import './b.js';
        import { c, type C } from './c.js';
        import type { D } from "./d.js";
        export { e } from './e.js';
        export type { F } from './f.js';
        export * as g from './g.js';
        type H = import('./h.js').H;
        await import('./i.js');
        import 'node:fs';
        import { Subject } from 'rxjs';
        // import './comment.js';
        /* export * from './comment.js'; */
        const text = "import './text.js'" + \`import './template.js' \${1}\`;
        const pattern = /import '.\\/pattern.js'/;`,
    });
    const letters = [...'bcdefghi'].map((letter) => `core/abi/${letter}.ts`);
    expect(source?.imports).to.have.members([...letters, 'node:fs', 'rxjs']);
    const types = ['core/abi/d.ts', 'core/abi/f.ts', 'core/abi/h.ts'];
    expect(source?.loads).to.have.members(source?.imports.filter((path) => !types.includes(path)) ?? []);
  });

  it('know the package under its own name', () => {
    write('package.json', JSON.stringify({ name: 'splitring', exports: { '.': { default: './dist/core/index.js' } } }));
    const sources = read({ 'drivers/blk/a.ts': "import 'splitring';" });
    rmSync(join(root, 'package.json'));
    expect(sources[0]?.imports).to.deep.equal(['core/index.ts']);
  });

  const refused: readonly (readonly [path: string, imported: string, name: string])[] = [
    ['core/abi/a.ts', 'rxjs', 'rxjs'],
    ['core/abi/a.ts', '../domain/clock.js', 'core/domain/clock.ts'],
    ['core/errors.ts', './abi/units.js', 'core/abi/units.ts'],
    ['core/domain/a.ts', 'node:fs', 'node:fs'],
    ['core/domain/a.ts', '../xenbus/states.js', 'core/xenbus/states.ts'],
    ['core/xenbus/a.ts', '../hypervisor/domains.js', 'core/hypervisor/domains.ts'],
    ['core/xenbus/a.ts', '../toolstack/index.js', 'core/toolstack/index.ts'],
    ['core/toolstack/a.ts', 'node:path', 'node:path'],
    ['core/hypervisor/a.ts', 'inversify', 'inversify'],
    ['core/hypervisor/a.ts', '../domain/grant-table.js', 'core/domain/grant-table.ts'],
    ['core/index.ts', './hypervisor/domains.js', 'core/hypervisor/domains.ts'],
    ['xenstore/tree.ts', 'node:fs', 'node:fs'],
    ['xenstore/tree.ts', '../core/index.js', 'core/index.ts'],
    ['drivers/blk/frontend.ts', 'node:fs', 'node:fs'],
    ['drivers/blk/frontend.ts', '../../core/abi/ring.js', 'core/abi/ring.ts'],
    ['drivers/blk/frontend.ts', '../net/flags.js', 'drivers/net/flags.ts'],
    ['drivers/blk/host/image.ts', '../../net/host/tap.js', 'drivers/net/host/tap.ts'],
    ['drivers/blk/frontend.ts', 'rxjs-etc', 'rxjs-etc'],
    ['core/xenbus/a.ts', 'rxjs/operators', 'rxjs/operators'],
    ['platform/local/machine.ts', '../threads/machine.js', 'platform/threads/machine.ts'],
    ['platform/local/machine.ts', '../../drivers/blk/index.js', 'drivers/blk/index.ts'],
    ['contract/suite.ts', '../drivers/blk/index.js', 'drivers/blk/index.ts'],
    ['cli/run.ts', '../core/abi/ring.js', 'core/abi/ring.ts'],
    ['examples/disk/machine.ts', '../rng/protocol.js', 'examples/rng/protocol.ts'],
  ];
  for (const [path, imported, name] of refused) {
    it(`refuse ${name} in ${path}`, () => {
      expect(judged({ [path]: `import '${imported}';` })).to.deep.equal([`${path} may not import ${name}`]);
    });
  }

  it('let each layer import what lies below it', () => {
    const imports = (...names: readonly string[]): string => names.map((name) => `import '${name}';`).join('\n');
    expect(
      judged({
        'core/abi/a.ts': imports('./units.js', '../errors.js'),
        'core/errors.ts': imports('./abi/errno.js', './abi/gntst.js'),
        'core/domain/a.ts': imports('../abi/units.js', '../errors.js', 'rxjs', 'inversify'),
        'core/toolstack/a.ts': imports('../domain/xenstore.js', '../xenbus/states.js'),
        'core/hypervisor/a.ts': imports('../abi/units.js', './b.js'),
        'core/index.ts': imports('reflect-metadata', './abi/struct.js', './xenbus/protocol.js'),
        'xenstore/server/a.ts': imports('node:net', '../tree.js', '../../core/domain/xenstore.js'),
        'drivers/blk/frontend.ts': imports('./protocol.js', '../../core/index.js', 'rxjs'),
        'drivers/blk/host/image.ts': imports('node:fs', '../protocol.js'),
        'platform/local/a.ts': imports('node:timers', '../hypervisor/a.js', '../../core/hypervisor/domains.js'),
        'contract/a.ts': imports('../platform/local/index.js', '../xenstore/tree.js'),
        'cli/main.ts': imports('commander', 'node:fs', '../platform/local/index.js', '../drivers/blk/index.js'),
        'examples/disk/machine.ts': imports('../../drivers/blk/index.js', '../../cli/machine.js'),
        'spec/a.spec.ts': imports('chai', '../core/abi/ring.js', './support/b.js'),
      }),
    ).to.deep.equal([]);
  });

  it('refuse a file that lies in no layer', () => {
    expect(judged({ 'utils/a.ts': '' })).to.deep.equal(['utils/a.ts is in no layer']);
  });

  it('refuse a circle of files where bytes and state lie', () => {
    expect(
      judged({
        'core/abi/a.ts': "import './b.js';",
        'core/abi/b.ts': "export { c } from './c.js';",
        'core/abi/c.ts': "import { type A, a } from './a.js';",
      }),
    ).to.deep.equal([
      'core/abi/b.ts exports what is another file’s',
      'core/abi/a.ts → core/abi/b.ts → core/abi/c.ts → core/abi/a.ts is a circle',
    ]);
  });

  it('let types be recursive over files', () => {
    expect(
      judged({
        'core/abi/a.ts': "import './b.js';",
        'core/abi/b.ts': "import type { A } from './a.js'; export type B = import('./a.js').B;",
      }),
    ).to.deep.equal([]);
  });

  it('refuse a default export but in a domain module and in examples/', () => {
    const module = 'export default class {}';
    expect(
      judged({
        'drivers/blk/backend.ts': 'export default 1;',
        'drivers/blk/frontend.ts': 'export default function connect() {}',
        'drivers/blk/queue.ts': 'const a = 1; export { a as default };',
        'drivers/blk/module.ts': module,
        'examples/rng/backend.ts': module,
        'spec/echo.module.ts': module,
      }),
    ).to.deep.equal([
      'drivers/blk/backend.ts has a default export',
      'drivers/blk/frontend.ts has a default export',
      'drivers/blk/queue.ts has a default export',
    ]);
  });

  it('refuse a file that passes on what is another file’s, but for the index.ts of an entry', () => {
    const text = "export { frame } from './frame.js';";
    expect(judged({ 'drivers/net/flags.ts': text, 'drivers/net/index.ts': text })).to.deep.equal([
      'drivers/net/flags.ts exports what is another file’s',
    ]);
  });

  it('refuse reflect-metadata but in core/index.ts', () => {
    const text = "import 'reflect-metadata';";
    expect(judged({ 'spec/a.ts': text, 'core/index.ts': text })).to.deep.equal(['spec/a.ts imports reflect-metadata']);
  });
});
