import { expect } from 'chai';
import { boundRow, plainRow, ratioRow } from '../../../bench/lib/rows.js';
import { table } from '../../../bench/lib/table.js';

const head = { suite: 'ring', name: 'loop', unit: 'M req/s' } as const;

describe('the rows of a benchmark', () => {
  it('meet a ratio’s goal by the median of the rounds, and say so', () => {
    const compared = { ...head, peer: 'C', goal: 0.25, missed: 'why' };
    const met = ratioRow(compared, [10, 30, 20], [0.1, 0.25, 0.9]);
    expect(met).to.deep.equal({
      ...head,
      peer: 'C',
      goal: 0.25,
      value: 20,
      ratio: 0.25,
      min: 0.1,
      max: 0.9,
      met: true,
    });
    const missed = ratioRow(compared, [10], [0.249]);
    expect(missed.met).to.equal(false);
    expect(missed.note).to.equal('why');
  });

  it('have no verdict without a goal', () => {
    expect(ratioRow({ ...head, peer: 'C' }, [1], [1])).not.to.have.property('met');
    expect(plainRow(head, [3, 1])).to.deep.equal({ ...head, value: 2, min: 1, max: 3 });
  });

  it('meet a bound only below it', () => {
    expect(boundRow({ ...head, goal: 1 }, [1]).met).to.equal(false);
    expect(boundRow({ ...head, goal: 1 }, [0.99]).met).to.equal(true);
  });

  it('stand in a table that names the goal and whether it is met', () => {
    const text = table([
      ratioRow({ ...head, peer: 'C', goal: 0.25 }, [20], [0.2]),
      boundRow({ ...head, goal: 1 }, [0.5]),
    ]);
    expect(text).to.match(/loop +20\.0 M req\/s +0\.200 C +0\.200\.\.0\.200 +>= 0\.25 {2}MISSED/);
    expect(text).to.match(/loop +0\.500 M req\/s +0\.500\.\.0\.500 +< 1 {2}met/);
  });
});
