import { once } from 'node:events';
import { appendFileSync, renameSync, utimesSync } from 'node:fs';
import { expect } from 'chai';
import { silent, smallProjects } from '../support/small-project.js';

describe('scripts/dist.mjs', () => {
  const project = smallProjects();

  it('compiles what has not been compiled, and says so on stderr alone', async () => {
    const { code, said, printed } = await project().ready();
    expect(said).to.match(/^splitring: compiling\nsplitring: compiled in [\d.]+ s\n$/);
    expect(printed).to.equal('');
    expect(code).to.equal(0);
    expect(project().has('dist/cli/main.js')).to.equal(true);
  });

  it('does and says nothing when nothing has changed, whatever the times of the files', async () => {
    await project().ready();
    utimesSync(project().at('cli/main.ts'), new Date(), new Date());
    expect(await project().ready()).to.deep.equal(silent);
    expect(project().compilations()).to.equal(1);
  });

  it('compiles again for a new, a changed and a renamed source, and for a changed tsconfig.json', async () => {
    await project().ready();
    const changes = [
      () => project().write('cli/new/a.ts', 'export {};\n'),
      () => appendFileSync(project().at('cli/main.ts'), 'export const more = 2;\n'),
      () => renameSync(project().at('cli/main.ts'), project().at('cli/other.ts')),
      () => appendFileSync(project().at('tsconfig.json'), '\n'),
    ];
    for (const [i, change] of changes.entries()) {
      change();
      await project().ready();
      expect(project().compilations(), String(change)).to.equal(i + 2);
    }
  });

  it('compiles nothing for a source that the build leaves out', async () => {
    await project().ready();
    project().write('cli/types/misuse.ts', 'export {};\n');
    await project().ready();
    expect(project().compilations()).to.equal(1);
  });

  it('leaves nothing of a deleted source', async () => {
    project().write('cli/gone.ts', 'export {};\n');
    await project().ready();
    expect(project().has('dist/cli/gone.js')).to.equal(true);
    project().remove('cli/gone.ts');
    await project().ready();
    expect(project().has('dist/cli/gone.js')).to.equal(false);
    expect(project().has('dist/cli/main.js')).to.equal(true);
  });

  it('fails with the compiler’s words for a source that does not compile, and again until it does', async () => {
    project().write('cli/main.ts', 'export const main: string = 1;\n');
    for (let i = 0; i < 2; i++) {
      const { code, said } = await project().ready();
      expect(said).to.include("cli/main.ts(1,14): error TS2322: Type 'number' is not assignable to type 'string'.");
      expect(said).to.match(/\nsplitring: the sources do not compile \(tsc: exit code \d\)\n$/);
      expect(code).to.equal(1);
    }
    project().write('cli/main.ts', 'export const main = 1;\n');
    expect((await project().ready()).code).to.equal(0);
  });

  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    it(`does not take for whole what a build left that ended by ${signal}`, async () => {
      const source = project().read('cli/main.ts');
      await project().ready();
      project().write('cli/main.ts', 'export const other = 1;\n');
      project().write('dawdle', '');
      const killed = project().start('scripts/ready.mjs');
      await project().compiling(2);
      killed.kill(signal);
      expect((await once(killed, 'exit'))[1]).to.equal(signal);
      project().remove('dawdle');
      project().write('cli/main.ts', source);
      const { code, said } = await project().ready();
      expect(said).to.match(/^splitring: compiling\n/);
      expect(code).to.equal(0);
      expect(await project().ready()).to.deep.equal(silent);
      expect(project().has('.ready-lock')).to.equal(false);
    });
  }
});
