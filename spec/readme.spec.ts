import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Playground, withoutTimes } from './support/command.js';
import { projectRoot } from './support/typescript.js';

describe('README.md', () => {
  const text = readFileSync(join(projectRoot, 'README.md'), 'utf8');
  const shown = [...text.matchAll(/^```ts\n\/\/ (\S+\.ts)\n(.*?)^```$/gms)];

  it('shows the whole of vrng', () => {
    expect(shown.map(([, path]) => path)).to.include.members([
      'examples/rng/protocol.ts',
      'examples/rng/frontend.ts',
      'examples/rng/backend.ts',
    ]);
  });

  for (const [, path = '', code] of shown) {
    it(`shows ${path} as it is`, () => {
      expect(code).to.equal(readFileSync(join(projectRoot, path), 'utf8'));
    });
  }

  it('shows what splitring run interrupts prints, but for times, order and number', async function () {
    this.timeout(20_000);
    using playground = new Playground();
    const [, block = ''] = /^```text\n(\$ splitring run interrupts .*?)^```$/ms.exec(text) ?? [];
    const { stdout } = await playground.splitring(['run', 'interrupts']);
    // How many interrupts come before the guest is done is the host's business.
    const lines = (output: string): readonly string[] => [...new Set(withoutTimes(output).split('\n'))];
    expect(lines(block)).to.have.members(lines(stdout));
  });
});
