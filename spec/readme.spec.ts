import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
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
});
