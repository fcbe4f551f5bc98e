import { stat } from 'node:fs';
import { expect } from 'chai';
import { ActivityWatch, hasActiveRequests } from '../../../platform/threads/active-requests.js';

describe('what a blocking thread knows to be under way', () => {
  let timer: NodeJS.Timeout | undefined;

  afterEach(() => clearTimeout(timer));

  it('is looked up again when something was begun, and until it has ended', async () => {
    const watch = new ActivityWatch();
    watch.look();
    timer = setTimeout(() => {}, 1e6);
    expect(watch.look()).to.equal('some');
    expect(watch.look()).to.equal('some');
    clearTimeout(timer);
    // Mocha may have a timer of its own, so that Node's list is the measure.
    expect(watch.look()).to.equal(hasActiveRequests() ? 'some' : 'none');
    const read = new Promise((resolve) => stat('/', resolve));
    expect(watch.look()).to.equal('some');
    await read;
  });

  it('is not looked up when nothing was begun since there was nothing', function () {
    const watch = new ActivityWatch();
    watch.look();
    if (hasActiveRequests()) this.skip();
    expect(watch.look()).to.equal('nothing new');
    setImmediate(() => {});
    expect(watch.look()).to.equal('some');
  });
});
