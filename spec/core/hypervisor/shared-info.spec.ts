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
    it(`is all zero but for the time in a new domain, and masked as a whole by a Linux guest: ${abi}`, () => {
      const { hypervisor } = machine({ abi });
      const info = sharedInfoOf(hypervisor, dom1);
      // vcpu_time_info of vCPU 0, and what follows evtchn_mask: the wall clock.
      const isTime = (i: number): boolean => (i >= 8 && i < 16) || i >= bytes.end / 4;
      expect(info.every((word, i) => word === 0 || isTime(i))).to.equal(true);
      hypervisor.eventChannels.maskAll(dom1);
      info.forEach((word, i) => {
        if (isTime(i)) return;
        const isMask = i >= bytes.mask / 4 && i < bytes.end / 4;
        expect(word, `word ${i}`).to.equal(isMask ? -1 : 0);
      });
    });
  }
});
