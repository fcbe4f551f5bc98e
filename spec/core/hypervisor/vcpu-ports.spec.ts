import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { DOMID_SELF, type Domid, type Port } from '../../../core/abi/units.js';
import { virq } from '../../../core/abi/virq.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { mapPirqType } from '../../../core/hypervisor/pirqs.js';
import { expectSound } from './invariants.js';
import { addDomain, connect, deliverOn, dom0, dom1, dom2, machine, nobody, ok } from './machine.js';

const port = (number: number): Port => number as Port;

describe('ports and vCPUs', () => {
  let hypervisor: Hypervisor;
  let rung: Domid[];
  const calls = () => hypervisor.eventChannels;
  const status = (domid: Domid, of: number) => calls().status(domid, domid, port(of));
  const on = (domid: Domid, vcpu: number) => deliverOn(hypervisor, domid, vcpu);

  beforeEach(() => {
    ({ hypervisor, rung } = machine({ vcpus: 3 }));
  });

  describe('bind_ipi (evtchn_bind_ipi)', () => {
    it('gives the lowest free port, which its own send raises on that vCPU', () => {
      const ipi = ok<Port>(calls().bindIpi(dom1, 2));
      expect(ipi).to.equal(1);
      expect(status(dom1, ipi)).to.deep.equal({ status: 'ipi', vcpu: 2 });
      hypervisor.doorbell.rest(dom1, parked);
      expect(calls().send(dom1, ipi)).to.equal(0);
      expect(rung).to.deep.equal([dom1]);
      expect([0, 1, 2].map((vcpu) => on(dom1, vcpu))).to.deep.equal([[], [], [ipi]]);
    });

    it('gives as many as are asked for, for one vCPU too', () => {
      expect([1, 1, 0].map((vcpu) => calls().bindIpi(dom1, vcpu))).to.deep.equal([1, 2, 3]);
      expect(hypervisor.ledger(dom1).ports.ipi).to.equal(3);
    });

    it('answers ENOENT for a vCPU that is not there, before ENOSPC, and ESRCH to nobody', () => {
      addDomain(hypervisor, 9 as Domid, { maxEventChannels: 1 });
      ok(calls().bindIpi(9 as Domid, 0));
      expect(calls().bindIpi(9 as Domid, 0)).to.equal(-errno.ENOSPC);
      for (const vcpu of [1, 32, -1, 0xffffffff, 0.5])
        expect(calls().bindIpi(9 as Domid, vcpu)).to.equal(-errno.ENOENT);
      expect(calls().bindIpi(nobody, 0)).to.equal(-errno.ESRCH);
    });

    it('closes like any port, and the next of its number notifies vCPU 0', () => {
      const ipi = ok<Port>(calls().bindIpi(dom1, 2));
      expect(calls().close(dom1, ipi)).to.equal(0);
      expect(status(dom1, ipi)).to.deep.equal({ status: 'closed', vcpu: 0 });
      expect(calls().send(dom1, ipi)).to.equal(-errno.EINVAL);
      expect(calls().allocUnbound(dom1, dom1, dom2)).to.equal(ipi);
      expect(status(dom1, ipi)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: dom2 });
    });
  });

  describe('bind_vcpu (evtchn_bind_vcpu)', () => {
    it('has an unbound or interdomain port notify another vCPU, and keeps to it', () => {
      const waiting = ok<Port>(calls().allocUnbound(dom1, dom1, dom2));
      expect(calls().bindVcpu(dom1, waiting, 2)).to.equal(0);
      const theirs = ok<Port>(calls().bindInterdomain(dom2, dom1, waiting));
      expect(status(dom1, waiting)).to.deep.equal({ status: 'interdomain', vcpu: 2, dom: dom2, port: theirs });
      ok(calls().send(dom2, theirs));
      expect([0, 1, 2].map((vcpu) => on(dom1, vcpu))).to.deep.equal([[], [], [waiting]]);
      expect(calls().bindVcpu(dom1, waiting, 1)).to.equal(0);
      ok(calls().send(dom2, theirs));
      expect([0, 1, 2].map((vcpu) => on(dom1, vcpu))).to.deep.equal([[], [waiting], []]);
    });

    it('moves future events only: one that is selected stays where it is, and the guest hands it on (cpu_evtchn_mask)', () => {
      const [mine, theirs] = connect(hypervisor, dom1, dom2);
      ok(calls().send(dom2, theirs));
      expect(calls().bindVcpu(dom1, mine, 1)).to.equal(0);
      expect([0, 1].map((vcpu) => hypervisor.doorbell.hasUpcallOn(dom1, vcpu))).to.deep.equal([true, false]);
      expect(on(dom1, 1)).to.deep.equal([]);
      expect(on(dom1, 0)).to.deep.equal([]);
      expect([0, 1].map((vcpu) => hypervisor.doorbell.hasUpcallOn(dom1, vcpu))).to.deep.equal([false, true]);
      expect(on(dom1, 1)).to.deep.equal([mine]);
      expectSound(hypervisor, 'after a move');
    });

    it('keeps each vCPU’s events from the others, though they share a word of ports', () => {
      const ipis = [0, 1, 2].map((vcpu) => ok<Port>(calls().bindIpi(dom1, vcpu)));
      for (const ipi of ipis) ok(calls().send(dom1, ipi));
      expect([2, 0, 1].map((vcpu) => on(dom1, vcpu))).to.deep.equal([[ipis[2]], [ipis[0]], [ipis[1]]]);
    });

    it('selects an event that came while the port was masked where it notifies when it is unmasked', () => {
      const [mine, theirs] = connect(hypervisor, dom1, dom2);
      calls().mask(dom1, mine);
      ok(calls().send(dom2, theirs));
      ok(calls().bindVcpu(dom1, mine, 2));
      ok(calls().unmask(dom1, mine));
      expect([0, 1, 2].map((vcpu) => on(dom1, vcpu))).to.deep.equal([[], [], [mine]]);
    });

    it('moves a global or per-domain VIRQ, whose raise follows it, and it is still bound once', () => {
      const global = ok<Port>(hypervisor.virqs.bind(dom0, virq.console, 0));
      const domain = ok<Port>(hypervisor.virqs.bind(dom1, virq.argo, 0));
      expect(calls().bindVcpu(dom0, global, 0)).to.equal(0);
      expect(calls().bindVcpu(dom1, domain, 2)).to.equal(0);
      hypervisor.virqs.raise(hypervisor.memory.slotOf(dom1), 0, virq.argo);
      expect([0, 1, 2].map((vcpu) => on(dom1, vcpu))).to.deep.equal([[], [], [domain]]);
      expect(hypervisor.virqs.bind(dom1, virq.argo, 0)).to.equal(-errno.EEXIST);
      expectSound(hypervisor, 'moved');
      ok(calls().close(dom1, domain));
      expect(hypervisor.virqs.bind(dom1, virq.argo, 0)).to.equal(domain);
      expect(status(dom1, domain)).to.deep.equal({ status: 'virq', vcpu: 0, virq: virq.argo });
    });

    it('moves a PIRQ', () => {
      ok(hypervisor.pirqs.map(dom0, dom1, mapPirqType.gsi, 20, 20));
      const bound = ok<Port>(hypervisor.pirqs.bind(dom1, 20, 0));
      expect(calls().bindVcpu(dom1, bound, 1)).to.equal(0);
      hypervisor.pirqs.setLine(20, true);
      expect([0, 1].map((vcpu) => on(dom1, vcpu))).to.deep.equal([[], [bound]]);
    });

    it('answers ENOENT for a vCPU that is not there, before it looks at the port', () => {
      for (const vcpu of [3, 32, -1, 0.5]) expect(calls().bindVcpu(dom1, port(4096), vcpu)).to.equal(-errno.ENOENT);
    });

    it('answers EINVAL for an IPI, a per-vCPU VIRQ, a port that is free or reserved, or out of range, and moves nothing', () => {
      const ipi = ok<Port>(calls().bindIpi(dom1, 1));
      const timer = ok<Port>(hypervisor.virqs.bind(dom1, virq.timer, 1));
      for (const bad of [ipi, timer, 0, 9, 64, 4096, 0xffffffff]) {
        expect(calls().bindVcpu(dom1, port(bad), 2), `port ${bad}`).to.equal(-errno.EINVAL);
      }
      expect([ipi, timer].map((of) => status(dom1, of))).to.deep.equal([
        { status: 'ipi', vcpu: 1 },
        { status: 'virq', vcpu: 1, virq: virq.timer },
      ]);
      expect(calls().bindVcpu(nobody, port(1), 0)).to.equal(-errno.ESRCH);
    });
  });

  it('lose no event when a port moves while it is raised', () => {
    const [mine, theirs] = connect(hypervisor, dom1, dom2);
    for (let round = 0; round < 30; round++) {
      ok(calls().bindVcpu(dom1, mine, round % 3));
      ok(calls().send(dom2, theirs));
      expect([0, 1, 2].flatMap((vcpu) => on(dom1, vcpu))).to.deep.equal([mine]);
    }
  });

  describe('the operations of the FIFO ABI, in a Xen that is built without it', () => {
    it('init_control answers EOPNOTSUPP', () => {
      expect(calls().initControl(dom1)).to.equal(-errno.EOPNOTSUPP);
      expect(calls().initControl(nobody)).to.equal(-errno.ESRCH);
    });

    it('expand_array answers EOPNOTSUPP', () => {
      expect(calls().expandArray(dom1)).to.equal(-errno.EOPNOTSUPP);
      expect(calls().expandArray(nobody)).to.equal(-errno.ESRCH);
    });

    it('set_priority answers EINVAL for a port out of range, else ENOSYS', () => {
      expect(calls().setPriority(dom1, port(64))).to.equal(-errno.EINVAL);
      for (const of of [0, 1, 63]) expect(calls().setPriority(dom1, port(of))).to.equal(-errno.ENOSYS);
      expect(calls().setPriority(nobody, port(1))).to.equal(-errno.ESRCH);
    });

    it('leave the 2-level ABI at work (XSA-188, XSA-107)', () => {
      const [mine, theirs] = connect(hypervisor, dom1, dom2);
      for (const call of ['initControl', 'expandArray'] as const) calls()[call](dom1);
      calls().setPriority(dom1, mine);
      ok(calls().send(dom2, theirs));
      expect(on(dom1, 0)).to.deep.equal([mine]);
    });
  });

  describe('ports that Xen has in a domain’s table (alloc_unbound_xen_event_channel)', () => {
    let xens: Port;
    let theirs: Port;

    beforeEach(() => {
      xens = ok<Port>(hypervisor.xenChannels.allocUnbound(dom1, 1, dom0));
      theirs = ok<Port>(calls().bindInterdomain(dom0, dom1, xens));
      on(dom0, 0);
    });

    it('are bound by the one that they wait for, and status tells', () => {
      expect(status(dom1, xens)).to.deep.equal({ status: 'interdomain', vcpu: 1, dom: dom0, port: theirs });
      expect(status(dom0, theirs)).to.deep.equal({ status: 'interdomain', vcpu: 0, dom: dom1, port: xens });
      expectSound(hypervisor, 'bound to Xen');
    });

    it('are Xen’s alone: their domain may neither send, nor close, nor move them, bound or not: EINVAL', () => {
      const waiting = ok<Port>(hypervisor.xenChannels.allocUnbound(dom1, 0, dom0));
      for (const of of [xens, waiting]) {
        expect(calls().send(dom1, of)).to.equal(-errno.EINVAL);
        expect(calls().close(dom1, of)).to.equal(-errno.EINVAL);
        expect(calls().bindVcpu(dom1, of, 2)).to.equal(-errno.EINVAL);
      }
      expect(status(dom1, waiting)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: dom0 });
    });

    it('are no ports that their domain may use: it polls none (EINVAL), and unmasks none, though that succeeds (evtchn_usable)', () => {
      expect(hypervisor.sched.poll(dom1, 0, [xens], 0)).to.equal(-errno.EINVAL);
      calls().mask(dom1, xens);
      expect(calls().unmask(dom1, xens)).to.equal(0);
      const { sharedInfo, memory } = hypervisor;
      expect(sharedInfo.isMasked(sharedInfo.at(memory.slotOf(dom1)), false, xens)).to.equal(true);
    });

    it('raise the other end’s event', () => {
      expect(hypervisor.xenChannels.notify(dom1, xens)).to.equal(0);
      expect(on(dom0, 0)).to.deep.equal([theirs]);
      expect(hypervisor.xenChannels.notify(dom1, port(9))).to.equal(-errno.EINVAL);
      expect(hypervisor.xenChannels.notify(nobody, xens)).to.equal(-errno.ESRCH);
    });

    it('wake who waits in Xen, and leave no event pending in the domain', () => {
      hypervisor.doorbell.rest(dom1, parked);
      expect(calls().send(dom0, theirs)).to.equal(0);
      expect(rung).to.deep.equal([dom1]);
      expect([0, 1, 2].flatMap((vcpu) => on(dom1, vcpu))).to.deep.equal([]);
      expect(hypervisor.sharedInfo.isPending(hypervisor.sharedInfo.at(hypervisor.memory.slotOf(dom1)), xens)).to.equal(
        false,
      );
    });

    it('wait for the other end again when that closes, and are Xen’s still', () => {
      expect(calls().close(dom0, theirs)).to.equal(0);
      expect(status(dom1, xens)).to.deep.equal({ status: 'unbound', vcpu: 1, dom: dom0 });
      expect(calls().close(dom1, xens)).to.equal(-errno.EINVAL);
      expect(hypervisor.xenChannels.notify(dom1, xens)).to.equal(0);
      expect(calls().bindInterdomain(dom0, dom1, xens)).to.equal(theirs);
      expect(calls().send(dom0, theirs)).to.equal(0);
      expect(calls().send(dom1, xens)).to.equal(-errno.EINVAL);
    });

    it('are closed by Xen (free_xen_event_channel), and their peer then waits for the domain', () => {
      expect(hypervisor.xenChannels.free(dom1, xens)).to.equal(0);
      expect(status(dom0, theirs)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: dom1 });
      expect(calls().send(dom0, theirs)).to.equal(0);
      expect(hypervisor.xenChannels.free(dom1, xens)).to.equal(-errno.EINVAL);
      const [guests] = connect(hypervisor, dom1, dom2);
      expect(hypervisor.xenChannels.free(dom1, guests)).to.equal(-errno.EINVAL);
      expect(hypervisor.xenChannels.free(nobody, xens)).to.equal(-errno.ESRCH);
    });

    it('cannot be had without a domain, a vCPU or a port: ESRCH, ENOENT, ENOSPC', () => {
      addDomain(hypervisor, 9 as Domid, { maxEventChannels: 1 });
      ok(calls().bindIpi(9 as Domid, 0));
      expect(hypervisor.xenChannels.allocUnbound(nobody, 0, dom0)).to.equal(-errno.ESRCH);
      expect(hypervisor.xenChannels.allocUnbound(dom1, 3, dom0)).to.equal(-errno.ENOENT);
      expect(hypervisor.xenChannels.allocUnbound(9 as Domid, 0, dom0)).to.equal(-errno.ENOSPC);
    });

    it('outlive a reset of their domain, and end with it', () => {
      expect(calls().reset(dom1, DOMID_SELF)).to.equal(0);
      expect(status(dom1, xens)).to.deep.equal({ status: 'interdomain', vcpu: 1, dom: dom0, port: theirs });
      ok(hypervisor.destroyDomain(dom0, dom1));
      expect(status(dom0, theirs)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: dom1 });
      expectSound(hypervisor, 'without the domain');
    });
  });
});
