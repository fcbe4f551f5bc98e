import { expect } from 'chai';
import { virq } from '../../../core/abi/virq.js';
import { runstate } from '../../../core/hypervisor/runstate.js';
import type { Port } from '../../../core/index.js';
import { HypervisorEventChannels } from '../../../platform/hypervisor/event-channels.js';
import { GuestEntry } from '../../../platform/hypervisor/guest-entry.js';
import { addDomain, dom0, dom1, dom2, ok } from '../../core/hypervisor/machine.js';
import { type TimedMachine, timedMachine } from '../../core/hypervisor/timed.js';

describe('the entry of a guest', () => {
  let machine: TimedMachine;
  let entry: GuestEntry;
  let trace: string[];
  let raise: () => void;
  let ours: HypervisorEventChannels;
  const slot = (): number => machine.hypervisor.memory.slotOf(dom1);
  const info = (vcpu = 0): number => machine.hypervisor.sharedInfo.infoOf(slot(), vcpu);
  const state = (vcpu = 0): number => machine.hypervisor.runstates.state(slot(), vcpu);
  const fail = (error: unknown): void => {
    trace.push(String(error));
  };

  beforeEach(() => {
    machine = timedMachine({ vcpus: 2 });
    const { hypervisor } = machine;
    ours = new HypervisorEventChannels(hypervisor, dom1, fail);
    const theirs = new HypervisorEventChannels(hypervisor, dom2, fail);
    const channel = ours.allocUnbound(dom2);
    const peer = theirs.bindInterdomain(dom1, channel.port);
    raise = () => peer.notify();
    trace = [];
    channel.subscribe(() => trace.push('upcall'));
    entry = new GuestEntry(hypervisor, dom1, ours, fail);
  });

  it('is kept by nothing of Xen’s once its domain has ended', () => {
    const { hypervisor } = machine;
    let looks = 0;
    entry.look = () => void looks++;
    hypervisor.timers.onSet(dom1);
    expect(looks).to.equal(1);
    hypervisor.destroyDomain(dom0, dom1);
    entry.end();
    looks = 0;
    hypervisor.timers.onSet(dom1);
    expect(looks).to.equal(0);
  });

  it('leaves the next domain of its number alone', () => {
    const { hypervisor } = machine;
    hypervisor.destroyDomain(dom0, dom1);
    addDomain(hypervisor, dom1);
    entry.attend(0);
    expect(hypervisor.vcpus.attention(slot())).to.equal(0);
  });

  it('does what was left for it first, then the steps, then one upcall for all events that came (S9)', () => {
    entry.onEntry(() => {
      trace.push('exception');
      return 0;
    });
    entry.resumeAt(0, () => trace.push('left'));
    entry.attend(0);
    raise();
    raise();
    expect(trace).to.deep.equal([]);
    expect(entry.enter()).to.equal(1);
    expect(trace).to.deep.equal(['left', 'exception', 'upcall']);
    expect(entry.isDue(0)).to.equal(false);
  });

  it('leaves events pending if a step masks upcalls', () => {
    entry.onEntry(() => {
      machine.hypervisor.sharedInfo.maskUpcalls(info());
      return 0;
    });
    raise();
    expect(entry.enter()).to.equal(0);
    expect(trace).to.deep.equal([]);
    machine.hypervisor.sharedInfo.unmaskUpcalls(info());
    expect(entry.isDue(0)).to.equal(true);
  });

  it('delivers nothing when what was left for it shuts the domain down', () => {
    entry.resumeAt(0, () => void ok(machine.hypervisor.sched.shutdown(dom1, 1)));
    entry.attend(0);
    raise();
    expect(entry.enter()).to.equal(0);
    expect(trace).to.deep.equal([]);
  });

  it('tells of what is thrown by what was left for it, and goes on', () => {
    entry.resumeAt(0, () => {
      throw new Error('of its own');
    });
    entry.attend(0);
    raise();
    expect(entry.enter()).to.equal(1);
    expect(trace).to.deep.equal(['Error: of its own', 'upcall']);
  });

  it('keeps the runstate: running from then on, blocked when it is left, offline when it may not run', () => {
    raise();
    entry.enter();
    machine.now += 40;
    expect(state()).to.equal(runstate.running);
    entry.leave();
    expect(state()).to.equal(runstate.blocked);
    entry.enter();
    ok(machine.hypervisor.sched.shutdown(dom1, 0));
    entry.leave();
    expect(state()).to.equal(runstate.offline);
    expect(machine.hypervisor.runstates.received(slot(), 0, machine.now)).to.equal(40);
  });

  it('keeps none until it is asked to where that was dispensed with', () => {
    entry.dispense();
    raise();
    expect(entry.enter()).to.equal(1);
    expect(state()).to.equal(runstate.offline);
    entry.account();
    expect(state()).to.equal(runstate.running);
    entry.leaveAll();
    expect(state()).to.equal(runstate.blocked);
  });

  it('of all vCPUs enters those that have something, each with what is left for it', () => {
    const { vcpuOps } = machine.hypervisor;
    ok(vcpuOps.initialise(dom1, 1));
    ok(vcpuOps.up(dom1, 1));
    expect(state(0)).to.equal(runstate.offline);
    entry.begin(0);
    entry.resumeAt(1, () => trace.push(`on ${entry.current}`));
    entry.attend(1);
    machine.now += 5;
    entry.enterAll();
    expect(trace).to.deep.equal(['on 1']);
    expect([state(0), state(1)]).to.deep.equal([runstate.blocked, runstate.running]);
  });

  it('knows when the first timer is due, fires it then, and says when that has changed', () => {
    let told = 0;
    entry.onDeadline = () => told++;
    ok(machine.hypervisor.timers.setSingleshot(dom1, 0, 0, machine.now + 2_500_000));
    expect([entry.deadline, entry.msLeft, told]).to.deep.equal([machine.now + 2_500_000, 2.5, 1]);
    entry.virtualTimers.set(0, 1_000_000, () => trace.push('virtual'));
    entry.look();
    expect(told).to.equal(1);
    entry.enter();
    expect([entry.msLeft, told]).to.deep.equal([1, 2]);
    machine.now += 1_000_000;
    entry.expire();
    expect(entry.isDue(0)).to.equal(true);
    entry.enter();
    expect(trace).to.deep.equal(['virtual']);
    machine.now += 1_500_000;
    entry.expire();
    expect(entry.deadline).to.equal(Number.POSITIVE_INFINITY);
  });

  it('at which a period has passed delivers that period’s VIRQ_TIMER itself (vcpu_periodic_timer_work)', () => {
    const { timers, virqs, eventChannels } = machine.hypervisor;
    const port = ok<Port>(virqs.bind(dom1, virq.timer, 0));
    ours.adopt(port).subscribe(() => trace.push('tick'));
    ok(timers.setPeriodic(dom1, 0, 1_000_000));
    entry.enter();
    entry.leave();
    expect(trace.splice(0)).to.deep.equal(['tick']);
    machine.now += 999_999;
    raise();
    entry.enter();
    entry.leave();
    machine.now += 1;
    raise();
    entry.enter();
    // The second scan begins behind the port that the first ended with.
    expect(trace).to.deep.equal(['upcall', 'tick', 'upcall']);
    ok(eventChannels.close(dom1, port));
  });

  it('of a domain that is gone does nothing', () => {
    raise();
    ok(machine.hypervisor.destroyDomain(0 as typeof dom1, dom1));
    expect(entry.enter()).to.equal(0);
    entry.leave();
    entry.expire();
    entry.look();
    expect([trace, entry.deadline]).to.deep.equal([[], Number.POSITIVE_INFINITY]);
  });
});
