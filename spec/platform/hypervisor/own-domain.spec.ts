import { expect } from 'chai';
import { XenError } from '../../../core/errors.js';
import { HypervisorEventChannels } from '../../../platform/hypervisor/event-channels.js';
import { HypervisorGrantTable } from '../../../platform/hypervisor/grant-table.js';
import { GuestEntry } from '../../../platform/hypervisor/guest-entry.js';
import { HypervisorSched } from '../../../platform/hypervisor/sched.js';
import { HypervisorVcpus } from '../../../platform/hypervisor/vcpus.js';
import { addDomain, bringUp, dom0, dom1, machine, ok } from '../../core/hypervisor/machine.js';

describe('what the code of a destroyed domain calls', () => {
  const scene = () => {
    const { hypervisor } = machine({ vcpus: 2 });
    const onError = (error: unknown): never => {
      throw error;
    };
    const channels = new HypervisorEventChannels(hypervisor, dom1, onError);
    const entry = new GuestEntry(hypervisor, dom1, channels, onError);
    const sched = new HypervisorSched(hypervisor, dom1, entry);
    const vcpus = new HypervisorVcpus(hypervisor, dom1, channels, entry, async () => {});
    ok(hypervisor.destroyDomain(dom0, dom1));
    addDomain(hypervisor, dom1, { vcpus: 2 });
    bringUp(hypervisor, dom1);
    return { hypervisor, sched, vcpu: vcpus.vcpu(1) };
  };

  it('touches no other domain, though one has its number now: ESRCH', async () => {
    const { hypervisor, sched, vcpu } = scene();
    const { sched: its, vcpus, memory } = hypervisor;
    const slot = memory.slotOf(dom1);
    const page = new HypervisorGrantTable(hypervisor, dom1).alloc();
    const calls: Readonly<Record<string, () => unknown>> = {
      yield: () => sched.yield(),
      block: () => sched.block(),
      poll: () => sched.poll([], 1),
      shutdown: () => sched.shutdown('poweroff'),
      suspend: () => sched.suspend(),
      shutdownCode: () => sched.shutdownCode('crash'),
      watchdog: () => sched.watchdog(0, 1),
      up: () => vcpu.up(),
      down: () => vcpu.down(),
      runstate: () => vcpu.runstate(),
      registerRunstate: () => vcpu.registerRunstate(page, 0),
      registerTime: () => vcpu.registerTime(page, 0),
      sendNmi: () => vcpu.sendNmi(),
    };
    const before = memory.words.slice();
    for (const [name, call] of Object.entries(calls)) {
      const settled = await Promise.race([
        (async () => call())().then(
          () => 'done',
          (error: unknown) => (error instanceof XenError ? error.code : error),
        ),
        new Promise((resolve) => setImmediate(resolve, 'waits')),
      ]);
      expect(settled, name).to.equal('ESRCH');
    }
    expect(vcpu.isUp).to.equal(false);
    expect(vcpu.upcallMask).to.equal(true);
    vcpu.upcallMask = false;
    expect(its.shutdownOf(dom1)).to.equal(undefined);
    expect([0, 1].map((id) => vcpus.mayRun(slot, id))).to.eql([true, true]);
    expect(memory.words.findIndex((word, at) => word !== before[at])).to.equal(-1);
  });
});
