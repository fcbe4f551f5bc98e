import { expect } from 'chai';
import { quoted } from '../../../core/xenbus/quoted.js';

describe('what a peer wrote, as a log shows it', () => {
  it('is one short line that steers no terminal', () => {
    expect(quoted('4\n')).to.equal('"4\\n"');
    expect(quoted('\u001b[2J')).to.equal('"\\u001b[2J"');
    // CSI in one character, and what turns the line around.
    expect(quoted('\u009b2J\u007f\u202e')).to.equal('"\\u009b2J\\u007f\\u202e"');
    expect(quoted('ä'.repeat(100))).to.equal(`"${'ä'.repeat(60)}…"`);
  });
});
