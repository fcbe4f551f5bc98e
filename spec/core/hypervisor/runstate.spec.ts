import { expect } from 'chai';
import fc from 'fast-check';
import { errno } from '../../../core/abi/errno.js';
import { PAGE_SIZE } from '../../../core/abi/units.js';
import { type RunstateInfo, type RunstateNumber, runstate } from '../../../core/hypervisor/runstate.js';
import { golden } from '../../golden/golden.js';
import { dom1, dom2, nobody, ok } from './machine.js';
import { type TimedMachine, timedMachine } from './timed.js';

describe('the runstates of vCPUs', () => {
  let machine: TimedMachine;
  let slot: number;
  const info = (vcpu = 0): RunstateInfo => machine.hypervisor.vcpuOps.runstateInfo(dom1, vcpu) as RunstateInfo;
  const change = (state: RunstateNumber, vcpu = 0): void =>
    machine.hypervisor.runstates.change(slot, vcpu, state, machine.now);

  beforeEach(() => {
    machine = timedMachine({ vcpus: 2 });
    slot = machine.hypervisor.memory.slotOf(dom1);
  });

  it('are numbered as vcpu.h', () => {
    expect(runstate).to.deep.equal({ running: 0, runnable: 1, blocked: 2, offline: 3 });
  });

  it('begin offline, at the domain’s creation', () => {
    machine.now += 7;
    expect(info()).to.deep.equal({ state: 3, stateEntryTime: 5_000_000_000, time: [0, 0, 0, 7] });
  });

  it('count the time in each state, that of the present one up to now (vcpu_runstate_get)', () => {
    change(runstate.running);
    machine.now += 100;
    change(runstate.runnable);
    machine.now += 30;
    change(runstate.running);
    machine.now += 5;
    expect(info()).to.deep.equal({ state: 0, stateEntryTime: 5_000_000_130, time: [105, 30, 0, 0] });
    expect(machine.hypervisor.runstates.received(slot, 0, machine.now)).to.equal(105);
  });

  it('never drift from system time, whatever happens (vcpu.h)', () => {
    const steps = fc.array(fc.record({ state: fc.integer({ min: 0, max: 3 }), ns: fc.nat(2 ** 31) }), {
      maxLength: 50,
    });
    fc.assert(
      fc.property(steps, (all) => {
        machine = timedMachine();
        slot = machine.hypervisor.memory.slotOf(dom1);
        for (const { state, ns } of all) {
          change(state as RunstateNumber);
          machine.now += ns;
        }
        const sum = info().time.reduce((total, time) => total + time, 0);
        expect(sum).to.equal(machine.now - 5_000_000_000);
      }),
    );
  });

  it('are asked for of the caller’s own vCPUs: ENOENT, ESRCH', () => {
    expect(machine.hypervisor.vcpuOps.runstateInfo(dom1, 2)).to.equal(-errno.ENOENT);
    expect(machine.hypervisor.vcpuOps.runstateInfo(nobody, 0)).to.equal(-errno.ESRCH);
  });

  for (const abi of ['x86_64', 'x86_32'] as const) {
    describe(`in the area of VCPUOP_register_runstate_memory_area, of an ${abi} guest`, () => {
      const field = (name: string): number => golden[abi].vcpu_runstate_info?.fields[name]?.[0] ?? Number.NaN;
      const size = golden[abi].vcpu_runstate_info?.size ?? Number.NaN;
      let frame: number;
      let view: DataView;

      beforeEach(() => {
        machine = timedMachine({ vcpus: 2, abi: `${abi}-abi` });
        slot = machine.hypervisor.memory.slotOf(dom1);
        frame = ok(machine.hypervisor.pages.populate(dom1, dom1, 1));
        view = new DataView(machine.hypervisor.memory.memory.buffer, frame * PAGE_SIZE, PAGE_SIZE);
      });

      const register = (offset: number): number =>
        machine.hypervisor.vcpuOps.registerRunstateArea(dom1, 1, frame * PAGE_SIZE + offset);

      it('stand where the headers have them, at once and whenever the vCPU begins to run', () => {
        expect(register(PAGE_SIZE - size)).to.equal(0);
        const at = PAGE_SIZE - size;
        expect(view.getInt32(at + field('state'), true)).to.equal(runstate.offline);
        machine.now += 40;
        change(runstate.blocked, 1);
        expect(view.getInt32(at + field('state'), true)).to.equal(runstate.offline);
        machine.now += 2;
        change(runstate.running, 1);
        expect(view.getInt32(at + field('state'), true)).to.equal(runstate.running);
        expect(view.getBigUint64(at + field('state_entry_time'), true)).to.equal(5_000_000_042n);
        const times = [0, 1, 2, 3].map((i) => view.getBigUint64(at + field('time') + 8 * i, true));
        expect(times).to.deep.equal([0n, 0n, 2n, 40n]);
      });

      it('leave no flag of an update behind (XEN_RUNSTATE_UPDATE)', () => {
        ok(machine.hypervisor.vcpuOps.assistRunstateUpdate(dom1, true));
        ok(register(0));
        change(runstate.running, 1);
        expect(view.getBigUint64(field('state_entry_time'), true)).to.equal(5_000_000_000n);
      });

      it('are refused a place that is not the guest’s, or not whole, or not aligned: EFAULT, and the old one stays', () => {
        ok(register(0));
        const theirs = ok(machine.hypervisor.pages.populate(dom2, dom2, 1));
        for (const address of [
          theirs * PAGE_SIZE,
          frame * PAGE_SIZE + PAGE_SIZE - size + 4,
          frame * PAGE_SIZE + 2,
          -4,
        ]) {
          expect(machine.hypervisor.vcpuOps.registerRunstateArea(dom1, 1, address)).to.equal(-errno.EFAULT);
        }
        change(runstate.running, 1);
        expect(view.getInt32(field('state'), true)).to.equal(runstate.running);
      });

      it('are not written into a page that the guest has given back', () => {
        ok(register(0));
        ok(machine.hypervisor.pages.release(dom1, frame, 1));
        change(runstate.running, 1);
        expect(view.getInt32(field('state'), true)).to.equal(runstate.offline);
      });
    });
  }
});
