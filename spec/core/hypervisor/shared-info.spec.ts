import { expect } from 'chai';
import { portsOf2Level } from '../../../core/hypervisor/shared-info.js';
import { dom1, machine, sharedInfoOf } from './machine.js';

describe('shared_info', () => {
  it('carries 4096 ports for a 64-bit guest, 1024 for a 32-bit one (EVTCHN_2L_NR_CHANNELS)', () => {
    expect([portsOf2Level(false), portsOf2Level(true)]).to.deep.equal([4096, 1024]);
  });

  for (const [abi, bytes] of [
    ['x86_64-abi', { mask: 2560, end: 3072 }],
    ['arm-abi', { mask: 2560, end: 3072 }],
    ['x86_32-abi', { mask: 2176, end: 2304 }],
  ] as const) {
    it(`is all zero in a new domain, and masked as a whole by a Linux guest: ${abi}`, () => {
      const { hypervisor } = machine({ abi });
      const info = sharedInfoOf(hypervisor, dom1);
      expect(info.every((word) => word === 0)).to.equal(true);
      hypervisor.eventChannels.maskAll(dom1);
      info.forEach((word, i) => {
        const isMask = i >= bytes.mask / 4 && i < bytes.end / 4;
        expect(word, `word ${i}`).to.equal(isMask ? -1 : 0);
      });
    });
  }
});
