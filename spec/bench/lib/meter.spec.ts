import { expect } from 'chai';
import { clockOf } from '../../../bench/lib/clocks.js';
import { Meter } from '../../../bench/lib/meter.js';

describe('the meter of a case', () => {
  it('counts what is done after the case has warmed up, until it has run for its time', () => {
    const meter = new Meter('core', 20, 20);
    let all = 0;
    let before = 0;
    meter.onWarm = () => {
      before = all;
    };
    let ended = 0;
    for (; ended === 0; all++) if (meter.done()) ended = all + 1;
    expect(before).to.be.greaterThan(0);
    expect(meter.count).to.be.greaterThan(0);
    // The one that is being done when counting begins belongs to neither part.
    expect(meter.count).to.equal(ended - before - 1);
    expect(meter.rate).to.be.greaterThan(0);
    expect(meter.rate).to.be.lessThan(Number.POSITIVE_INFINITY);
  });

  it('has the clock of a shared core and that of the wall, and no other', () => {
    for (const name of ['core', 'wall']) {
      const { exact, rough } = clockOf(name);
      expect(exact()).to.be.at.most(exact());
      expect(rough()).to.be.at.most(rough());
    }
    expect(() => clockOf('sun')).to.throw(RangeError, 'the clock core or wall, not by sun');
    expect(() => clockOf('toString')).to.throw(RangeError);
  });
});
