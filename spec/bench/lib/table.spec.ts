import { expect } from 'chai';
import { boundRow, leftOutRow, plainRow, ratioRow } from '../../../bench/lib/rows.js';
import { markdownTable, table } from '../../../bench/lib/table.js';

const head = { suite: 'ring', name: 'loop', unit: 'M req/s' } as const;

describe('the table of a benchmark', () => {
  it('names the goal and whether it is met', () => {
    const text = table([
      ratioRow({ ...head, peer: 'C', goal: 0.25 }, [20], [0.2]),
      boundRow({ ...head, goal: 1 }, [0.5]),
      ratioRow({ ...head, peer: 'one channel', goal: 1.12, wanted: '<=' }, [1], [1]),
    ]);
    expect(text).to.match(/loop +20\.0 M req\/s +0\.200 C +0\.200\.\.0\.200 +>= 0\.25 {2}MISSED/);
    expect(text).to.match(/loop +0\.500 M req\/s +0\.500\.\.0\.500 +< 1 {2}met/);
    expect(text).to.match(/1\.00 one channel +1\.00\.\.1\.00 +<= 1\.12 {2}met/);
  });

  it('shows what was left out, with the reason and without a verdict', () => {
    const text = table([leftOutRow({ ...head, peer: 'ringbuf.js', goal: 2.5, cores: 2 }, 'machine busy')]);
    expect(text).to.match(/loop +- +>= 2\.5 +two cores; left out: machine busy$/);
  });

  it('is the same in Markdown, with the missed goals in bold', () => {
    const [, , ratio, plain] = markdownTable([
      ratioRow({ ...head, peer: 'C', goal: 0.25, missed: 'see below' }, [20], [0.2]),
      plainRow({ ...head, name: 'a|b' }, [3]),
    ]).split('\n');
    expect(ratio).to.equal('| loop | 20.0 M req/s | 0.200 of C | 0.200..0.200 | >= 0.25, **missed** | see below |');
    expect(plain).to.equal('| a\\|b | 3.00 M req/s |  | 3.00..3.00 |  |  |');
  });
});
