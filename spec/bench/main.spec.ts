import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const main = fileURLToPath(new URL('../../bench/main.js', import.meta.url));
const bench = (...args: readonly string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });

describe('npm run bench', () => {
  it('refuses a suite that is not there in one line, and measures nothing', () => {
    const { status, stdout, stderr } = bench('ring', 'nosuch');
    expect(status).to.equal(2);
    expect(stdout).to.equal('');
    expect(stderr).to.match(/^bench: there is no suite nosuch; there are ring.*\n$/);
  });

  it('refuses to publish a quick run', () => {
    const { status, stderr } = bench('--quick', '--docs');
    expect(status).to.equal(2);
    expect(stderr).to.match(/^bench: --docs publishes whole runs.*\n$/);
  });

  it('refuses an option that is not there', () => {
    const { status, stderr } = bench('--nosuch');
    expect(status).to.equal(2);
    expect(stderr).to.equal("error: unknown option '--nosuch'\n");
  });
});
