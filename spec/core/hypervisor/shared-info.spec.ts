import { expect } from 'chai';
import { type Domid, PAGE_SIZE, type Port } from '../../../core/abi/units.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { slotPage } from '../../../core/hypervisor/layout.js';
import { portsOf2Level } from '../../../core/hypervisor/shared-info.js';
import { addDomain, connect, deliver, deliverOn, dom1, machine, ok, sharedInfoOf } from './machine.js';

describe('shared_info', () => {
  it('carries 4096 ports for a 64-bit guest, 1024 for a 32-bit one (EVTCHN_2L_NR_CHANNELS)', () => {
    expect([portsOf2Level(false), portsOf2Level(true)]).to.deep.equal([4096, 1024]);
  });

  for (const [abi, bytes] of [
    ['x86_64-abi', { mask: 2560, end: 3072 }],
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

describe('shared_info of a domain of Arm', () => {
  /** What a C compiler says over xen.h and arch-arm.h of Xen 4.17, with __aarch64__ defined. */
  const c = { pending: 48, mask: 560, wallclock: 1072, size: 1088, pendingSel: 8, time: 16, vcpuInfo: 48 };
  /** Sets something by a domain's own calls, and says which bytes of its page it changed. */
  const changed = (change: (hypervisor: Hypervisor, slot: number) => void): readonly number[] => {
    const { hypervisor } = machine({ abi: 'arm-abi', maxEventChannels: 4095 });
    const slot = hypervisor.memory.slotOf(dom1);
    const first = (hypervisor.memory.control(slot) + slotPage.sharedInfoArm) * 4;
    const page = hypervisor.memory.bytes.subarray(first, first + PAGE_SIZE);
    const before = page.slice();
    change(hypervisor, slot);
    return [...page.keys()].filter((byte) => page[byte] !== before[byte]);
  };

  it('has 4096 ports, whose bits lie behind the one vcpu_info of 48 bytes (XEN_LEGACY_MAX_VCPUS is 1)', () => {
    for (const port of [0, 1, 31, 32, 63, 64, 1000, 4095]) {
      expect(changed((h, slot) => h.sharedInfo.setPending(h.sharedInfo.at(slot), port))).to.deep.equal([
        c.pending + (port >>> 3),
      ]);
      expect(changed((h, slot) => h.sharedInfo.setMask(h.sharedInfo.at(slot), false, port))).to.deep.equal([
        c.mask + (port >>> 3),
      ]);
    }
  });

  it('masks what evtchn_mask is and no byte more', () => {
    const bytes = changed((h) => h.eventChannels.maskAll(dom1));
    expect([bytes.length, bytes[0], bytes.at(-1)]).to.deep.equal([512, c.mask, c.mask + 511]);
  });

  it('has its wall clock behind that', () => {
    const bytes = changed((h, slot) => h.timePages.setWallclock(slot, 4e12));
    expect(bytes.length).to.be.above(0);
    expect(bytes.every((byte) => byte >= c.wallclock && byte < c.size)).to.equal(true);
  });

  it('keeps each vCPU’s vcpu_info elsewhere, where a kernel of Arm has registered it, with the fields in Arm’s places', () => {
    const { hypervisor } = machine({ abi: 'arm-abi', vcpus: 32 });
    const { sharedInfo, timePages, memory } = hypervisor;
    const slot = memory.slotOf(dom1);
    const page = memory.control(slot) + slotPage.sharedInfoArm;
    const infos = Array.from({ length: 32 }, (_, vcpu) => sharedInfo.infoOf(slot, vcpu));
    for (const [vcpu, info] of infos.entries()) {
      expect(info + c.vcpuInfo / 4, `vCPU ${vcpu}`).to.be.at.most(page + c.pending / 4);
      expect(timePages.at(slot, vcpu)).to.equal(info + c.time / 4);
      if (vcpu > 0) expect(info - (infos[vcpu - 1] as number)).to.be.at.least(c.vcpuInfo / 4);
    }
    sharedInfo.select(infos[3] as number, false, 64);
    expect(memory.words[(infos[3] as number) + c.pendingSel / 4]).to.equal(2);
  });

  it('carries events on every vCPU, beside domains of x86', () => {
    const { hypervisor } = machine({ abi: 'arm-abi', vcpus: 32 });
    addDomain(hypervisor, 9 as Domid);
    for (const vcpu of [0, 1, 31]) {
      const ipi = ok<Port>(hypervisor.eventChannels.bindIpi(dom1, vcpu));
      ok(hypervisor.eventChannels.send(dom1, ipi));
      expect(deliverOn(hypervisor, dom1, vcpu)).to.deep.equal([ipi]);
    }
    const [mine, theirs] = connect(hypervisor, 9 as Domid, dom1);
    ok(hypervisor.eventChannels.send(dom1, theirs));
    expect(deliver(hypervisor, 9 as Domid)).to.deep.equal([mine]);
    ok(hypervisor.eventChannels.send(9 as Domid, mine));
    expect(deliver(hypervisor, dom1)).to.deep.equal([theirs]);
  });
});
