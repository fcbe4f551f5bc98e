import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { type Ended, machineAt, Playground, withoutTimes } from '../support/command.js';

describe('splitring', () => {
  let playground: Playground;
  beforeEach(() => {
    playground = new Playground();
  });
  afterEach(() => playground[Symbol.dispose]());

  const run = (...args: readonly string[]): Promise<Ended> => playground.splitring(args);
  const timer = machineAt('timer');

  /** Ends with this code and with this one line on stderr. */
  const expectRefusal = ({ code, stdout, stderr }: Ended, expected: number, line: RegExp): void => {
    expect(stderr)
      .to.match(line)
      .and.to.match(/^splitring: .*\n$/);
    expect(code).to.equal(expected);
    expect(stdout).to.equal('');
  };

  it('shows its version, which is that of the package', async () => {
    const { version } = JSON.parse(readFileSync(new URL(import.meta.resolve('splitring/package.json')), 'utf8'));
    expect(await run('--version')).to.deep.equal({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('shows the machines when it is asked for help on run, and those of a machine after its name', async () => {
    const [help, ofRun, ofMachine] = await Promise.all([
      run('--help'),
      run('run', '--help'),
      run('run', timer, '--help'),
    ]);
    expect(help.stdout).to.include('run MACHINE').and.to.include('Machines: disk');
    expect(ofRun.stdout)
      .to.match(/^ {2}disk +\S.*$/m)
      .and.to.include('--seed <N>');
    expect(ofMachine.stdout).to.match(/^Usage: splitring run .*timer\.js \[options\]$/m);
    expect(ofMachine.stdout)
      .to.match(/--ms <MS> +how long it takes \(default: 1\)/)
      .and.to.match(/--mistake /);
    expect([help, ofRun, ofMachine].map(({ code }) => code)).to.deep.equal([0, 0, 0]);
  });

  it('lists the machines with a line each when none is named, or one that is not there', async () => {
    for (const args of [['run'], ['run', 'dsk']]) {
      const { code, stderr, stdout } = await run(...args);
      expect(code).to.equal(2);
      expect(stderr).to.match(/^splitring: .*name one of these, or a module by its path\nMachines:\n {2}disk +\S.*\n/);
      expect(stdout).to.equal('');
    }
  });

  const refused: readonly (readonly [args: readonly string[], line: RegExp])[] = [
    [[], /a command is missing; see splitring --help/],
    [['walk'], /unknown command 'walk'; see splitring --help/],
    [['run', '--sed', '7', timer], /unknown option '--sed' \(Did you mean --seed\?\); see splitring run --help/],
    [
      ['run', timer, '--mss', '7'],
      /unknown option '--mss' \(Did you mean --ms\?\); see splitring run .*timer\.js --help/,
    ],
    [['run', timer, '--ms'], /option '--ms <MS>' argument missing; see/],
    [['run', timer, '--ms', '1e3'], /--ms "1e3": it takes a whole number from 0 to 60000$/m],
    [['run', timer, '--well', '2'], /--well "2": it takes 0 or 1$/m],
    [['run', timer, '--fail', ''], /an error needs a text: give one$/m],
    [['run', timer, '--seed', 'x'], /--seed "x": it takes a whole number from 0 to 4294967295$/m],
    [['run', '--seed', '4294967296', timer], /--seed "4294967296": it takes a whole number/],
    [['run', timer, '--seed', '-1'], /option '--seed <N>' argument missing|--seed "-1": it takes/],
    [
      ['run', timer, '--platform', 'threads', '--seed', '7'],
      /--seed 7 cannot repeat a run on threads, where the host decides/,
    ],
    [
      ['run', '--platform', 'threads', '--seed', '7', timer],
      /--seed 7 cannot repeat a run on threads, .* or take --platform local$/m,
    ],
    [['run', '--seed', '7', timer, '--platform', 'threads'], /--seed 7 cannot repeat a run on threads/],
    [['run', timer, '7'], /unexpected argument 7; see splitring run .*timer\.js --help/],
    [['run', './nowhere.js'], /there is no module \.\/nowhere\.js: name a compiled module, or one of disk/],
    [['run', '.'], /there is no machine \./],
    [['run', './'], /\.\/ is a folder: name the module in it/],
  ];
  for (const [args, line] of refused) {
    const shown = args.map((arg) => (arg === timer ? 'MACHINE' : arg || "''")).join(' ');
    it(`refuses \`splitring ${shown}\` in one line with exit code 2`, async () => {
      const ended = await run(...args);
      if (args[1] === '.') expect(ended.code).to.equal(2);
      else expectRefusal(ended, 2, line);
    });
  }

  for (const args of [
    ['run', timer, '--platform', 'zen'],
    ['run', '--platform', 'zen', timer],
  ]) {
    it(`tells by \`${args.map((arg) => (arg === timer ? 'MACHINE' : arg)).join(' ')}\` of a platform that is not there, in one line with exit code 1`, async () => {
      expectRefusal(await run(...args), 1, /there is no platform zen; there are threads and local$/m);
    });
  }

  const modules: readonly (readonly [what: string, text: string, line: RegExp])[] = [
    [
      'exports no machine',
      'export const engine = 1;',
      /m\.mjs exports no machine: write `export const machine = defineMachine/,
    ],
    [
      'exports something else as machine',
      'export const machine = {};',
      /m\.mjs exports a machine that is none: make it with/,
    ],
    [
      'cannot be parsed',
      '\nexport const machine = ;',
      /m\.mjs does not load: SyntaxError: Unexpected token ';'; node \.\/m\.mjs shows where$/m,
    ],
    [
      'imports what is not there',
      "import 'nowhere-to-be-found';",
      /m\.mjs does not load: Cannot find package 'nowhere-to-be-found'/,
    ],
    ['throws', "throw new Error('no luck')", /m\.mjs does not load: no luck$/m],
    [
      'never finishes loading',
      'await new Promise(() => {});',
      /the run stands still: nothing is left that could happen/,
    ],
  ];
  for (const [what, text, line] of modules) {
    it(`tells of a module that ${what} in one line with exit code 1`, async () => {
      writeFileSync(playground.at('m.mjs'), text);
      expectRefusal(await run('run', './m.mjs'), 1, line);
    });
  }

  it('runs a TypeScript module where this Node strips types, and says what to do where it does not', async () => {
    writeFileSync(
      playground.at('m.ts'),
      "const summary: string = 'typed'; export const machine = { summary, options: {}, run: async () => true };",
    );
    const ended = await run('run', './m.ts');
    if ('typescript' in process.features && process.features.typescript) expect(ended.code).to.equal(0);
    else
      expectRefusal(
        ended,
        2,
        /m\.ts is TypeScript, which Node .* does not run: compile it and name the \.js, or use Node 22\.18/,
      );
  });

  it('says how a run is repeated, and repeats it', async () => {
    const first = await run('run', '--platform', 'local', timer, '--ms', '2');
    const seed = /^\$ splitring run \S*timer\.js --ms 2 --platform local --seed (\d+)\n/.exec(first.stdout)?.[1] ?? '';
    const again = await run('run', '--platform', 'local', '--seed', seed, timer, '--ms', '2');
    expect(withoutTimes(again.stdout)).to.equal(withoutTimes(first.stdout));
    expect(again.code).to.equal(0);
  });

  it('runs on threads, but on local when a seed asks for a run that can be repeated, and says which', async () => {
    const [plain, seeded, named] = await Promise.all([
      run('run', timer),
      run('run', timer, '--seed', '7'),
      run('run', timer, '--platform', 'threads'),
    ]);
    expect(plain.stdout).to.match(/^\$ splitring run \S*timer\.js --platform threads\non +threads: /);
    expect(plain.stdout).not.to.match(/^order/m);
    expect(seeded.stdout).to.match(/^\$ splitring run \S*timer\.js --seed 7 --platform local\non +local: /);
    expect(seeded.stdout).to.match(/^order +\d+ turns, digest [0-9a-f]{8}$/m);
    expect(named.stdout).to.match(/^\$ splitring run \S*timer\.js --platform threads\non +threads: /);
    expect([plain, seeded, named].map(({ code }) => code)).to.deep.equal([0, 0, 0]);
  });

  it('ends with ok and exit code 0 when all is well, else with not ok and exit code 1', async () => {
    const [well, unwell] = await Promise.all([run('run', timer), run('run', timer, '--well', '0')]);
    expect(well.stdout).to.match(/\nok\n$/);
    expect(well.code).to.equal(0);
    expect(unwell.stdout).to.match(/\nnot ok\n$/);
    expect(unwell.code).to.equal(1);
  });

  it('tells of a failure in one line, after the clean-up, without a stack', async () => {
    const { code, stdout, stderr } = await run('run', timer, '--fail', 'it\nbroke');
    expect(stderr).to.equal('cleaned up\nsplitring: it broke\n');
    expect(stdout).not.to.include('ok\n');
    expect(code).to.equal(1);
  });

  it('shows where a mistake in the code of a machine lies', async () => {
    const { code, stderr } = await run('run', timer, '--mistake');
    expect(stderr).to.match(/^cleaned up\nsplitring: TypeError: it is no number\n {4}at .*timer\.js:\d+:\d+\)\n/);
    expect(code).to.equal(1);
  });

  it('ends a run in which something was thrown that nobody caught', async () => {
    const { code, stderr } = await run('run', timer, '--ms', '60000', '--uncaught');
    expect(stderr).to.match(/^cleaned up\nsplitring: nobody caught Error: it was late\n {4}at .*timer\.js/);
    expect(code).to.equal(1);
  });

  it('says so when nothing can happen any more and the run is not finished', async () => {
    const { code, stderr } = await run('run', timer, '--stuck');
    expect(stderr).to.match(/^cleaned up\nsplitring: the run stands still: nothing is left that could happen.*\n$/);
    expect(code).to.equal(1);
  });

  it('prints what a handshake waits for, and why, and ends when that never comes', async () => {
    const { code, stdout, stderr } = await run('run', machineAt('lonely'));
    const wait = 'waiting for the backend in domain 2 to reach InitWait, because it is still Initialising';
    expect(stdout).to.match(new RegExp(`ms {2}guest {2}device/vrng/0 {2}warning: ${wait}`));
    expect(stderr).to.match(new RegExp(`^splitring: the run stands still: .*; guest device/vrng/0: ${wait}.*\n$`));
    expect(code).to.equal(1);
  });

  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    it(`ends at ${signal} with exit code ${code}, cleaned up`, async () => {
      const ended = await playground.splitring(['run', timer, '--ms', '60000'], 'takes', (child) => child.kill(signal));
      expect(ended.stderr).to.equal('cleaned up\nsplitring: interrupted\n');
      expect(ended.code).to.equal(code);
    });
  }

  it('ends at a second signal at once, cleaned up all the same', async () => {
    const ended = await playground.splitring(['run', timer, '--ms', '60000', '--slow-end'], 'takes', (child) => {
      child.kill('SIGINT');
      setTimeout(() => child.kill('SIGINT'), 300);
    });
    expect(ended.stderr).to.equal('cleaned up\n');
    expect(ended.code).to.equal(130);
  });

  it('ends quietly when nobody reads its output any more', async () => {
    const { code, stderr } = await playground.splitring(['run', timer, '--ms', '60000'], 'takes', (child) =>
      child.stdout?.destroy(),
    );
    expect(stderr).to.equal('cleaned up\n');
    expect(code).to.equal(141);
  });
});
