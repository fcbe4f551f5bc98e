import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { type Ended, machineAt, Playground } from '../support/command.js';

describe('splitring run on threads', () => {
  let playground: Playground;
  beforeEach(() => {
    playground = new Playground();
  });
  afterEach(() => playground[Symbol.dispose]());

  const pair = machineAt('pair');
  const faulty = '\\(file:\\S+faulty\\.module\\.js\\)';

  const run = (...args: readonly string[]): Promise<Ended> =>
    playground.splitring(['run', pair, '--platform', 'threads', ...args]);

  /** Ends with exit code 1 and, after the clean-up, one line on stderr. */
  const expectFailure = ({ code, stdout, stderr }: Ended, line: RegExp): void => {
    expect(stderr)
      .to.match(/^cleaned up\nsplitring: .*\n$/)
      .and.to.match(line);
    expect(code).to.equal(1);
    expect(stdout).not.to.match(/\nok\n/);
  };

  const modules: readonly (readonly [what: string, text: string, reason: RegExp])[] = [
    ['is not there', '', /Cannot find module/],
    ['cannot be parsed', 'export default ;', /Unexpected token ';'/],
    ['throws', "throw new Error('no luck')", /no luck/],
    ['ends the process', 'process.exit(0)', /it ends its thread/],
    [
      'throws in a timer while it loads',
      `setTimeout(() => { throw new Error('late') }); await new Promise(() => {})`,
      /late/,
    ],
    ['has neither drivers nor bindings', 'export const x = 1;', /exports no driver .* and no bindings/],
    ['has something else for bindings', 'export default 1;', /must be an inversify ContainerModule/],
  ];
  for (const [what, text, reason] of modules) {
    it(`tells in one line of a domain’s module that ${what}, with exit code 1 and no domain left`, async () => {
      const url = pathToFileURL(playground.at('m.mjs')).href;
      if (text !== '') writeFileSync(playground.at('m.mjs'), text);
      const ended = await run('--module', url);
      expectFailure(ended, reason);
      expect(ended.stderr).to.include(url);
      expect(ended.stdout)
        .to.match(/^one +runs$/m)
        .and.not.to.match(/^two /m);
    });
  }

  const faults: readonly (readonly [fault: string, what: string, reason: string])[] = [
    ['throws', 'throws at start', 'no luck'],
    ['rejects', 'rejects', 'no luck'],
    ['throws late', 'has an exception in a timer that nobody catches', 'no luck in a timer'],
  ];
  for (const [fault, what, reason] of faults) {
    it(`tells in one line of a domain’s program that ${what}, when nothing else can happen, with exit code 1`, async () => {
      const ended = await run('--fault', fault);
      expectFailure(ended, new RegExp(`the run stands still: .*; guest ${faulty} crashed: ${reason}$`, 'm'));
      expect(ended.stdout).to.match(new RegExp(`ms  guest +program +error: crashed: ${reason}$`, 'm'));
    });
  }

  it('tells in one line of a domain’s program that ends the process at start, with exit code 1', async () => {
    const ended = await run('--fault', 'exits');
    expectFailure(ended, /faulty\.module\.js .*: its thread ended with exit code 3$/m);
    expect(ended.stdout).not.to.match(/^two /m);
  });

  it('says so when nothing can happen any more, though threads keep the process alive', async () => {
    expectFailure(
      await run('--fault', 'waits'),
      /the run stands still: nothing is left that could happen, and it is not finished$/m,
    );
  });

  it('does not take a run for one that stands still in which this thread or another has something to do', async () => {
    const stopped = (args: readonly string[]): Promise<Ended> =>
      playground.splitring(['run', pair, ...args], 'two ', (child) => {
        setTimeout(() => child.kill('SIGTERM'), 2500);
      });
    for (const ended of await Promise.all([stopped(['--tick']), stopped(['--fault', 'loops'])])) {
      expect(ended.stderr).to.equal('cleaned up\nsplitring: interrupted\n');
      expect(ended.code).to.equal(143);
    }
  });

  for (const moment of ['on ', 'one ', 'two ']) {
    it(`ends at SIGINT after the line \`${moment.trim()} …\`, whatever its threads are at, cleaned up`, async () => {
      const ended = await playground.splitring(['run', pair, '--fault', 'loops'], moment, (child) =>
        child.kill('SIGINT'),
      );
      expect(ended.stderr).to.match(/^(cleaned up\n)?splitring: interrupted\n$/);
      expect(ended.code).to.equal(130);
    });
  }

  it('ends quietly when nobody reads its output any more', async () => {
    const { code, stderr } = await playground.splitring(['run', pair, '--tick'], 'two ', (child) =>
      child.stdout?.destroy(),
    );
    expect(stderr).to.equal('cleaned up\n');
    expect(code).to.equal(141);
  });
});
