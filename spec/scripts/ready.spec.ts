import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { utimesSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Readable } from 'node:stream';
import { expect } from 'chai';
import { ended, smallProjects } from '../support/small-project.js';

describe('scripts/ready.mjs', () => {
  const project = smallProjects();

  it('compiles once for processes that start together', async () => {
    project().write('dawdle', '');
    const first = project().start('scripts/ready.mjs');
    await project().compiling(1);
    const others = [
      project().start('scripts/ready.mjs'),
      project().start('scripts/ready.mjs'),
      project().start('scripts/ready.mjs'),
    ];
    const othersEnd = Promise.all(others.map(ended));
    await Promise.all(others.map(({ stderr }) => once(stderr as Readable, 'data')));
    project().remove('dawdle');
    expect((await ended(first)).code).to.equal(0);
    const said = `splitring: waiting for process ${first.pid} to make this checkout ready\n`;
    expect(await othersEnd).to.deep.equal(others.map(() => ({ code: 0, said, printed: '' })));
    expect(project().compilations()).to.equal(1);
  });

  it('lets one of many take over the lock of a process that died', async () => {
    const dead = spawn(process.execPath, ['--version']);
    await once(dead, 'close');
    project().write('.ready-lock/owner', JSON.stringify({ pid: dead.pid, host: hostname() }));
    const ends = await Promise.all([1, 2, 3, 4].map(() => project().ready()));
    expect(ends.map(({ code }) => code)).to.deep.equal([0, 0, 0, 0]);
    expect(project().compilations()).to.equal(1);
  });

  it('takes over a lock of another machine that has not been touched for long', async () => {
    project().write('.ready-lock/owner', JSON.stringify({ pid: process.pid, host: 'elsewhere' }));
    const long = new Date(Date.now() - 60_000);
    utimesSync(project().at('.ready-lock/owner'), long, long);
    expect((await project().ready()).code).to.equal(0);
    expect(project().compilations()).to.equal(1);
  });

  it('waits for a lock of another machine that has been touched lately', async () => {
    project().write('.ready-lock/owner', JSON.stringify({ pid: 77, host: 'elsewhere' }));
    const waiting = project().start('scripts/ready.mjs');
    const end = ended(waiting);
    await once(waiting.stderr as Readable, 'data');
    project().remove('.ready-lock');
    expect((await end).said).to.match(/^splitring: waiting for process 77 .*\nsplitring: compiling\n/);
  });

  it('says in one line that Node is too old', async () => {
    project().write('package.json', project().read('package.json').replace('>=20.19', '>=999.1'));
    const { code, said } = await project().ready();
    expect(said).to.equal(`splitring: needs Node 999.1 or newer; this is ${process.versions.node}\n`);
    expect(code).to.equal(1);
  });

  it('lets npm test name a spec, or a folder of them, by its source', async () => {
    project().write('node_modules/mocha/bin/mocha.js', 'console.log(process.argv.slice(2).join());\n');
    project().write('spec/core/a.spec.ts', '');
    const { printed } = await ended(
      project().start('scripts/test.mjs', 'spec/core/a.spec.ts', './spec/core/', '-g', 'spec/none'),
    );
    expect(printed).to.equal('dist/spec/core/a.spec.js,dist/spec/core/**/*.spec.js,-g,spec/none\n');
  });

  it('refuses to test a spec that is not there, rather than to run all of them', async () => {
    const { code, said } = await ended(project().start('scripts/test.mjs', 'spec/core/none.spec.ts'));
    expect(said).to.match(/^splitring: there is no spec\/core\/none\.spec\.ts; .*\n$/);
    expect(code).to.equal(2);
  });

  describe('before scripts/splitring.mjs', () => {
    it('makes a checkout ready, keeps stdout for the command and hands it the arguments', async () => {
      project().write(
        'cli/main.ts',
        'declare const process: any, console: any;\nconsole.log(process.argv.slice(2).join());\nexport {};\n',
      );
      const { code, said, printed } = await ended(
        project().start('scripts/splitring.mjs', 'run', 'disk', '--seed', '3'),
      );
      expect(said).to.match(/^splitring: compiling\n/);
      expect(printed).to.equal('run,disk,--seed,3\n');
      expect(code).to.equal(0);
    });

    it('does nothing in a published package, which brings what is compiled and no tsconfig.json', async () => {
      for (const path of ['tsconfig.json', 'node_modules', 'scripts/ready.mjs']) project().remove(path);
      project().write('dist/cli/main.js', "console.log('main');\n");
      expect(await ended(project().start('scripts/splitring.mjs'))).to.deep.equal({
        code: 0,
        said: '',
        printed: 'main\n',
      });
    });
  });
});
