import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import type { Domid, Port } from '../../../core/abi/units.js';
import { virq } from '../../../core/abi/virq.js';
import { shutdownReason } from '../../../core/hypervisor/sched.js';
import { connect, dom0, dom1, dom2, nobody, ok } from './machine.js';
import { type TimedMachine, timedMachine } from './timed.js';

const SECOND = 1_000_000_000;

describe('the scheduling operations', () => {
  let machine: TimedMachine;
  let slot: number;
  const xen = () => machine.hypervisor;
  const sched = () => machine.hypervisor.sched;
  const isBlocked = (vcpu = 0): boolean => xen().vcpus.isBlocked(slot, vcpu);
  const isDue = (vcpu = 0): boolean => xen().doorbell.hasUpcallOn(dom1, vcpu);
  const info = (vcpu = 0): number => xen().sharedInfo.infoOf(slot, vcpu);
  /** A channel from domain 2 to domain 1: how to raise its event, and domain 1's port. */
  const line = (): readonly [() => void, Port] => {
    const [theirs, ours] = connect(xen(), dom2, dom1);
    return [() => void ok(xen().eventChannels.send(dom2, theirs)), ours];
  };

  beforeEach(() => {
    machine = timedMachine({ vcpus: 2 });
    slot = xen().memory.slotOf(dom1);
    ok(xen().vcpuOps.initialise(dom1, 1));
    ok(xen().vcpuOps.up(dom1, 1));
    xen().vcpus.takeAttention(slot, 1);
  });

  describe('SCHEDOP_block', () => {
    it('clears evtchn_upcall_mask and blocks, if nothing is pending', () => {
      xen().sharedInfo.maskUpcalls(info());
      expect(sched().block(dom1, 0)).to.equal(0);
      expect(xen().sharedInfo.masksUpcalls(info())).to.equal(false);
      expect(isBlocked()).to.equal(true);
    });

    it('does not block while an upcall is pending, be it masked until then: no event is slept over', () => {
      const [raise] = line();
      xen().sharedInfo.maskUpcalls(info());
      raise();
      expect(sched().block(dom1, 0)).to.equal(0);
      expect(isBlocked()).to.equal(false);
      expect(isDue()).to.equal(true);
    });

    it('blocks its own vCPU, and ends when that is entered', () => {
      ok(sched().block(dom1, 1));
      expect([isBlocked(0), isBlocked(1)]).to.deep.equal([false, true]);
      expect(sched().unblock(slot, 0)).to.equal(false);
      expect(sched().unblock(slot, 1)).to.equal(true);
      expect(isBlocked(1)).to.equal(false);
    });
  });

  describe('SCHEDOP_yield', () => {
    it('has the vCPU entered again, though nothing is pending', () => {
      expect(isDue()).to.equal(false);
      expect(sched().yield(dom1, 0)).to.equal(0);
      expect(isDue()).to.equal(true);
    });
  });

  describe('SCHEDOP_poll', () => {
    it('refuses more than 128 ports: EINVAL', () => {
      const [, port] = line();
      expect(sched().poll(dom1, 0, Array(129).fill(port), 0)).to.equal(-errno.EINVAL);
      expect(sched().poll(dom1, 0, Array(128).fill(port), 0)).to.equal(0);
      expect(isBlocked()).to.equal(true);
    });

    it('refuses a port that is free, that has no entry, and port 0: EINVAL, without blocking (XSA-221)', () => {
      for (const port of [0, 5, 1000, 4096, 2 ** 32 - 1]) {
        expect(sched().poll(dom1, 0, [port], 0)).to.equal(-errno.EINVAL);
        expect(isBlocked()).to.equal(false);
      }
    });

    it('refuses a list that cannot be read: EFAULT, without blocking', () => {
      for (const entry of [undefined, 'x', -1, 1.5]) {
        expect(sched().poll(dom1, 0, [entry as number], 0)).to.equal(-errno.EFAULT);
        expect(isBlocked()).to.equal(false);
      }
    });

    it('returns at once if a listed port is pending, a masked one too, before it looks at those behind it', () => {
      const [raise, port] = line();
      xen().eventChannels.mask(dom1, port);
      raise();
      expect(sched().poll(dom1, 0, [port, 999], 0)).to.equal(0);
      expect(isBlocked()).to.equal(false);
    });

    it('never clears PENDING', () => {
      const [raise, port] = line();
      xen().eventChannels.mask(dom1, port);
      raise();
      ok(sched().poll(dom1, 0, [port], 0));
      ok(sched().poll(dom1, 0, [port], 0));
      expect(xen().sharedInfo.isPending(xen().sharedInfo.at(slot), port)).to.equal(true);
    });

    it('returns at once if an upcall could be delivered, before it looks at any port', () => {
      const [raise] = line();
      raise();
      expect(sched().poll(dom1, 0, [999], 0)).to.equal(0);
      expect(isBlocked()).to.equal(false);
      xen().sharedInfo.maskUpcalls(info());
      expect(sched().poll(dom1, 0, [999], 0)).to.equal(-errno.EINVAL);
    });

    it('of one port is ended by that port, masked, and by no other', () => {
      const [raise, port] = line();
      const [raiseOther, other] = line();
      for (const each of [port, other]) xen().eventChannels.mask(dom1, each);
      ok(sched().poll(dom1, 0, [port], 0));
      raiseOther();
      expect(isDue()).to.equal(false);
      expect(isBlocked()).to.equal(true);
      raise();
      expect(isDue()).to.equal(true);
    });

    for (const count of [0, 2]) {
      it(`of ${count} ports is ended by any event of the domain, for nothing`, () => {
        const [raise, port] = line();
        const ports = [line()[1], line()[1]].slice(0, count);
        xen().eventChannels.mask(dom1, port);
        ok(sched().poll(dom1, 0, ports, 0));
        raise();
        expect(isDue()).to.equal(true);
      });
    }

    it('is ended by an upcall on its vCPU, be that masked (vcpu_kick)', () => {
      const [raise] = line();
      const [, port] = line();
      xen().sharedInfo.maskUpcalls(info());
      ok(sched().poll(dom1, 0, [port], 0));
      raise();
      expect(isDue()).to.equal(true);
    });

    it('is ended by nothing that was pending already: an event that is raised again wakes nobody', () => {
      const [raise, port] = line();
      xen().eventChannels.mask(dom1, port);
      raise();
      ok(sched().poll(dom1, 0, [], 0));
      raise();
      expect(isDue()).to.equal(false);
    });

    it('ends at its absolute time, and rings for a domain that is put by', () => {
      const [, port] = line();
      ok(sched().poll(dom1, 1, [port], machine.now + 10));
      xen().doorbell.rest(dom1, 2);
      machine.rung.length = 0;
      expect(xen().timers.next(slot)).to.equal(machine.now + 10);
      machine.now += 10;
      xen().timers.expire(slot, machine.now);
      expect([isDue(0), isDue(1)]).to.deep.equal([false, true]);
      expect(machine.rung).to.deep.equal([dom1]);
      expect(xen().timers.next(slot)).to.equal(Number.POSITIVE_INFINITY);
    });

    it('that has ended otherwise is not ended by its time any more', () => {
      const [raise, port] = line();
      ok(sched().poll(dom1, 0, [port], machine.now + 10));
      raise();
      sched().unblock(slot, 0);
      expect(xen().timers.next(slot)).to.equal(Number.POSITIVE_INFINITY);
    });

    it('wakes each vCPU that polls the port, and none of another domain', () => {
      const [raise, port] = line();
      xen().eventChannels.mask(dom1, port);
      for (const vcpu of [0, 1]) ok(sched().poll(dom1, vcpu, [port], 0));
      ok(sched().poll(dom2, 0, [], 0));
      raise();
      expect([isDue(0), isDue(1)]).to.deep.equal([true, true]);
      expect(xen().doorbell.hasUpcallOn(dom2, 0)).to.equal(false);
    });

    it('is ended when somebody dies, who may have been about to end it', () => {
      const [, port] = line();
      xen().eventChannels.mask(dom1, port);
      ok(sched().poll(dom1, 1, [port], 0));
      xen().recover(dom0, dom2);
      expect([isDue(0), isDue(1)]).to.deep.equal([false, true]);
    });

    it('leaves alone who does not poll any more', () => {
      const [raise, port] = line();
      xen().eventChannels.mask(dom1, port);
      ok(sched().poll(dom1, 0, [port], 0));
      sched().unblock(slot, 0);
      raise();
      expect(isDue()).to.equal(false);
    });
  });

  describe('SCHEDOP_shutdown', () => {
    for (const [name, code] of Object.entries(shutdownReason)) {
      it(`as ${name} has code ${code}, keeps all vCPUs from running, and tells who owns VIRQ_DOM_EXC`, () => {
        const told: [Domid, number][] = [];
        sched().onShutdown = (...args) => told.push(args);
        const port = ok(xen().virqs.bind(dom0, virq.domExc, 0));
        const [raise] = line();
        raise();
        expect(sched().shutdownOf(dom1)).to.equal(undefined);
        expect(sched().shutdown(dom1, code)).to.equal(0);
        expect(sched().shutdownOf(dom1)).to.equal(code);
        expect(told).to.deep.equal([[dom1, code]]);
        expect(isDue()).to.equal(false);
        expect(xen().doorbell.hasUpcall(dom1)).to.equal(false);
        expect(xen().sharedInfo.isPending(xen().sharedInfo.at(xen().memory.slotOf(dom0)), port)).to.equal(true);
      });
    }

    it('keeps the code that was set first: by SCHEDOP_shutdown_code, or by a shutdown before', () => {
      expect(sched().shutdownCode(dom1, shutdownReason.crash)).to.equal(0);
      expect(sched().shutdownOf(dom1)).to.equal(undefined);
      expect(sched().shutdownCode(dom1, shutdownReason.reboot)).to.equal(0);
      ok(sched().shutdown(dom1, shutdownReason.poweroff));
      expect(sched().shutdownOf(dom1)).to.equal(shutdownReason.crash);
      let told = 0;
      sched().onShutdown = () => told++;
      ok(sched().shutdown(dom1, shutdownReason.poweroff));
      expect([sched().shutdownOf(dom1), told]).to.deep.equal([shutdownReason.crash, 0]);
    });

    it('counts 8 bits of its reason', () => {
      ok(sched().shutdown(dom1, 0x1ff));
      expect(sched().shutdownOf(dom1)).to.equal(0xff);
    });

    it('from afar needs privilege (SCHEDOP_remote_shutdown): ESRCH, EPERM', () => {
      expect(sched().remoteShutdown(dom0, nobody, 0)).to.equal(-errno.ESRCH);
      expect(sched().remoteShutdown(dom2, dom1, 0)).to.equal(-errno.EPERM);
      expect(sched().shutdownOf(dom1)).to.equal(undefined);
      expect(sched().remoteShutdown(dom0, dom1, shutdownReason.reboot)).to.equal(0);
      expect(sched().shutdownOf(dom1)).to.equal(shutdownReason.reboot);
    });

    it('is taken back by XEN_DOMCTL_resumedomain: ports, and what is pending, are as they were', () => {
      const [raise, port] = line();
      const before = xen().eventChannels.status(dom1, dom1, port);
      ok(sched().shutdown(dom1, shutdownReason.suspend));
      raise();
      expect(isDue()).to.equal(false);
      expect(sched().resume(dom0, dom1)).to.equal(0);
      expect(sched().shutdownOf(dom1)).to.equal(undefined);
      expect([isDue(0), isDue(1)]).to.deep.equal([true, true]);
      expect(xen().eventChannels.status(dom1, dom1, port)).to.deep.equal(before);
      expect(sched().shutdown(dom1, shutdownReason.reboot)).to.equal(0);
      expect(sched().shutdownOf(dom1)).to.equal(shutdownReason.reboot);
    });

    it('is taken back by the privileged alone, and not by oneself: EPERM, EINVAL, ESRCH', () => {
      ok(sched().shutdown(dom1, shutdownReason.suspend));
      expect(sched().resume(dom2, dom1)).to.equal(-errno.EPERM);
      expect(sched().resume(dom0, dom0)).to.equal(-errno.EINVAL);
      expect(sched().resume(dom0, nobody)).to.equal(-errno.ESRCH);
      expect(sched().shutdownOf(dom1)).to.equal(shutdownReason.suspend);
    });
  });

  describe('SCHEDOP_watchdog', () => {
    const pass = (seconds: number): void => {
      machine.now += seconds * SECOND;
      sched().expireWatchdogs(dom0, dom1);
    };

    it('shuts the domain down as watchdog when its time has come, and not before', () => {
      expect(sched().watchdog(dom1, 0, 10)).to.equal(1);
      expect(sched().nextWatchdog(dom1)).to.equal(machine.now + 10 * SECOND);
      pass(9);
      expect(sched().shutdownOf(dom1)).to.equal(undefined);
      pass(1);
      expect(sched().shutdownOf(dom1)).to.equal(shutdownReason.watchdog);
      expect(sched().nextWatchdog(dom1)).to.equal(Number.POSITIVE_INFINITY);
    });

    it('is set anew by its id, and stopped by a timeout of 0, when its id is free again', () => {
      ok(sched().watchdog(dom1, 0, 10));
      machine.now += 5 * SECOND;
      expect(sched().watchdog(dom1, 1, 10)).to.equal(0);
      pass(6);
      expect(sched().shutdownOf(dom1)).to.equal(undefined);
      expect(sched().watchdog(dom1, 1, 0)).to.equal(0);
      pass(100);
      expect(sched().shutdownOf(dom1)).to.equal(undefined);
      expect(sched().watchdog(dom1, 1, 5)).to.equal(-errno.EINVAL);
      expect(sched().watchdog(dom1, 0, 5)).to.equal(1);
    });

    it('are two: ENOSPC for a third, EINVAL for an id above 2 or one that is not in use', () => {
      expect(sched().watchdog(dom1, 2, 5)).to.equal(-errno.EINVAL);
      expect([0, 0, 0].map(() => sched().watchdog(dom1, 0, 5))).to.deep.equal([1, 2, -errno.ENOSPC]);
      expect(sched().watchdog(dom1, 3, 5)).to.equal(-errno.EINVAL);
    });

    it('a new one of 0 s fires at once, as Xen’s timer does', () => {
      expect(sched().watchdog(dom1, 0, 0)).to.equal(1);
      pass(0);
      expect(sched().shutdownOf(dom1)).to.equal(shutdownReason.watchdog);
    });
  });

  describe('XEN_DOMCTL_pausedomain', () => {
    it('keeps what comes for later: one upcall when the domain goes on, and no wake-up until then', () => {
      const [raise] = line();
      xen().doorbell.rest(dom1, 2);
      machine.rung.length = 0;
      ok(sched().pause(dom0, dom1));
      xen().doorbell.rest(dom1, 2);
      raise();
      raise();
      expect(xen().doorbell.hasUpcall(dom1)).to.equal(false);
      expect(xen().doorbell.rest(dom1, 2)).to.equal(true);
      machine.rung.length = 0;
      ok(sched().unpause(dom0, dom1));
      expect(machine.rung).to.deep.equal([dom1]);
      expect(isDue()).to.equal(true);
    });

    it('counts, up to 255: EOVERFLOW; EINVAL for an unpause too many', () => {
      for (let i = 0; i < 255; i++) ok(sched().pause(dom0, dom1));
      expect(sched().pause(dom0, dom1)).to.equal(-errno.EOVERFLOW);
      for (let i = 0; i < 254; i++) ok(sched().unpause(dom0, dom1));
      expect(xen().vcpus.mayRun(slot, 0)).to.equal(false);
      ok(sched().unpause(dom0, dom1));
      expect(xen().vcpus.mayRun(slot, 0)).to.equal(true);
      expect(sched().unpause(dom0, dom1)).to.equal(-errno.EINVAL);
    });

    it('is for the privileged, and not for oneself: EPERM, EINVAL, ESRCH', () => {
      for (const call of [sched().pause, sched().unpause]) {
        expect(call.call(sched(), dom2, dom1)).to.equal(-errno.EPERM);
        expect(call.call(sched(), dom0, dom0)).to.equal(-errno.EINVAL);
        expect(call.call(sched(), dom0, nobody)).to.equal(-errno.ESRCH);
      }
    });
  });

  it('answer ENOENT for a vCPU that is not there, ESRCH for a domain that is gone', () => {
    for (const call of [
      (domid: Domid, vcpu: number) => sched().block(domid, vcpu),
      (domid: Domid, vcpu: number) => sched().yield(domid, vcpu),
      (domid: Domid, vcpu: number) => sched().poll(domid, vcpu, [], 0),
    ]) {
      expect(call(dom1, 2)).to.equal(-errno.ENOENT);
      expect(call(nobody, 0)).to.equal(-errno.ESRCH);
    }
    expect(sched().shutdown(nobody, 0)).to.equal(-errno.ESRCH);
    expect(sched().shutdownCode(nobody, 0)).to.equal(-errno.ESRCH);
    expect(sched().watchdog(nobody, 0, 1)).to.equal(-errno.ESRCH);
  });
});
