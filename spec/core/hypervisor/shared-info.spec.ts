import { expect } from 'chai';
import { portsOf2Level, sharedInfoOffsets } from '../../../core/hypervisor/shared-info.js';
import { dom1, machine, sharedInfoOf } from './machine.js';

describe('shared_info', () => {
  it('has its fields where xen.h has them (events-grants §3)', () => {
    expect(sharedInfoOffsets[64]).to.deep.equal({
      evtchnPending: 2048,
      evtchnMask: 2560,
      wcVersion: 3072,
      wcSec: 3076,
      wcNsec: 3080,
      size: 3136,
      pendingSel: 8,
    });
    expect(sharedInfoOffsets[32]).to.deep.equal({
      evtchnPending: 2048,
      evtchnMask: 2176,
      wcVersion: 2304,
      wcSec: 2308,
      wcNsec: 2312,
      size: 2344,
      pendingSel: 4,
    });
  });

  it('carries 4096 ports for a 64-bit guest, 1024 for a 32-bit one (EVTCHN_2L_NR_CHANNELS)', () => {
    expect([portsOf2Level(false), portsOf2Level(true)]).to.deep.equal([4096, 1024]);
  });

  for (const [abi, bits] of [
    ['x86_64-abi', 64],
    ['arm-abi', 64],
    ['x86_32-abi', 32],
  ] as const) {
    it(`is all zero in a new domain, and masked as a whole by a Linux guest: ${abi}`, () => {
      const { hypervisor } = machine({ abi });
      const info = sharedInfoOf(hypervisor, dom1);
      expect(info.every((word) => word === 0)).to.equal(true);
      hypervisor.eventChannels.maskAll(dom1);
      const { evtchnMask, wcVersion } = sharedInfoOffsets[bits];
      info.forEach((word, i) => {
        const isMask = i >= evtchnMask / 4 && i < wcVersion / 4;
        expect(word, `word ${i}`).to.equal(isMask ? -1 : 0);
      });
    });
  }
});
