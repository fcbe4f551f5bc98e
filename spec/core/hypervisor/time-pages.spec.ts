import { expect } from 'chai';
import { PAGE_SIZE } from '../../../core/abi/units.js';
import { golden } from '../../golden/golden.js';
import { dom1, ok } from './machine.js';
import { BOOT_TIME, type TimedMachine, timedMachine } from './timed.js';

const fields = (abi: 'x86_64' | 'x86_32', struct: string): Readonly<Record<string, readonly number[]>> =>
  golden[abi][struct]?.fields ?? {};
const offset = (abi: 'x86_64' | 'x86_32', struct: string, field: string): number =>
  fields(abi, struct)[field]?.[0] ?? Number.NaN;

for (const abi of ['x86_64', 'x86_32'] as const) {
  describe(`the time pages of an ${abi} guest`, () => {
    let machine: TimedMachine;
    let slot: number;

    const page = (): DataView => {
      const { hypervisor } = machine;
      return new DataView(hypervisor.memory.memory.buffer, hypervisor.sharedInfo.at(slot) * 4, PAGE_SIZE);
    };
    const at = (vcpu: number, field: string): number =>
      offset(abi, 'shared_info', 'vcpu_info') +
      vcpu * (golden[abi].vcpu_info?.size ?? Number.NaN) +
      offset(abi, 'vcpu_info', 'time') +
      offset(abi, 'vcpu_time_info', field);
    /** System time as xen.h has a guest compute it from the page and the TSC. */
    const read = (vcpu: number, tsc: bigint): bigint => {
      const view = page();
      const shift = view.getInt8(at(vcpu, 'tsc_shift'));
      const delta = tsc - view.getBigUint64(at(vcpu, 'tsc_timestamp'), true);
      const ticks = shift < 0 ? delta >> BigInt(-shift) : delta << BigInt(shift);
      const scaled = (ticks * BigInt(view.getUint32(at(vcpu, 'tsc_to_system_mul'), true))) >> 32n;
      return view.getBigUint64(at(vcpu, 'system_time'), true) + scaled;
    };

    beforeEach(() => {
      machine = timedMachine({ vcpus: 2, abi: `${abi}-abi` });
      slot = machine.hypervisor.memory.slotOf(dom1);
    });

    it('have vcpu_time_info where the headers have it, in each vcpu_info', () => {
      for (const vcpu of [0, 1]) {
        expect(page().getUint32(at(vcpu, 'version'), true)).to.equal(2);
        expect(page().getBigUint64(at(vcpu, 'system_time'), true)).to.equal(5_000_000_000n);
      }
    });

    it('say system time by the formula of xen.h, at the moment they were written and later', () => {
      expect(read(0, 5_000_000_000n)).to.equal(5_000_000_000n);
      expect(read(1, 5_000_000_001n)).to.equal(5_000_000_001n);
      expect(read(0, 9_007_199_254_740_992n)).to.equal(9_007_199_254_740_992n);
    });

    it('say that the TSC is stable (XEN_PVCLOCK_TSC_STABLE_BIT)', () => {
      expect(page().getUint8(at(0, 'flags'))).to.equal(1);
    });

    it('are written again by an entry a calibration later, and not before (time.c EPOCH)', () => {
      const { timePages } = machine.hypervisor;
      machine.now += 999_999_999;
      timePages.refresh(slot, 1, machine.now);
      expect(page().getUint32(at(1, 'version'), true)).to.equal(2);
      machine.now += 1;
      timePages.refresh(slot, 1, machine.now);
      expect(page().getUint32(at(1, 'version'), true)).to.equal(4);
      expect(page().getBigUint64(at(1, 'system_time'), true)).to.equal(6_000_000_000n);
      expect(page().getUint32(at(0, 'version'), true)).to.equal(2);
    });

    it('have the wall-clock time of system time 0, seconds above 32 bits included, under an even wc_version', () => {
      const view = page();
      const wc = (field: string): number => view.getUint32(offset(abi, 'shared_info', field), true);
      expect(wc('wc_version')).to.equal(2);
      expect(wc('xen_wc_sec_hi') * 2 ** 32 + wc('wc_sec')).to.equal(2 ** 32 + 1);
      expect(wc('wc_nsec')).to.equal(500_000_000);
      expect(machine.hypervisor.timePages.wallclock(slot)).to.equal(BOOT_TIME);
    });

    it('count wc_version up by two when the wall clock is set (update_domain_wallclock_time)', () => {
      machine.hypervisor.timePages.setWallclock(slot, 12_345.5);
      expect(page().getUint32(offset(abi, 'shared_info', 'wc_version'), true)).to.equal(4);
      expect(machine.hypervisor.timePages.wallclock(slot)).to.equal(12_345.5);
    });

    it('have a second copy where VCPUOP_register_vcpu_time_memory_area says, as long as the page is the guest’s', () => {
      const { hypervisor } = machine;
      const frame = ok(hypervisor.pages.populate(dom1, dom1, 1));
      expect(hypervisor.vcpuOps.registerTimeArea(dom1, 1, frame * PAGE_SIZE + 64)).to.equal(0);
      const copy = new DataView(hypervisor.memory.memory.buffer, frame * PAGE_SIZE, PAGE_SIZE);
      const system = 64 + offset(abi, 'vcpu_time_info', 'system_time');
      expect(copy.getBigUint64(system, true)).to.equal(5_000_000_000n);
      hypervisor.timePages.update(slot, 1, 6_000_000_000);
      expect(copy.getBigUint64(system, true)).to.equal(6_000_000_000n);
      ok(hypervisor.pages.release(dom1, frame, 1));
      hypervisor.timePages.update(slot, 1, 7_000_000_000);
      expect(copy.getBigUint64(system, true)).to.equal(6_000_000_000n);
    });
  });
}
