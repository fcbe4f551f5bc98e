import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { DOMID_SELF, type Domid, type Port } from '../../../core/abi/units.js';
import { NR_VIRQS, virq, virqClass, virqName } from '../../../core/abi/virq.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { expectSound } from './invariants.js';
import { addDomain, deliver, dom0, dom1, dom2, dom3, machine, nobody, ok } from './machine.js';

const port = (number: number): Port => number as Port;
/** A domain with a single vCPU. */
const dom9 = 9 as Domid;

describe('virtual interrupts', () => {
  let hypervisor: Hypervisor;
  let rung: Domid[];
  const virqs = () => hypervisor.virqs;
  const slotOf = (domid: Domid): number => hypervisor.memory.slotOf(domid);
  const status = (domid: Domid, of: number) => hypervisor.eventChannels.status(domid, domid, port(of));
  const on = (domid: Domid, vcpu: number): readonly Port[] => {
    const ports: Port[] = [];
    hypervisor.upcalls.scan(domid, (of) => ports.push(of), undefined, vcpu);
    return ports;
  };

  beforeEach(() => {
    ({ hypervisor, rung } = machine({ vcpus: 3 }));
    addDomain(hypervisor, dom9);
  });

  it('are V, D or G as xen.h and get_virq_type have them', () => {
    const classes = Array.from({ length: NR_VIRQS }, (_, number) => virqClass(number));
    expect(classes.flatMap((kind, number) => (kind === 'vcpu' ? [number] : []))).to.deep.equal([0, 1, 7, 13]);
    expect(classes.flatMap((kind, number) => (kind === 'domain' ? [number] : []))).to.deep.equal([11]);
    expect(classes.filter((kind) => kind === 'global').length).to.equal(19);
  });

  it('have the names of xen.h', () => {
    expect([virq.timer, virq.conRing, virq.domExc, 5, virq.arch7].map(virqName)).to.deep.equal([
      'VIRQ_TIMER',
      'VIRQ_CON_RING',
      'VIRQ_DOM_EXC',
      'VIRQ 5',
      'VIRQ_ARCH_7',
    ]);
  });

  describe('bind_virq (evtchn_bind_virq)', () => {
    it('gives the lowest free port, bound to the vCPU, and status tells', () => {
      expect(virqs().bind(dom1, virq.timer, 2)).to.equal(1);
      expect(status(dom1, 1)).to.deep.equal({ status: 'virq', vcpu: 2, virq: virq.timer });
      expect(hypervisor.ledger(dom1).ports.virq).to.equal(1);
    });

    it('gives each vCPU a port of its own for a per-vCPU interrupt', () => {
      expect([0, 1, 2].map((vcpu) => virqs().bind(dom1, virq.timer, vcpu))).to.deep.equal([1, 2, 3]);
      virqs().raise(slotOf(dom1), 1, virq.timer);
      expect([0, 1, 2].map((vcpu) => on(dom1, vcpu))).to.deep.equal([[], [2], []]);
    });

    it('answers EINVAL for a virq of 24 or more', () => {
      for (const bad of [24, 25, 0x80000000, -1, 0.5, Number.NaN]) {
        expect(virqs().bind(dom1, bad, 0), `virq ${bad}`).to.equal(-errno.EINVAL);
      }
    });

    it('answers EINVAL for a per-domain or global interrupt on another vCPU than 0, before it looks for the vCPU', () => {
      for (const vcpu of [1, 2, 3, 99]) {
        expect(virqs().bind(dom1, virq.argo, vcpu)).to.equal(-errno.EINVAL);
        expect(virqs().bind(dom1, virq.console, vcpu)).to.equal(-errno.EINVAL);
      }
    });

    it('answers ENOENT for a vCPU that is not there', () => {
      for (const vcpu of [3, 32, 0xffffffff, -1, 0.5]) {
        expect(virqs().bind(dom1, virq.timer, vcpu)).to.equal(-errno.ENOENT);
      }
      expect(virqs().bind(dom9, virq.timer, 1)).to.equal(-errno.ENOENT);
    });

    it('answers EBUSY for a global interrupt that another domain owns, before it looks whether it is bound', () => {
      expect(virqs().bind(dom1, virq.conRing, 0)).to.equal(-errno.EBUSY);
      expect(virqs().bind(dom0, virq.conRing, 0)).to.equal(1);
      expect(virqs().bind(dom1, virq.conRing, 0)).to.equal(-errno.EBUSY);
    });

    it('answers EEXIST for one that is bound, on this vCPU', () => {
      ok(virqs().bind(dom1, virq.timer, 1));
      expect(virqs().bind(dom1, virq.timer, 1)).to.equal(-errno.EEXIST);
      expect(virqs().bind(dom1, virq.timer, 0)).to.equal(2);
      ok(virqs().bind(dom1, virq.argo, 0));
      expect(virqs().bind(dom1, virq.argo, 0)).to.equal(-errno.EEXIST);
    });

    it('answers ENOSPC for a full table, after EEXIST', () => {
      addDomain(hypervisor, 8 as Domid, { maxEventChannels: 1 });
      ok(virqs().bind(8 as Domid, virq.timer, 0));
      expect(virqs().bind(8 as Domid, virq.debug, 0)).to.equal(-errno.ENOSPC);
      expect(virqs().bind(8 as Domid, virq.timer, 0)).to.equal(-errno.EEXIST);
    });

    it('answers ESRCH to a domain that does not exist', () => {
      expect(virqs().bind(nobody, virq.timer, 0)).to.equal(-errno.ESRCH);
    });

    it('has no effect at all when it fails, whatever the reason (XSA-496)', () => {
      addDomain(hypervisor, 8 as Domid, { maxEventChannels: 1 });
      ok(virqs().bind(8 as Domid, virq.timer, 0));
      ok(virqs().bind(dom0, virq.domExc, 0));
      ok(virqs().bind(dom1, virq.timer, 0));
      // The table's hint, where free ports begin, moves with the first refusal of any kind.
      expect(hypervisor.eventChannels.allocUnbound(8 as Domid, 8 as Domid, dom1)).to.equal(-errno.ENOSPC);
      const before = hypervisor.memory.words.slice();
      for (const [domid, number, vcpu] of [
        [dom1, 24, 0],
        [dom1, virq.argo, 1],
        [dom1, virq.timer, 3],
        [dom1, virq.domExc, 0],
        [dom0, virq.domExc, 0],
        [dom1, virq.timer, 0],
        [8 as Domid, virq.debug, 0],
      ] as const) {
        expect(virqs().bind(domid, number, vcpu)).to.be.below(0);
      }
      expect(hypervisor.memory.words.every((word, i) => word === before[i])).to.equal(true);
      virqs().raiseGlobal(virq.domExc);
      expect(deliver(hypervisor, dom0)).to.deep.equal([1]);
    });
  });

  describe('raised', () => {
    it('are discarded where they are not bound, and not kept for who binds later', () => {
      virqs().raise(slotOf(dom1), 0, virq.timer);
      virqs().raise(slotOf(dom1), 0, virq.argo);
      virqs().raiseGlobal(virq.console);
      ok(virqs().bind(dom1, virq.timer, 0));
      ok(virqs().bind(dom1, virq.argo, 0));
      ok(virqs().bind(dom0, virq.console, 0));
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
      expect(deliver(hypervisor, dom0)).to.deep.equal([]);
    });

    it('twice before the guest clears PENDING, are one event', () => {
      const bound = ok<Port>(virqs().bind(dom1, virq.timer, 0));
      for (let i = 0; i < 2; i++) virqs().raise(slotOf(dom1), 0, virq.timer);
      expect(deliver(hypervisor, dom1)).to.deep.equal([bound]);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });

    it('ring for a domain that sleeps', () => {
      ok(virqs().bind(dom1, virq.timer, 2));
      hypervisor.doorbell.rest(dom1, parked);
      virqs().raise(slotOf(dom1), 2, virq.timer);
      expect(rung).to.deep.equal([dom1]);
    });

    it('on a vCPU that is not there, do nothing', () => {
      ok(virqs().bind(dom9, virq.timer, 0));
      virqs().raise(slotOf(dom9), 1, virq.timer);
      expect(deliver(hypervisor, dom9)).to.deep.equal([]);
    });
  });

  describe('closed', () => {
    it('are discarded, and can be bound again', () => {
      const bound = ok<Port>(virqs().bind(dom1, virq.timer, 2));
      expect(hypervisor.eventChannels.close(dom1, bound)).to.equal(0);
      virqs().raise(slotOf(dom1), 2, virq.timer);
      expect(on(dom1, 2)).to.deep.equal([]);
      expect(virqs().bind(dom1, virq.timer, 2)).to.equal(bound);
    });

    it('leave those of the same number on other vCPUs', () => {
      const ports = [0, 1].map((vcpu) => ok<Port>(virqs().bind(dom1, virq.timer, vcpu)));
      ok(hypervisor.eventChannels.close(dom1, ports[0] as Port));
      virqs().raise(slotOf(dom1), 1, virq.timer);
      expect(on(dom1, 1)).to.deep.equal([ports[1]]);
      expectSound(hypervisor, 'after a close');
    });
  });

  it('cannot be sent: EINVAL (evtchn_send)', () => {
    expect(hypervisor.eventChannels.send(dom1, ok<Port>(virqs().bind(dom1, virq.timer, 0)))).to.equal(-errno.EINVAL);
  });

  describe('global ones', () => {
    it('are the hardware domain’s unless they were given away', () => {
      const bound = ok<Port>(virqs().bind(dom0, virq.conRing, 0));
      virqs().raiseGlobal(virq.conRing);
      expect(deliver(hypervisor, dom0)).to.deep.equal([bound]);
    });

    it('are raised in the domain that owns them (XEN_DOMCTL_set_virq_handler)', () => {
      expect(virqs().setHandler(dom0, dom2, virq.domExc)).to.equal(0);
      expect(virqs().owner(virq.domExc)).to.equal(dom2);
      expect(virqs().bind(dom0, virq.domExc, 0)).to.equal(-errno.EBUSY);
      const bound = ok<Port>(virqs().bind(dom2, virq.domExc, 0));
      virqs().raiseGlobal(virq.domExc);
      expect(deliver(hypervisor, dom0)).to.deep.equal([]);
      expect(deliver(hypervisor, dom2)).to.deep.equal([bound]);
    });

    it('are handed over only when their owner has unbound them: EBUSY', () => {
      const bound = ok<Port>(virqs().bind(dom0, virq.domExc, 0));
      expect(virqs().setHandler(dom0, dom2, virq.domExc)).to.equal(-errno.EBUSY);
      expect(virqs().setHandler(dom0, dom0, virq.domExc)).to.equal(0);
      ok(hypervisor.eventChannels.close(dom0, bound));
      expect(virqs().setHandler(dom0, dom2, virq.domExc)).to.equal(0);
    });

    it('are handed over by a privileged domain, to one that is there, and only they: EPERM, ESRCH, EINVAL', () => {
      expect(virqs().setHandler(dom1, DOMID_SELF, virq.domExc)).to.equal(-errno.EPERM);
      expect(virqs().setHandler(dom0, nobody, virq.domExc)).to.equal(-errno.ESRCH);
      for (const bad of [virq.timer, virq.argo, 24, -1, 0.5]) {
        expect(virqs().setHandler(dom0, dom2, bad), `virq ${bad}`).to.equal(-errno.EINVAL);
      }
    });

    it('are the hardware domain’s again when their owner ends, not those of its domid’s next', () => {
      ok(virqs().setHandler(dom0, dom3, virq.console));
      ok(virqs().bind(dom3, virq.console, 0));
      ok(hypervisor.destroyDomain(DOMID_XEN, dom3));
      addDomain(hypervisor, dom3);
      expect(virqs().owner(virq.console)).to.equal(dom0);
      expect(virqs().bind(dom3, virq.console, 0)).to.equal(-errno.EBUSY);
      expect(virqs().bind(dom0, virq.console, 0)).to.equal(1);
    });
  });
});
