import { expect } from 'chai';
import { type Ended, Playground } from '../support/command.js';

interface Line {
  readonly time: number;
  readonly domain: string;
  readonly by: string;
  readonly what: string;
  readonly text: string;
}

/** The deliveries that a run has printed, in order. */
const deliveriesOf = ({ stdout }: Ended): readonly Line[] =>
  [...stdout.matchAll(/^ *(\d+\.\d) ms {2}(\w+) +((?:port|vector) \d+) +(\w+) +(.*)$/gm)].map(
    ([, time, domain = '', by = '', what = '', text = '']) => ({ time: Number(time), domain, by, what, text }),
  );

describe('splitring run interrupts', function () {
  this.timeout(20_000);
  let playground: Playground;
  beforeEach(() => {
    playground = new Playground();
  });
  afterEach(() => playground[Symbol.dispose]());

  for (const platform of ['threads', 'local']) {
    describe(`on ${platform}`, () => {
      let ended: Ended;
      const of = (what: string): readonly Line[] => deliveriesOf(ended).filter((line) => line.what === what);

      beforeEach(async () => {
        ended = await playground.splitring(['run', 'interrupts', '--times', '4', '--platform', platform]);
      });

      it('ends by itself, with as many deliveries of each kind as there should be, and leaves nothing behind', () => {
        expect(ended.stderr).to.equal('');
        expect(ended.stdout).to.match(/^counted +4 event, 4 VIRQ_TIMER, 1 int3\n/m);
        expect(ended.stdout).to.match(/\nok\n$/);
        expect(ended.code).to.equal(0);
        expect(['event', 'VIRQ_TIMER', 'int3'].map((what) => of(what).length)).to.deep.equal([4, 4, 1]);
        // Interrupts that come before the guest has looked are one event to it.
        expect(of('PIRQ').length).to.be.at.least(4);
        expect(playground.files).to.deep.equal([]);
      });

      it('brings the device’s interrupts to the backend, and after each of them an event to the guest', () => {
        expect(new Set(of('PIRQ').map(({ domain }) => domain))).to.deep.equal(new Set(['backend']));
        expect(new Set(of('event').map(({ domain }) => domain))).to.deep.equal(new Set(['guest']));
        for (const [index, { time }] of of('event').entries())
          expect(time).to.be.at.least(of('PIRQ')[index]?.time ?? NaN);
      });

      it('brings each kind by a port of its own, and the exception by its vector, after the second event', () => {
        const ports = ['event', 'VIRQ_TIMER'].map((what) => new Set(of(what).map(({ by }) => by)));
        for (const by of ports) expect(by.size).to.equal(1);
        expect(new Set(ports.flatMap((by) => [...by])).size).to.equal(2);
        const [int3] = of('int3');
        expect(int3).to.deep.include({ domain: 'guest', by: 'vector 3' });
        // A trap is told behind its instruction.
        expect(int3?.text).to.equal('the debugger finds rip at 0xffffffff82000001');
        expect(int3?.time).to.be.at.least(of('event')[1]?.time ?? NaN);
      });
    });
  }

  it('refuses a number of times that it cannot show anything with', async () => {
    const { code, stderr } = await playground.splitring(['run', 'interrupts', '--times', '1']);
    expect(stderr).to.equal('splitring: --times "1": it takes a whole number from 2 to 10000\n');
    expect(code).to.equal(2);
  });
});
