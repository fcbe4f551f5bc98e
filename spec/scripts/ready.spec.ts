import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { projectRoot } from '../support/typescript.js';

/** How a script ended, and what it told the user on stderr. */
interface Ended {
  readonly code: number | null;
  readonly said: string;
  readonly printed: string;
}

/** The compiler of the small projects below: TypeScript's own, which notes each run and may be told to dawdle. */
const compiler = `#!/usr/bin/env node
import { appendFileSync, existsSync } from 'node:fs';
appendFileSync('compilations', 'x');
while (existsSync('dawdle')) await new Promise((resolve) => setTimeout(resolve, 10));
process.argv[1] = ${JSON.stringify(join(projectRoot, 'node_modules/typescript/bin/tsc'))};
await import(${JSON.stringify(pathToFileURL(join(projectRoot, 'node_modules/typescript/bin/tsc')).href)});
`;

const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

describe('scripts/ready.mjs', () => {
  let home: string;
  let installed: string;
  let root: string;
  let children: ChildProcess[];

  const at = (path: string): string => join(root, path);
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(at(path)), { recursive: true });
    writeFileSync(at(path), text);
  };
  const compilations = (): number =>
    existsSync(at('compilations')) ? readFileSync(at('compilations'), 'utf8').length : 0;

  const start = (script = 'scripts/ready.mjs', ...args: readonly string[]): ChildProcess => {
    const child = spawn(process.execPath, [script, ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(child);
    return child;
  };
  const end = async (child: ChildProcess): Promise<Ended> => {
    let said = '';
    let printed = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, said, printed };
  };
  const ready = (...args: readonly string[]): Promise<Ended> => end(start('scripts/ready.mjs', ...args));
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await sleep(10);
  };

  /** A project of one source, whose only package is a compiler that lies in its own folder: npm needs no network for it. */
  const found = (): void => {
    cpSync(join(projectRoot, 'scripts'), at('scripts'), { recursive: true });
    const manifest = {
      name: 'small',
      version: '1.0.0',
      type: 'module',
      engines: { node: '>=20.19' },
      devDependencies: { typescript: 'file:compiler' },
    };
    write('package.json', json(manifest));
    const packages = {
      '': { name: 'small', version: '1.0.0', devDependencies: { typescript: 'file:compiler' } },
      compiler: { name: 'typescript', version: '1.0.0', dev: true },
      'node_modules/typescript': { resolved: 'compiler', link: true },
    };
    write('package-lock.json', json({ name: 'small', version: '1.0.0', lockfileVersion: 3, requires: true, packages }));
    write('compiler/package.json', json({ name: 'typescript', version: '1.0.0', type: 'module' }));
    write('compiler/bin/tsc', compiler);
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2022',
      lib: ['es5'],
      types: [],
      rootDir: '.',
      outDir: 'dist',
    };
    write('tsconfig.json', json({ compilerOptions, include: ['cli'], exclude: ['cli/types'] }));
    write('cli/main.ts', 'export const main = 1;\n');
  };

  before(async function () {
    this.timeout(60_000);
    home = mkdtempSync(join(tmpdir(), 'splitring-ready-'));
    installed = root = join(home, 'installed');
    children = [];
    found();
    const { code, said } = await ready('--install');
    expect(said).to.match(/^splitring: installing packages \(npm ci\)\nsplitring: installed in [\d.]+ s\n$/);
    expect(code).to.equal(0);
  });

  after(() => rmSync(home, { recursive: true }));

  beforeEach(() => {
    root = mkdtempSync(join(home, 'project-'));
    children = [];
    cpSync(installed, root, { recursive: true, verbatimSymlinks: true });
  });

  afterEach(() => {
    for (const child of children) child.kill('SIGKILL');
  });

  it('compiles what has not been compiled, and says so on stderr alone', async () => {
    const { code, said, printed } = await ready();
    expect(said).to.match(/^splitring: compiling\nsplitring: compiled in [\d.]+ s\n$/);
    expect(printed).to.equal('');
    expect(code).to.equal(0);
    expect(existsSync(at('dist/cli/main.js'))).to.equal(true);
  });

  it('does and says nothing when nothing has changed, whatever the times of the files', async () => {
    await ready();
    utimesSync(at('cli/main.ts'), new Date(), new Date());
    expect(await ready()).to.deep.equal({ code: 0, said: '', printed: '' });
    expect(compilations()).to.equal(1);
  });

  it('compiles again for a new, a changed and a renamed source, and for a changed tsconfig.json', async () => {
    await ready();
    const changes = [
      () => write('cli/new/a.ts', 'export {};\n'),
      () => appendFileSync(at('cli/main.ts'), 'export const more = 2;\n'),
      () => renameSync(at('cli/main.ts'), at('cli/other.ts')),
      () => appendFileSync(at('tsconfig.json'), '\n'),
    ];
    for (const [i, change] of changes.entries()) {
      change();
      await ready();
      expect(compilations(), String(change)).to.equal(i + 2);
    }
  });

  it('compiles nothing for a source that the build leaves out', async () => {
    await ready();
    write('cli/types/misuse.ts', 'export {};\n');
    await ready();
    expect(compilations()).to.equal(1);
  });

  it('leaves nothing of a deleted source', async () => {
    write('cli/gone.ts', 'export {};\n');
    await ready();
    expect(existsSync(at('dist/cli/gone.js'))).to.equal(true);
    rmSync(at('cli/gone.ts'));
    await ready();
    expect(existsSync(at('dist/cli/gone.js'))).to.equal(false);
    expect(existsSync(at('dist/cli/main.js'))).to.equal(true);
  });

  it('fails with the compiler’s words for a source that does not compile, and again until it does', async () => {
    write('cli/main.ts', 'export const main: string = 1;\n');
    for (let i = 0; i < 2; i++) {
      const { code, said } = await ready();
      expect(said).to.include("cli/main.ts(1,14): error TS2322: Type 'number' is not assignable to type 'string'.");
      expect(said).to.match(/\nsplitring: the sources do not compile \(tsc: exit code \d\)\n$/);
      expect(code).to.equal(1);
    }
    write('cli/main.ts', 'export const main = 1;\n');
    expect((await ready()).code).to.equal(0);
  });

  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    it(`does not take for whole what a build left that ended by ${signal}`, async () => {
      const source = readFileSync(at('cli/main.ts'), 'utf8');
      await ready();
      write('cli/main.ts', 'export const other = 1;\n');
      write('dawdle', '');
      const killed = start();
      await until(() => compilations() === 2);
      killed.kill(signal);
      expect((await once(killed, 'exit'))[1]).to.equal(signal);
      rmSync(at('dawdle'));
      write('cli/main.ts', source);
      const { code, said } = await ready();
      expect(said).to.match(/^splitring: compiling\n/);
      expect(code).to.equal(0);
      expect(await ready()).to.deep.equal({ code: 0, said: '', printed: '' });
      expect(existsSync(at('.ready-lock'))).to.equal(false);
    });
  }

  it('compiles once for processes that start together', async () => {
    write('dawdle', '');
    const first = start();
    await until(() => compilations() === 1);
    const others = [start(), start(), start()].map(end);
    await sleep(200);
    rmSync(at('dawdle'));
    const ends = await Promise.all([end(first), ...others]);
    expect(ends.map(({ code }) => code)).to.deep.equal([0, 0, 0, 0]);
    expect(ends[1]?.said).to.equal(`splitring: waiting for process ${first.pid} to make this checkout ready\n`);
    expect(compilations()).to.equal(1);
  });

  it('lets one of many take over the lock of a process that died', async () => {
    const dead = spawn(process.execPath, ['--version']);
    await once(dead, 'close');
    write('.ready-lock/owner', JSON.stringify({ pid: dead.pid, host: hostname() }));
    const ends = await Promise.all([1, 2, 3, 4].map(() => ready()));
    expect(ends.map(({ code }) => code)).to.deep.equal([0, 0, 0, 0]);
    expect(compilations()).to.equal(1);
  });

  it('takes over a lock of another machine that has not been touched for long', async () => {
    write('.ready-lock/owner', JSON.stringify({ pid: process.pid, host: 'elsewhere' }));
    const long = new Date(Date.now() - 60_000);
    utimesSync(at('.ready-lock/owner'), long, long);
    expect((await ready()).code).to.equal(0);
    expect(compilations()).to.equal(1);
  });

  it('waits for a lock of another machine that has been touched lately', async () => {
    write('.ready-lock/owner', JSON.stringify({ pid: 77, host: 'elsewhere' }));
    const waiting = start();
    const ended = end(waiting);
    await once(waiting.stderr as Readable, 'data');
    rmSync(at('.ready-lock'), { recursive: true });
    expect((await ended).said).to.match(/^splitring: waiting for process 77 .*\nsplitring: compiling\n/);
  });

  /** Makes each of these files ask for one package more. */
  const askForMore = (...files: readonly string[]): void => {
    write('more/package.json', json({ name: 'more', version: '1.0.0' }));
    for (const file of files) {
      const text = readFileSync(at(file), 'utf8').replaceAll(
        '"typescript": "file:',
        '"more": "file:more", "typescript": "file:',
      );
      write(
        file,
        text.replace(
          '"compiler": {',
          '"more": {}, "node_modules/more": { "resolved": "more", "link": true }, "compiler": {',
        ),
      );
    }
  };

  const gone: Readonly<Record<string, () => void>> = {
    'node_modules is not there': () => rmSync(at('node_modules'), { recursive: true }),
    'an install was killed': () => rmSync(at('node_modules/.package-lock.json')),
    'a package is not there': () => rmSync(at('node_modules/typescript')),
    'package-lock.json asks for more': () => askForMore('package.json', 'package-lock.json'),
  };
  for (const [what, happen] of Object.entries(gone)) {
    it(`installs when ${what}`, async () => {
      happen();
      const { code, said } = await ready('--install');
      expect(said).to.match(/^splitring: installing packages \(npm ci\)\nsplitring: installed in [\d.]+ s\n$/);
      expect(code).to.equal(0);
      expect(await ready('--install')).to.deep.equal({ code: 0, said: '', printed: '' });
    });
  }

  it('installs when node_modules comes from another system', async () => {
    const other = { version: '1.0.0', optional: true, os: [process.platform === 'linux' ? 'darwin' : 'linux'] };
    for (const file of ['package-lock.json', 'node_modules/.package-lock.json']) {
      const lock = JSON.parse(readFileSync(at(file), 'utf8')) as { packages: Record<string, unknown> };
      lock.packages['node_modules/binary'] = other;
      write(file, json(lock));
    }
    write('node_modules/binary/package.json', json({ name: 'binary', version: '1.0.0' }));
    expect((await ready('--install')).said).to.match(/^splitring: installing packages/);
  });

  it('shows npm’s own words and says what failed when npm ci fails', async () => {
    askForMore('package.json');
    const { code, said, printed } = await ready();
    expect(said).to.match(/^splitring: installing packages \(npm ci\)\nnpm error code EUSAGE\n/);
    expect(said).to.match(/\nsplitring: npm ci failed \(exit code 1\); its own words are above\. .*\n$/);
    expect(printed).to.equal('');
    expect(code).to.equal(1);
    expect(existsSync(at('dist'))).to.equal(false);
    expect(existsSync(at('.ready-lock'))).to.equal(false);
  });

  it('does not install for ever what npm ci leaves out', async () => {
    askForMore('package-lock.json');
    const { code, said } = await ready();
    expect(said).to.match(/\nsplitring: npm ci ended well, but left node_modules without .* Try npm install\n$/);
    expect(code).to.equal(1);
  });

  it('leaves a node_modules alone that is a link', async () => {
    rmSync(at('node_modules'), { recursive: true });
    mkdirSync(at('elsewhere/precious'), { recursive: true });
    symlinkSync('elsewhere', at('node_modules'));
    const { code, said } = await ready();
    expect(said).to.match(/^splitring: node_modules is a link and lacks what package-lock.json asks for: .*\n$/);
    expect(code).to.equal(1);
    expect(existsSync(at('elsewhere/precious'))).to.equal(true);
  });

  it('says in one line that Node is too old', async () => {
    write('package.json', readFileSync(at('package.json'), 'utf8').replace('>=20.19', '>=999.1'));
    const { code, said } = await ready();
    expect(said).to.equal(`splitring: needs Node 999.1 or newer; this is ${process.versions.node}\n`);
    expect(code).to.equal(1);
  });

  it('lets npm test name a spec, or a folder of them, by its source', async () => {
    write('node_modules/mocha/bin/mocha.js', 'console.log(process.argv.slice(2).join());\n');
    write('spec/core/a.spec.ts', '');
    const { printed } = await end(start('scripts/test.mjs', 'spec/core/a.spec.ts', './spec/core/', '-g', 'spec/none'));
    expect(printed).to.equal('dist/spec/core/a.spec.js,dist/spec/core/**/*.spec.js,-g,spec/none\n');
  });

  describe('before scripts/splitring.mjs', () => {
    it('makes a checkout ready, keeps stdout for the command and hands it the arguments', async () => {
      write(
        'cli/main.ts',
        'declare const process: any, console: any;\nconsole.log(process.argv.slice(2).join());\nexport {};\n',
      );
      const { code, said, printed } = await end(start('scripts/splitring.mjs', 'run', 'disk', '--seed', '3'));
      expect(said).to.match(/^splitring: compiling\n/);
      expect(printed).to.equal('run,disk,--seed,3\n');
      expect(code).to.equal(0);
    });

    it('does nothing in a published package, which brings what is compiled and no tsconfig.json', async () => {
      for (const path of ['tsconfig.json', 'node_modules', 'scripts/ready.mjs']) rmSync(at(path), { recursive: true });
      write('dist/cli/main.js', "console.log('main');\n");
      expect(await end(start('scripts/splitring.mjs'))).to.deep.equal({ code: 0, said: '', printed: 'main\n' });
    });
  });
});
