import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import type { Port } from '../../../core/abi/units.js';
import { virq } from '../../../core/abi/virq.js';
import { type RunstateNumber, runstate } from '../../../core/hypervisor/runstate.js';
import { dom1, nobody, ok } from './machine.js';
import { type TimedMachine, timedMachine } from './timed.js';

const MS = 1_000_000;

describe('the timers of a vCPU', () => {
  let machine: TimedMachine;
  let slot: number;
  let ports: readonly Port[];

  const timers = () => machine.hypervisor.timers;
  /** Whether VIRQ_TIMER has come on a vCPU since the last look. */
  const fired = (vcpu = 0): boolean => {
    const got: Port[] = [];
    machine.hypervisor.upcalls.scan(dom1, (port) => got.push(port), undefined, vcpu);
    return got.includes(ports[vcpu] as Port);
  };
  const pass = (ns: number): void => {
    machine.now += ns;
    timers().expire(slot, machine.now);
  };
  const state = (now: RunstateNumber, vcpu = 0): void =>
    machine.hypervisor.runstates.change(slot, vcpu, now, machine.now);

  beforeEach(() => {
    machine = timedMachine({ vcpus: 2 });
    slot = machine.hypervisor.memory.slotOf(dom1);
    ports = [0, 1].map((vcpu) => ok<Port>(machine.hypervisor.virqs.bind(dom1, virq.timer, vcpu)));
  });

  describe('single-shot (VCPUOP_set_singleshot_timer)', () => {
    it('raises VIRQ_TIMER at its absolute time, once', () => {
      ok(timers().setSingleshot(dom1, 0, 0, machine.now + 10));
      expect(timers().next(slot)).to.equal(machine.now + 10);
      pass(9);
      expect(fired()).to.equal(false);
      pass(1);
      expect(fired()).to.equal(true);
      expect(timers().next(slot)).to.equal(Number.POSITIVE_INFINITY);
      pass(100);
      expect(fired()).to.equal(false);
    });

    it('raises it at once for a time that has passed, and returns 0: VCPU_SSHOTTMR_future is ignored', () => {
      expect(timers().setSingleshot(dom1, 0, 0, machine.now - 1)).to.equal(0);
      expect(fired()).to.equal(true);
      expect(timers().setSingleshot(dom1, 0, 0, 0)).to.equal(0);
      expect(fired()).to.equal(true);
    });

    it('raises it at once for 0 at the machine’s boot, too: 0 is a time here, and stops nothing', () => {
      machine.now = 0;
      expect(timers().setSingleshot(dom1, 0, 0, 0)).to.equal(0);
      expect(fired()).to.equal(true);
    });

    it('that has passed stops what was set before', () => {
      ok(timers().setSingleshot(dom1, 0, 0, machine.now + 10));
      ok(timers().setSingleshot(dom1, 0, 0, machine.now - 1));
      expect(fired()).to.equal(true);
      pass(20);
      expect(fired()).to.equal(false);
    });

    it('is in the place of the one that was set before, and is stopped', () => {
      ok(timers().setSingleshot(dom1, 0, 0, machine.now + 10));
      ok(timers().setSingleshot(dom1, 0, 0, machine.now + 30));
      pass(20);
      expect(fired()).to.equal(false);
      ok(timers().stopSingleshot(dom1, 0, 0));
      pass(20);
      expect(fired()).to.equal(false);
    });

    it('is set and stopped by its own vCPU alone: EINVAL for another', () => {
      expect(timers().setSingleshot(dom1, 0, 1, machine.now + 1)).to.equal(-errno.EINVAL);
      expect(timers().stopSingleshot(dom1, 1, 0)).to.equal(-errno.EINVAL);
      expect(timers().next(slot)).to.equal(Number.POSITIVE_INFINITY);
      ok(timers().setSingleshot(dom1, 1, 1, machine.now + 1));
      pass(1);
      expect([fired(0), fired(1)]).to.deep.equal([false, true]);
    });

    it('is not set for a vCPU or a domain that is not there: ENOENT, ESRCH', () => {
      expect(timers().setSingleshot(dom1, 2, 2, 1)).to.equal(-errno.ENOENT);
      expect(timers().setSingleshot(nobody, 0, 0, 1)).to.equal(-errno.ESRCH);
    });

    it('coalesces with what was not yet delivered, like any event', () => {
      ok(timers().setSingleshot(dom1, 0, 0, machine.now + 1));
      pass(1);
      ok(timers().setSingleshot(dom1, 0, 0, machine.now + 1));
      pass(1);
      expect(fired()).to.equal(true);
      expect(fired()).to.equal(false);
    });

    it('that nobody bound VIRQ_TIMER for is discarded', () => {
      ok(machine.hypervisor.eventChannels.close(dom1, ports[0] as Port));
      ok(timers().setSingleshot(dom1, 0, 0, machine.now + 1));
      pass(1);
      expect(machine.hypervisor.virqs.bind(dom1, virq.timer, 0)).to.equal(ports[0]);
      expect(fired()).to.equal(false);
    });

    it('refuses what is no time: RangeError', () => {
      for (const time of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        expect(() => timers().setSingleshot(dom1, 0, 0, time)).to.throw(RangeError, 'timeout_abs_ns');
      }
    });
  });

  describe('periodic (VCPUOP_set_periodic_timer)', () => {
    beforeEach(() => {
      // As if it had fired just now: else setting it raises one at once.
      state(runstate.running);
      ok(timers().setPeriodic(dom1, 0, MS));
      expect(fired()).to.equal(true);
    });

    it('fires when it is set if its period has passed since it last did, or since boot (vcpu_set_periodic_timer)', () => {
      pass(MS / 2);
      ok(timers().setPeriodic(dom1, 0, 2 * MS));
      expect(fired()).to.equal(false);
      pass(MS / 2);
      ok(timers().setPeriodic(dom1, 0, MS));
      expect(fired()).to.equal(true);
    });

    it('fires each period while the vCPU runs', () => {
      for (let i = 0; i < 3; i++) {
        pass(MS - 1);
        expect(fired()).to.equal(false);
        pass(1);
        expect(fired()).to.equal(true);
      }
    });

    it('stands still while the vCPU is switched out, blocked or runnable', () => {
      for (const out of [runstate.runnable, runstate.blocked, runstate.offline]) {
        state(out);
        expect(timers().next(slot)).to.equal(Number.POSITIVE_INFINITY);
        pass(10 * MS);
        expect(fired()).to.equal(false);
      }
    });

    it('fires once at switch-in if its period has passed, and begins a new one then', () => {
      state(runstate.blocked);
      machine.now += 10 * MS + 3;
      state(runstate.running);
      timers().switchedIn(slot, 0, machine.now);
      expect(fired()).to.equal(true);
      expect(timers().next(slot)).to.equal(machine.now + MS);
    });

    it('does not fire at switch-in before its period has passed', () => {
      state(runstate.blocked);
      machine.now += MS - 1;
      state(runstate.running);
      timers().switchedIn(slot, 0, machine.now);
      expect(fired()).to.equal(false);
      expect(timers().next(slot)).to.equal(machine.now + 1);
    });

    it('stops (VCPUOP_stop_periodic_timer)', () => {
      ok(timers().stopPeriodic(dom1, 0));
      pass(10 * MS);
      expect(fired()).to.equal(false);
    });

    it('has a period of 1 ms at least, and less than 2^62 ns (STIME_DELTA_MAX): EINVAL, and the old one stays', () => {
      for (const period of [0, MS - 1, 2 ** 62, 2 ** 62 + 1024]) {
        expect(timers().setPeriodic(dom1, 0, period)).to.equal(-errno.EINVAL);
      }
      expect(timers().next(slot)).to.equal(machine.now + MS);
      expect(timers().setPeriodic(dom1, 0, 2 ** 62 - 512)).to.equal(0);
      expect(timers().setPeriodic(dom1, 5, MS)).to.equal(-errno.ENOENT);
    });

    it('may be set by one vCPU for another', () => {
      state(runstate.running, 1);
      expect(timers().setPeriodic(dom1, 1, MS)).to.equal(0);
      expect([fired(0), fired(1)]).to.deep.equal([false, true]);
    });
  });

  describe('HYPERVISOR_set_timer_op', () => {
    it('sets the single-shot timer, and stops it for 0', () => {
      ok(timers().setTimerOp(dom1, 1, machine.now + 5));
      expect(timers().next(slot)).to.equal(machine.now + 5);
      ok(timers().setTimerOp(dom1, 1, 0));
      expect(timers().next(slot)).to.equal(Number.POSITIVE_INFINITY);
    });

    it('takes a time below 0, or 2^50 ns ahead and more, for 100 ms from now', () => {
      for (const time of [-1, -(2 ** 62), machine.now + 2 ** 50, 2 ** 62]) {
        ok(timers().setTimerOp(dom1, 0, time));
        expect(timers().next(slot)).to.equal(machine.now + 100 * MS);
      }
      ok(timers().setTimerOp(dom1, 0, machine.now + 2 ** 50 - 1));
      expect(timers().next(slot)).to.equal(machine.now + 2 ** 50 - 1);
    });

    it('fires as soon as time goes on for a time that has passed', () => {
      ok(timers().setTimerOp(dom1, 0, machine.now - 1));
      pass(0);
      expect(fired()).to.equal(true);
    });
  });

  it('tell who keeps the time that a deadline may have changed', () => {
    let told = 0;
    timers().listen(dom1, () => told++);
    ok(timers().setSingleshot(dom1, 0, 0, machine.now + 1));
    ok(timers().stopSingleshot(dom1, 0, 0));
    ok(timers().setTimerOp(dom1, 0, 0));
    expect(told).to.equal(3);
  });
});
