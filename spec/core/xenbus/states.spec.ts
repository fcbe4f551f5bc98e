import { expect } from 'chai';
import { PeerFault } from '../../../core/index.js';
import { parseState, showState, type XenbusState, xenbusState } from '../../../core/xenbus/states.js';

describe('a state node', () => {
  it('reads as what xenbus.h numbers, and as Unknown where there is none', () => {
    expect(parseState(undefined)).to.equal('Unknown');
    for (const [name, number] of Object.entries(xenbusState)) {
      expect(parseState(String(number))).to.equal(name);
      expect(showState(name as XenbusState)).to.equal(String(number));
    }
  });

  for (const text of ['', '9', '-1', '4 ', ' 4', '04', '4\n', '0x4', 'Connected', '１']) {
    it(`is no state when it says ${JSON.stringify(text)}`, () => {
      expect(() => parseState(text, 'device/vbd/0/state')).to.throw(
        PeerFault,
        `device/vbd/0/state cannot be ${JSON.stringify(text)}`,
      );
    });
  }

  it('is quoted in part when it is long', () => {
    expect(() => parseState('9'.repeat(4000)))
      .to.throw(PeerFault)
      .with.property('message')
      .with.length.below(100);
  });
});
