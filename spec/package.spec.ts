import { execFileSync, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { codeCacheUser } from './support/code-cache-user.js';
import { packageUsers } from './support/package-users.js';
import { projectRoot } from './support/typescript.js';

/** What `npm pack` and the compiler need of a checkout. */
const needed = (): readonly string[] => {
  const { include } = JSON.parse(readFileSync(join(projectRoot, 'tsconfig.json'), 'utf8')) as { include: string[] };
  const files = [
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    '.npmrc',
    'README.md',
    'CHANGELOG.md',
    'LICENSE',
  ];
  return [...files, 'scripts', ...include.filter((folder) => folder !== 'spec' && folder !== 'bench')];
};

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** The package as npm makes it of a copy of this checkout, put into an empty project: npm could not install it without a network. */
describe('the package', function () {
  this.timeout(120_000);
  let home: string;
  let checkout: string;
  let project: string;
  let packed: Packed;

  const run = (cwd: string, ...args: readonly string[]): string => {
    const [program = '', ...rest] = args;
    const { status, stdout, stderr } = spawnSync(program, rest, { cwd, encoding: 'utf8', timeout: 60_000 });
    if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
    return stdout;
  };
  const node = (...args: readonly string[]): string => run(project, process.execPath, ...args);

  before(() => {
    home = mkdtempSync(join(tmpdir(), 'splitring-package-'));
    checkout = join(home, 'checkout');
    project = join(home, 'project');
    for (const path of needed()) cpSync(join(projectRoot, path), join(checkout, path), { recursive: true });
    symlinkSync(join(projectRoot, 'node_modules'), join(checkout, 'node_modules'));
    [packed] = JSON.parse(run(checkout, 'npm', 'pack', '--json', '--pack-destination', home)) as [Packed];

    const modules = join(project, 'node_modules');
    mkdirSync(join(modules, 'splitring'), { recursive: true });
    run(home, 'tar', 'xzf', packed.filename, '--strip-components=1', '-C', join(modules, 'splitring'));
    mkdirSync(join(modules, '@types'));
    for (const name of ['commander', 'inversify', 'reflect-metadata', 'rxjs', '@types/node']) {
      symlinkSync(join(projectRoot, 'node_modules', name), join(modules, name));
    }
    for (const [path, text] of Object.entries({ ...packageUsers, ...codeCacheUser })) {
      mkdirSync(dirname(join(project, path)), { recursive: true });
      writeFileSync(join(project, path), text);
    }
  });
  after(() => rmSync(home, { recursive: true, force: true }));

  it('leaves the checkout compiled as it was', () => {
    expect(existsSync(join(checkout, 'dist/.stamp'))).to.equal(true);
    expect(existsSync(join(checkout, 'dist/.bundle'))).to.equal(false);
    expect(existsSync(join(checkout, 'dist/chunks'))).to.equal(false);
    expect(readFileSync(join(checkout, 'dist/core/index.js'), 'utf8')).to.contain("from './abi/back-ring.js'");
  });

  it('brings few modules, all types, the licences of what is in it, and no map of a file that is not there', () => {
    const paths = packed.files.map(({ path }) => path);
    const modules = paths.filter((path) => /^dist\/.*\.js$/.test(path));
    expect(modules).to.include.members(['dist/core/index.js', 'dist/platform/threads/index.js', 'dist/cli/main.js']);
    expect(modules.length).to.be.below(45);
    expect(paths).to.include.members(['dist/core/abi/struct.d.ts', 'examples/disk/disk.img', 'dist/licences.txt']);
    expect(paths.filter((path) => /\.map$|^dist\/(spec|bench)\//.test(path))).to.deep.equal([]);
    const installed = join(project, 'node_modules/splitring');
    expect(readFileSync(join(installed, 'dist/licences.txt'), 'utf8'))
      .to.contain('Apache License')
      .and.match(/^rxjs \d/m)
      .and.match(/^inversify \d/m);
    const scripts = ['dist/chunks/splitring.cjs', 'dist/platform/threads/worker.cjs'];
    expect(paths).to.include.members(scripts);
    for (const path of [...modules, ...scripts]) {
      const text = readFileSync(join(installed, path), 'utf8');
      expect(text, path).not.to.match(/sourceMappingURL|from\s*['"](rxjs|inversify|reflect-metadata|@inversifyjs)/);
    }
  });

  it('runs the main job by its command', () => {
    const bin = JSON.parse(readFileSync(join(project, 'node_modules/splitring/package.json'), 'utf8')).bin.splitring;
    mkdirSync(join(project, 'node_modules/.bin'));
    symlinkSync(join('../splitring', bin), join(project, 'node_modules/.bin/splitring'));
    const said = run(project, 'npx', '--offline', '--no', 'splitring', 'run', 'disk', '--seed', '7');
    expect(said)
      .to.match(/^guest {3}sha256 (\w+)\nfile {4}sha256 \1\n/m)
      .and.match(/\nok\n$/);
  });

  it('calls every class and function of ours as the checkout does', async () => {
    const { exports } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { exports: object };
    const entries = Object.keys(exports).filter((entry) => !/\.json$|^\.\/rxjs$/.test(entry));
    const namesOf = `Promise.all(${JSON.stringify(entries)}.map(async (entry) =>
      Object.entries(await import(entry.replace('.', 'splitring')))
        .filter(([, value]) => typeof value === 'function')
        .map(([name, value]) => name + ' ' + value.name)))`;
    const ask = ['--input-type=module', '--eval', `console.log(JSON.stringify(await ${namesOf}))`];
    const ours = JSON.parse(run(projectRoot, process.execPath, ...ask)) as readonly string[][];
    expect(ours.flat()).to.include('Toolstack Toolstack');
    expect(JSON.parse(node(...ask))).to.deep.equal(ours);
  });

  it('has each class once in a process, whichever entry it comes from', () => {
    const program = `
      import { EventChannel, ContainerModule } from 'splitring';
      import module, { BlkBackend } from 'splitring/drivers/blk/module';
      import { BlkBackend as same } from 'splitring/drivers/blk';
      import { LocalMachine } from 'splitring/platform/local';
      import { Machine } from 'splitring/toolstack';
      import { Observable } from 'splitring/rxjs';
      console.log([
        BlkBackend === same,
        module instanceof ContainerModule,
        EventChannel.prototype instanceof Observable,
        LocalMachine.prototype instanceof Machine,
      ].join());`;
    expect(node('--input-type=module', '--eval', program)).to.equal('true,true,true,true\n');
  });

  it('is enough to compile a driver, and a program over inversify and rxjs of its author’s', () => {
    node(join(projectRoot, 'node_modules/typescript/bin/tsc'), '-p', '.');
  });

  for (const platform of ['local', 'threads']) {
    it(`boots a driver and a program that take inversify and rxjs from splitring, on ${platform}`, () => {
      expect(node('built/main.js', platform, 'from-splitring')).to.equal('32 bytes, nothing left\n');
    });
    it(`boots a driver and a program with an inversify and an rxjs of their own, on ${platform}`, () => {
      expect(node('built/main.js', platform, 'own-imports')).to.equal('32 bytes, nothing left\n');
    });
  }

  it('has a domain’s thread take the code that V8 compiled for the machine, and compile it where V8 refuses that', () => {
    const of = (code: string): string => `${code},true,Domain`;
    expect(node('code-cache/main.js')).to.equal(`compiled ${of('cache')} ${of('cache')} ${of('rejected')}\n`);
  });

  it('fails to pack when dist/ was compiled anew meanwhile: what is packed is not whole', () => {
    execFileSync(process.execPath, ['scripts/pack.mjs', 'bundle'], { cwd: checkout, stdio: 'ignore' });
    appendFileSync(join(checkout, 'dist/core/index.js'), '\n');
    const { status, stderr } = spawnSync(process.execPath, ['scripts/pack.mjs', 'restore'], {
      cwd: checkout,
      encoding: 'utf8',
    });
    expect(stderr).to.match(/\nsplitring: dist\/ was compiled anew while it was packed: .* pack again\n$/);
    expect(status).to.equal(1);
    expect(readdirSync(join(checkout, 'dist'))).not.to.include('chunks');
  });
});
