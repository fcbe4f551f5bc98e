import { expect } from 'chai';
import { compareThirds, ENOUGH, type Sample } from '../../../bench/soak/memory.js';

const MIB = 2 ** 20;

describe('the soak’s comparison of memory', () => {
  const samples = (of: (i: number) => Partial<Sample>, count = 9): readonly Sample[] =>
    Array.from({ length: count }, (_, i) => ({
      at: i,
      rss: 300 * MIB,
      heapUsed: 12 * MIB,
      freeFrames: 16_000,
      ...of(i),
    }));
  const notFlat = (of: (i: number) => Partial<Sample>): readonly string[] | undefined =>
    compareThirds(samples(of))
      ?.filter(({ flat }) => !flat)
      .map(({ what }) => what);

  it('says nothing of a few samples', () => {
    expect(compareThirds(samples(() => ({}), ENOUGH - 1))).to.equal(undefined);
    expect(compareThirds(samples(() => ({}), ENOUGH))).to.have.length(3);
  });

  it('finds a steady growth, and frames that are never given back', () => {
    expect(notFlat(() => ({}))).to.deep.equal([]);
    expect(notFlat((i) => ({ rss: (300 + 20 * i) * MIB }))).to.deep.equal(['rss']);
    expect(notFlat((i) => ({ heapUsed: (12 + i) * MIB }))).to.deep.equal(['heapUsed']);
    expect(notFlat((i) => ({ freeFrames: 16_000 - 4 * i }))).to.deep.equal(['freeFrames']);
  });

  it('does not mind what comes and goes, nor what shrinks', () => {
    expect(notFlat((i) => ({ rss: (300 + 20 * (i % 2)) * MIB, freeFrames: 16_000 + 10 * i }))).to.deep.equal([]);
  });
});
