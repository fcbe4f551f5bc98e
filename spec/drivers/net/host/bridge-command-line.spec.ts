import { expect } from 'chai';
import type { Plain } from '../../../../core/index.js';
import { bridgeCommandLine } from '../../../../drivers/net/host/bridge-command-line.js';

describe('the command line of a domain of bridges', () => {
  it('names captures, a TAP device, a capture to play, a bridge, or nothing', () => {
    expect(bridgeCommandLine(undefined)).to.deep.equal({});
    const all = { pcap: 'a', tap: { name: 'tap0', bridge: 'br0', mtu: 9000, offload: false }, replay: 'b', name: 'c' };
    expect(bridgeCommandLine(all)).to.deep.equal(all);
    expect(bridgeCommandLine({ tap: { name: 'tap0' } })).to.deep.equal({ tap: { name: 'tap0' } });
  });

  for (const [value, why] of [
    ['tap0', /command line is an object of pcap, tap, replay, name, not "tap0"/],
    [[], /is an object/],
    [{ tapp: {} }, /has no "tapp"; there are pcap, tap/],
    [{ tap: 'tap0' }, /tap is an object of name, bridge, mtu, offload, not "tap0"/],
    [{ tap: {} }, /tap has no name/],
    [{ tap: { name: 7 } }, /name is a string, not 7/],
    [{ tap: { name: 'tap0', mtu: '9000' } }, /mtu is a number, not "9000"/],
    [{ pcap: true }, /pcap is a string, not true/],
    [{ toString: 'x' }, /has no "toString"/],
  ] as readonly (readonly [Plain, RegExp])[]) {
    it(`is refused as ${JSON.stringify(value)}`, () => {
      expect(() => bridgeCommandLine(value)).to.throw(TypeError, why);
    });
  }
});
