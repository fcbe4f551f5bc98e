import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { Watchdog } from '../../../platform/local/watchdog.js';

const run = promisify(execFile);

describe('the watchdog of a local machine', () => {
  it('names a domain that does not yield on stderr, once, while it does not', async function () {
    this.timeout(30_000);
    const { stderr } = await run(process.execPath, [fileURLToPath(new URL('hung.js', import.meta.url))]);
    const lines = stderr.split('\n').filter((line) => line.startsWith('splitring:'));
    expect(lines).to.have.length(1);
    expect(lines[0]).to.match(/^splitring: domain hung has not yielded for \d+ s$/);
  });

  it('waits for more than no time: RangeError', () => {
    expect(() => new Watchdog(0)).to.throw(RangeError, 'watchdog');
  });
});
