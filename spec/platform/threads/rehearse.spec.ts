import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { rehearse } from '../../../platform/threads/rehearse.js';

describe('the rehearsal of a domain', () => {
  it('runs to its end, leaves nothing under way, and nothing that fails later', async () => {
    const before = process.getActiveResourcesInfo();
    const failed: unknown[] = [];
    const note = (error: unknown): void => void failed.push(error);
    process.on('unhandledRejection', note);
    try {
      rehearse();
      expect(process.getActiveResourcesInfo()).to.deep.equal(before);
      for (let turn = 0; turn < 5; turn++) await setImmediate();
      expect(failed).to.deep.equal([]);
    } finally {
      process.off('unhandledRejection', note);
    }
  });
});
