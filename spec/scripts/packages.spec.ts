import { mkdirSync, symlinkSync } from 'node:fs';
import { expect } from 'chai';
import { json, silent, smallProjects } from '../support/small-project.js';

describe('scripts/packages.mjs', () => {
  const project = smallProjects();

  /** Makes each of these files ask for one package more. */
  const askForMore = (...files: readonly string[]): void => {
    project().write('more/package.json', json({ name: 'more', version: '1.0.0' }));
    for (const file of files) {
      const text = project().read(file).replaceAll('"typescript": "file:', '"more": "file:more", "typescript": "file:');
      project().write(
        file,
        text.replace(
          '"compiler": {',
          '"more": {}, "node_modules/more": { "resolved": "more", "link": true }, "compiler": {',
        ),
      );
    }
  };

  const gone: Readonly<Record<string, () => void>> = {
    'node_modules is not there': () => project().remove('node_modules'),
    'an install was killed': () => project().remove('node_modules/.package-lock.json'),
    'a package is not there': () => project().remove('node_modules/typescript'),
    'package-lock.json asks for more': () => askForMore('package.json', 'package-lock.json'),
  };
  for (const [what, happen] of Object.entries(gone)) {
    it(`installs when ${what}`, async () => {
      happen();
      const { code, said } = await project().ready('--install');
      expect(said).to.match(/^splitring: installing packages \(npm ci\)\nsplitring: installed in [\d.]+ s\n$/);
      expect(code).to.equal(0);
      expect(await project().ready('--install')).to.deep.equal(silent);
    });
  }

  it('installs when node_modules comes from another system', async () => {
    const other = { version: '1.0.0', optional: true, os: [process.platform === 'linux' ? 'darwin' : 'linux'] };
    for (const file of ['package-lock.json', 'node_modules/.package-lock.json']) {
      const lock = JSON.parse(project().read(file)) as { packages: Record<string, unknown> };
      lock.packages['node_modules/binary'] = other;
      project().write(file, json(lock));
    }
    project().write('node_modules/binary/package.json', json({ name: 'binary', version: '1.0.0' }));
    expect((await project().ready('--install')).said).to.match(/^splitring: installing packages/);
  });

  it('shows npm’s own words and says what failed when npm ci fails', async () => {
    askForMore('package.json');
    const { code, said, printed } = await project().ready();
    expect(said).to.match(/^splitring: installing packages \(npm ci\)\nnpm error code EUSAGE\n/);
    expect(said).to.match(/\nsplitring: npm ci failed \(exit code 1\); its own words are above\. .*\n$/);
    expect(printed).to.equal('');
    expect(code).to.equal(1);
    expect(project().has('dist')).to.equal(false);
    expect(project().has('.ready-lock')).to.equal(false);
  });

  it('does not install for ever what npm ci leaves out', async () => {
    askForMore('package-lock.json');
    const { code, said } = await project().ready();
    expect(said).to.match(/\nsplitring: npm ci ended well, but left node_modules without .* Try npm install\n$/);
    expect(code).to.equal(1);
  });

  it('leaves a node_modules alone that is a link', async () => {
    project().remove('node_modules');
    mkdirSync(project().at('elsewhere/precious'), { recursive: true });
    symlinkSync('elsewhere', project().at('node_modules'));
    const { code, said } = await project().ready();
    expect(said).to.match(/^splitring: node_modules is a link and lacks what package-lock.json asks for: .*\n$/);
    expect(code).to.equal(1);
    expect(project().has('elsewhere/precious')).to.equal(true);
  });
});
