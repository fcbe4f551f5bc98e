import { expect } from 'chai';
import { boundRow, isLeftOut, leftOutRow, plainRow, ratioRow, wantedOf } from '../../../bench/lib/rows.js';

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

  it('meet a ratio’s goal from below where less is better', () => {
    const compared = { ...head, peer: 'one channel', goal: 1.12, wanted: '<=' } as const;
    expect(ratioRow(compared, [1], [1.12]).met).to.equal(true);
    expect(ratioRow(compared, [1], [1.13]).met).to.equal(false);
  });

  it('have no verdict without a goal', () => {
    expect(ratioRow({ ...head, peer: 'C' }, [1], [1])).not.to.have.property('met');
    expect(plainRow(head, [3, 1])).to.deep.equal({ ...head, value: 2, min: 1, max: 3 });
  });

  it('meet a bound only below it', () => {
    expect(boundRow({ ...head, goal: 1 }, [1]).met).to.equal(false);
    expect(boundRow({ ...head, goal: 1 }, [0.99]).met).to.equal(true);
  });

  it('meet a bound that is a maximum, or exact, at it', () => {
    expect(boundRow({ ...head, goal: 1, wanted: '<=' }, [1]).met).to.equal(true);
    expect(boundRow({ ...head, goal: 1, wanted: '=' }, [1]).met).to.equal(true);
    const beside = boundRow({ ...head, goal: 1, wanted: '=', missed: 'why' }, [0.99]);
    expect(beside.met).to.equal(false);
    expect(beside.note).to.equal('why');
  });

  it('want at least the goal of a ratio and less than that of a value, if they do not say', () => {
    expect(wantedOf({ peer: 'C' })).to.equal('>=');
    expect(wantedOf({})).to.equal('<');
    expect(wantedOf({ peer: 'C', wanted: '<=' })).to.equal('<=');
  });

  it('that are left out say why, and have no verdict', () => {
    const row = leftOutRow({ ...head, peer: 'C', goal: 1 }, 'no gcc');
    expect(row).to.include({ note: 'left out: no gcc', goal: 1 });
    expect(row).not.to.have.property('met');
    expect(isLeftOut(row)).to.equal(true);
    expect(isLeftOut(plainRow(head, [0]))).to.equal(false);
  });
});
