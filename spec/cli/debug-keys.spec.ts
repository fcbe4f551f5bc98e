import type { ChildProcess } from 'node:child_process';
import { expect } from 'chai';
import { type Ended, machineAt, Playground } from '../support/command.js';

const timer = machineAt('timer');

/** What Xen prints of a machine that has dom0 alone. */
const dom0Alone = `\
(XEN) 'e' pressed -> dumping event-channel info
(XEN) Event channel information for domain 0:  dom0
(XEN) Polling vCPUs: {}
(XEN)     port [p/m/s]
`;

describe('splitring debug-keys', function () {
  this.timeout(20_000);
  let playground: Playground;

  beforeEach(() => {
    playground = new Playground();
  });
  afterEach(() => playground[Symbol.dispose]());

  /** Starts a machine that goes on until `work`, which is handed its process, is done; then ends it by a signal. */
  const whileRunning = async (
    platform: string,
    work: (child: ChildProcess) => Promise<void>,
    signal: NodeJS.Signals = 'SIGTERM',
  ): Promise<Ended> => {
    let done: Promise<void> | undefined;
    const args = ['run', timer, '--ms', '20000', '--platform', platform];
    const ended = await playground.splitring(args, 'and goes on', (child) => {
      done = work(child).finally(() => child.kill(signal));
    });
    await done;
    return ended;
  };

  for (const platform of ['threads', 'local']) {
    it(`prints the console of a machine that runs on ${platform}, which goes on`, async () => {
      const { code, stdout } = await whileRunning(platform, async () => {
        expect(await playground.splitring(['debug-keys', 'e'])).to.deep.equal({
          code: 0,
          stdout: dom0Alone,
          stderr: '',
        });
        expect((await playground.splitring(['debug-keys', 'ee'])).stdout).to.equal(dom0Alone + dom0Alone);
      });
      expect(code).to.equal(143);
      expect(stdout).not.to.include('XEN');
      expect(playground.files).to.deep.equal([]);
    });
  }

  it('asks which machine is meant where several run, and takes its process', async () => {
    await whileRunning('local', async (first) => {
      await whileRunning('local', async (second) => {
        const { code, stderr } = await playground.splitring(['debug-keys', 'e']);
        const pids = [first.pid, second.pid].sort((a = 0, b = 0) => a - b);
        expect(stderr).to.equal(`splitring: several machines run here: choose one by --pid ${pids.join(' or ')}\n`);
        expect(code).to.equal(2);
        expect(await playground.splitring(['debug-keys', '--pid', String(first.pid), 'e'])).to.include({
          stdout: dom0Alone,
        });
      });
    });
  });

  it('is not taken in by what a killed run has left', async () => {
    await whileRunning('local', () => Promise.resolve(), 'SIGKILL');
    expect(playground.files).to.have.length(1);
    expect(await playground.splitring(['debug-keys', 'e'])).to.deep.equal({
      code: 1,
      stdout: '',
      stderr: 'splitring: no machine runs here: start one with splitring run\n',
    });
  });

  const refused: readonly (readonly [args: readonly string[], text: RegExp])[] = [
    [['debug-keys'], /^splitring: missing required argument 'KEYS'; see splitring debug-keys --help\n$/],
    [['debug-keys', ''], /^splitring: splitring debug-keys takes 1 to 100 keys, each a character\n$/],
    [
      ['debug-keys', 'ex'],
      /^splitring: there is no debug key "x"; there are e \(dump evtchn info\), g \(print grant table usage\), .*\n$/,
    ],
    [['debug-keys', '--pid', '-3', 'e'], /^splitring: --pid "-3": it takes a whole number from 1 to \d+\n$/],
  ];
  for (const [args, text] of refused) {
    it(`refuses \`splitring ${args.join(' ')}\` in a line`, async () => {
      const { code, stdout, stderr } = await playground.splitring(args);
      expect(stderr).to.match(text);
      expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' });
    });
  }

  it('says that a process runs no machine', async () => {
    const { code, stderr } = await playground.splitring(['debug-keys', '--pid', '999999', 'e']);
    expect(stderr).to.match(/^splitring: no machine runs as process 999999: .*ENOENT.*\n$/);
    expect(code).to.equal(1);
  });
});
