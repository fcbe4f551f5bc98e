import { expect } from 'chai';
import { interleave, median, ratios } from '../../../bench/lib/measure.js';

describe('interleaved measuring', () => {
  const order: string[] = [];
  const subject = (name: string) => ({
    name,
    measure: () => {
      order.push(name);
      return order.length;
    },
  });
  const three = [subject('a'), subject('b'), subject('c')];

  beforeEach(() => {
    order.length = 0;
  });

  it('measures each subject once a round, and begins each round with another', () => {
    const samples = interleave(three, 3);
    expect(order.join('')).to.equal('abcbcacab');
    expect(samples.get('a')).to.deep.equal([1, 6, 8]);
  });

  it('leaves a round out that was disturbed before or after it, for all subjects', () => {
    // Before and after the first round, before the second, before and after the third.
    const quiet = [true, true, false, true, false];
    const samples = interleave(three, 3, () => quiet.shift() === true);
    expect(order.join('')).to.equal('abccab');
    expect(samples.get('a')).to.deep.equal([1]);
    expect(samples.get('c')).to.deep.equal([3]);
  });

  it('takes the middle value, or the mean of the two in the middle', () => {
    expect(median([5, 1, 3])).to.equal(3);
    expect(median([4, 1, 3, 2])).to.equal(2.5);
  });

  it('compares each round with the same round of the peer', () => {
    expect(ratios([2, 9], [4, 3])).to.deep.equal([0.5, 3]);
  });
});
