import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import type { Port } from '../../../core/abi/units.js';
import { virq } from '../../../core/abi/virq.js';
import { runstate } from '../../../core/hypervisor/runstate.js';
import { shutdownReason } from '../../../core/hypervisor/sched.js';
import { dom1, nobody, ok } from './machine.js';
import { type TimedMachine, timedMachine } from './timed.js';

describe('the operations on vCPUs', () => {
  let machine: TimedMachine;
  let slot: number;
  const ops = () => machine.hypervisor.vcpuOps;
  const isDue = (vcpu: number): boolean => machine.hypervisor.doorbell.hasUpcallOn(dom1, vcpu);

  beforeEach(() => {
    machine = timedMachine({ vcpus: 3 });
    slot = machine.hypervisor.memory.slotOf(dom1);
  });

  it('find vCPU 0 up, and the others to be initialised first (VCPUOP_is_up)', () => {
    expect([0, 1, 2].map((vcpu) => ops().isUp(dom1, vcpu))).to.deep.equal([1, 0, 0]);
    expect(ops().up(dom1, 1)).to.equal(-errno.EINVAL);
    expect(ops().isUp(dom1, 1)).to.equal(0);
  });

  it('initialise a vCPU once: EEXIST (VCPUOP_initialise)', () => {
    expect(ops().initialise(dom1, 0)).to.equal(-errno.EEXIST);
    expect(ops().initialise(dom1, 1)).to.equal(0);
    expect(ops().initialise(dom1, 1)).to.equal(-errno.EEXIST);
    expect(ops().isUp(dom1, 1)).to.equal(0);
  });

  it('bring a vCPU up, once or twice, and down (VCPUOP_up, VCPUOP_down)', () => {
    ok(ops().initialise(dom1, 1));
    expect(ops().up(dom1, 1)).to.equal(0);
    expect(ops().up(dom1, 1)).to.equal(0);
    expect(ops().isUp(dom1, 1)).to.equal(1);
    expect(ops().down(dom1, 1)).to.equal(0);
    expect(ops().isUp(dom1, 1)).to.equal(0);
    expect(ops().up(dom1, 1)).to.equal(0);
  });

  it('power the domain off with its last vCPU', () => {
    expect(ops().down(dom1, 0)).to.equal(0);
    expect(machine.hypervisor.sched.shutdownOf(dom1)).to.equal(shutdownReason.poweroff);
  });

  it('leave events pending for a vCPU that is down, for the entry after it is up', () => {
    const { hypervisor } = machine;
    const port = ok<Port>(hypervisor.virqs.bind(dom1, virq.timer, 1));
    hypervisor.virqs.raise(slot, 1, virq.timer);
    expect(isDue(1)).to.equal(false);
    expect(hypervisor.doorbell.hasUpcall(dom1)).to.equal(false);
    ok(ops().initialise(dom1, 1));
    ok(ops().up(dom1, 1));
    expect(isDue(1)).to.equal(true);
    const got: Port[] = [];
    hypervisor.upcalls.scan(dom1, (each) => got.push(each), undefined, 1);
    expect(got).to.deep.equal([port]);
  });

  it('answer ENOENT for a vCPU that is not there, ESRCH for a domain that is gone', () => {
    for (const call of ['initialise', 'up', 'down', 'isUp', 'runstateInfo'] as const) {
      expect(ops()[call](dom1, 3), call).to.equal(-errno.ENOENT);
      expect(ops()[call](nobody, 0), call).to.equal(-errno.ESRCH);
    }
    for (const call of ['registerRunstateArea', 'registerTimeArea'] as const) {
      expect(ops()[call](dom1, 3, 0), call).to.equal(-errno.ENOENT);
    }
  });

  it('find a new domain’s vCPUs offline, as vcpu_create leaves them', () => {
    expect([0, 1, 2].map((vcpu) => machine.hypervisor.runstates.state(slot, vcpu))).to.deep.equal(
      [0, 1, 2].map(() => runstate.offline),
    );
  });
});
