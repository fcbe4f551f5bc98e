import { expect } from 'chai';
import { AdaptiveSpinner } from '../../../platform/threads/spinner.js';

/** How often a spinner looks for work that is there at the look numbered `at`. */
const looks = (spinner: AdaptiveSpinner, at = Number.POSITIVE_INFINITY): number => {
  let count = 0;
  spinner.spin(() => ++count >= at);
  return count;
};

describe('the adaptive spinner', () => {
  it('looks once, and no more, when there is work already', () => {
    expect(looks(new AdaptiveSpinner(), 1)).to.equal(1);
  });

  it('probes ever more rarely while nothing comes, down to one sleep in 1024', () => {
    const spinner = new AdaptiveSpinner();
    const probes: number[] = [];
    for (let sleep = 0; sleep < 5000; sleep++) if (looks(spinner) > 1) probes.push(sleep);
    const gaps = probes.slice(1).map((sleep, i) => sleep - (probes[i] as number));
    expect(gaps.slice(0, 10)).to.deep.equal([2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]);
    expect(new Set(gaps.slice(10))).to.deep.equal(new Set([1024]));
  });

  it('goes on spinning for a while when work has come meanwhile, and stops when it does not come again', () => {
    const spinner = new AdaptiveSpinner();
    while (looks(spinner, 3) < 3);
    let spins = 0;
    while (looks(spinner) > 1) spins++;
    expect(spins).to.equal(9); // on what the success has bought, and one probe
    while (looks(spinner, 3) < 3);
    expect(looks(spinner, 3)).to.equal(3);
  });
});
