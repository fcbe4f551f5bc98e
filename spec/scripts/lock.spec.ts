import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { projectRoot } from '../support/typescript.js';

/** Enters `rounds` times, and dies inside the last if it is told to; writes down each step as it takes it. */
const program = `
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { exclusively } from ${JSON.stringify(pathToFileURL(join(projectRoot, 'scripts/lock.mjs')).href)};
const [, rounds, fate] = process.argv;
const note = (step) => appendFileSync('log', \`\${step} \${process.pid}\\n\`);
for (let i = 1; i <= Number(rounds); i++) {
  await exclusively('lock', () => {}, async () => {
    note('enters');
    await sleep(1);
    if (fate === 'dies' && i === Number(rounds)) {
      note('dies');
      process.exit(1);
    }
    note('leaves');
  });
}`;

describe('scripts/lock.mjs', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'splitring-lock-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const enter = async (rounds: number, fate: 'lives' | 'dies'): Promise<void> => {
    const args = ['--input-type=module', '--eval', program, String(rounds), fate];
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
    await once(child, 'exit');
  };

  it('lets one process in at a time, also when those inside die', async () => {
    const fates = ['lives', 'dies', 'dies', 'dies', 'lives', 'dies', 'lives', 'lives'] as const;
    await Promise.all(fates.map((fate) => enter(8, fate)));
    const steps = readFileSync(join(root, 'log'), 'utf8').trim().split('\n');
    expect(steps).to.have.length(2 * 8 * fates.length);
    for (let i = 0; i < steps.length; i += 2) {
      const [step, pid] = steps[i]?.split(' ') ?? [];
      expect(step).to.equal('enters');
      expect(steps[i + 1]).to.be.oneOf([`leaves ${pid}`, `dies ${pid}`]);
    }
  });

  it('leaves nothing behind', async () => {
    await enter(2, 'lives');
    expect(readdirSync(root)).to.deep.equal(['log']);
    await enter(1, 'dies');
    expect(existsSync(join(root, 'lock'))).to.equal(true);
    await enter(1, 'lives');
    expect(readdirSync(root)).to.deep.equal(['log']);
  });
});
