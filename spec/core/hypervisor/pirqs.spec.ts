// Long, since it has one test for each rule and error of each call about physical interrupts.
import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { DOMID_SELF, type Domid, type Port } from '../../../core/abi/units.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { NR_IRQS, NR_PIRQS } from '../../../core/hypervisor/pirq-table.js';
import { BIND_PIRQ_WILL_SHARE, irqStatus, mapPirqType } from '../../../core/hypervisor/pirqs.js';
import { expectSound } from './invariants.js';
import { addDomain, bytesOf, deliver, dom0, dom1, dom2, dom3, machine, nobody, ok } from './machine.js';

const { gsi, msi } = mapPirqType;
const port = (number: number): Port => number as Port;
const share = BIND_PIRQ_WILL_SHARE;
/** The number of a domain without a name in this spec. */
const other = 9 as Domid;

describe('physical interrupts', () => {
  let hypervisor: Hypervisor;
  let rung: Domid[];
  const pirqs = () => hypervisor.pirqs;
  const status = (domid: Domid, of: number) => hypervisor.eventChannels.status(domid, domid, port(of));
  /** Gives a domain the host's interrupt, under the same number, and binds it. */
  const bound = (domid: Domid, irq: number, flags = 0): Port => {
    ok(pirqs().map(dom0, domid, gsi, irq, irq));
    return ok<Port>(pirqs().bind(domid, irq, flags));
  };
  const pulse = (irq: number): void => {
    pirqs().setLine(irq, true);
    pirqs().setLine(irq, false);
  };

  beforeEach(() => {
    ({ hypervisor, rung } = machine());
  });

  describe('map_pirq (PHYSDEVOP_map_pirq)', () => {
    it('gives a domain the number that is asked for', () => {
      expect(pirqs().map(dom0, dom1, gsi, 20, 33)).to.equal(33);
      const of = ok<Port>(pirqs().bind(dom1, 33, 0));
      pulse(20);
      expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
      expect(status(dom1, of)).to.deep.equal({ status: 'pirq', vcpu: 0, pirq: 33 });
    });

    it('picks one for −1: the lowest free from 16 for a line, the highest for a message', () => {
      expect([20, 21].map((irq) => pirqs().map(dom0, dom1, gsi, irq, -1))).to.deep.equal([16, 17]);
      expect([200, 201].map((irq) => pirqs().map(dom0, dom1, msi, irq, -1))).to.deep.equal([255, 254]);
    });

    it('answers the number that the domain has it by, for −1 and for the same again', () => {
      ok(pirqs().map(dom0, dom1, gsi, 20, 33));
      expect(pirqs().map(dom0, dom1, gsi, 20, -1)).to.equal(33);
      expect(pirqs().map(dom0, dom1, gsi, 20, 33)).to.equal(33);
    });

    it('answers EEXIST for an interrupt under another number, and for another under this one', () => {
      ok(pirqs().map(dom0, dom1, gsi, 20, 33));
      expect(pirqs().map(dom0, dom1, gsi, 20, 34)).to.equal(-errno.EEXIST);
      expect(pirqs().map(dom0, dom1, gsi, 21, 33)).to.equal(-errno.EEXIST);
    });

    it('answers ESRCH, then EPERM without privilege, for one’s own domain too', () => {
      expect(pirqs().map(dom1, nobody, gsi, 20, 20)).to.equal(-errno.ESRCH);
      expect(pirqs().map(dom1, DOMID_SELF, gsi, 20, 20)).to.equal(-errno.EPERM);
      expect(pirqs().map(dom1, dom2, 99, 20, 20)).to.equal(-errno.EPERM);
      expect(pirqs().map(dom0, DOMID_SELF, gsi, 20, 20)).to.equal(20);
    });

    it('answers EINVAL for other types, and for numbers out of range', () => {
      for (const type of [mapPirqType.unknown, mapPirqType.msiSeg, mapPirqType.multiMsi, 5, -1]) {
        expect(pirqs().map(dom0, dom1, type, 20, 20), `type ${type}`).to.equal(-errno.EINVAL);
      }
      for (const index of [128, NR_IRQS, -1, 0.5])
        expect(pirqs().map(dom0, dom1, gsi, index, 20)).to.equal(-errno.EINVAL);
      for (const index of [127, NR_IRQS, -2]) expect(pirqs().map(dom0, dom1, msi, index, 20)).to.equal(-errno.EINVAL);
      for (const pirq of [NR_PIRQS, 1e9, 0.5]) expect(pirqs().map(dom0, dom1, gsi, 20, pirq)).to.equal(-errno.EINVAL);
    });

    it('answers ENODEV for a message of a PCI device: there is none', () => {
      expect(pirqs().map(dom0, dom1, msi, -1, -1)).to.equal(-errno.ENODEV);
    });

    it('takes the index for the caller’s own number, and for the host’s only where the hardware domain has none', () => {
      addDomain(hypervisor, other, { privileged: true });
      expect(pirqs().map(other, dom1, gsi, 20, 20)).to.equal(-errno.EINVAL);
      ok(pirqs().map(dom0, other, gsi, 40, 20));
      expect(pirqs().map(other, dom1, gsi, 20, 50)).to.equal(50);
      const of = ok<Port>(pirqs().bind(dom1, 50, 0));
      pulse(20);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
      pulse(40);
      expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
    });

    it('answers ENOSPC when no number is free', () => {
      for (let pirq = 16; pirq < 128; pirq++) ok(pirqs().map(DOMID_XEN, dom1, gsi, pirq, -1));
      expect(pirqs().map(dom0, dom1, gsi, 1, -1)).to.equal(-errno.ENOSPC);
    });
  });

  describe('bind_pirq (evtchn_bind_pirq)', () => {
    it('answers EINVAL for a number of 256 or more', () => {
      for (const bad of [NR_PIRQS, 1e9, -1, 0.5]) expect(pirqs().bind(dom1, bad, 0)).to.equal(-errno.EINVAL);
    });

    it('answers EPERM for an interrupt that the caller was not given', () => {
      expect(pirqs().bind(dom1, 20, 0)).to.equal(-errno.EPERM);
      ok(pirqs().map(dom0, dom1, gsi, 20, 20));
      ok(pirqs().unmap(dom0, dom1, 20));
      expect(pirqs().bind(dom1, 20, 0)).to.equal(-errno.EPERM);
    });

    it('answers EEXIST for one that is bound: one port per interrupt in a domain', () => {
      bound(dom1, 20, share);
      expect(pirqs().bind(dom1, 20, share)).to.equal(-errno.EEXIST);
    });

    it('answers ENOSPC for a full table', () => {
      addDomain(hypervisor, other, { maxEventChannels: 1 });
      bound(other, 20);
      ok(pirqs().map(dom0, other, gsi, 21, 21));
      expect(pirqs().bind(other, 21, 0)).to.equal(-errno.ENOSPC);
    });

    it('answers EPERM to the hardware domain, too, for a number that is mapped to nothing (pirq_access_permitted)', () => {
      expect(pirqs().bind(dom0, 20, 0)).to.equal(-errno.EPERM);
    });

    it('gives nobody Xen’s own timer: EPERM to map it, and to bind it', () => {
      for (const of of [0, -1]) expect(pirqs().map(dom0, dom0, gsi, 0, of)).to.equal(-errno.EPERM);
      expect(pirqs().bind(dom0, 0, share)).to.equal(-errno.EPERM);
    });

    it('answers EBUSY unless both the first and the next will share (BIND_PIRQ__WILL_SHARE)', () => {
      for (const [first, next, result] of [
        [0, 0, -errno.EBUSY],
        [0, share, -errno.EBUSY],
        [share, 0, -errno.EBUSY],
        [share, share, 1],
      ] as const) {
        ({ hypervisor } = machine());
        bound(dom1, 20, first);
        ok(pirqs().map(dom0, dom2, gsi, 20, 20));
        expect(pirqs().bind(dom2, 20, next), `${first}, then ${next}`).to.equal(result);
      }
    });

    it('answers EBUSY when 32 domains have it', () => {
      const many = hypervisorOf40();
      for (let i = 1; i <= 32; i++) {
        ok(many.pirqs.map(dom0, i as Domid, gsi, 20, 20));
        ok(many.pirqs.bind(i as Domid, 20, share));
      }
      ok(many.pirqs.map(dom0, 33 as Domid, gsi, 20, 20));
      expect(many.pirqs.bind(33 as Domid, 20, share)).to.equal(-errno.EBUSY);
    });

    it('has no effect at all when it fails (XSA-496)', () => {
      bound(dom1, 20);
      ok(pirqs().map(dom0, dom2, gsi, 20, 20));
      const before = hypervisor.memory.words.slice();
      for (const [domid, pirq] of [
        [dom1, 20],
        [dom2, 20],
        [dom2, 21],
        [dom0, 0],
        [dom0, 21],
        [dom1, 256],
        [nobody, 20],
      ] as const) {
        expect(pirqs().bind(domid, pirq, 0)).to.be.below(0);
      }
      expect(hypervisor.memory.words.every((word, i) => word === before[i])).to.equal(true);
    });
  });

  describe('an edge', () => {
    it('is queued for the domain that is bound, whichever runs, and handled when that is entered', () => {
      const of = bound(dom1, 20);
      hypervisor.doorbell.rest(dom1, parked);
      pulse(20);
      expect(rung).to.deep.equal([dom1]);
      expect(deliver(hypervisor, dom2)).to.deep.equal([]);
      expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
    });

    it('is one event when it comes again before the guest has cleared it', () => {
      const of = bound(dom1, 20);
      for (let i = 0; i < 3; i++) pulse(20);
      expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });

    it('needs no EOI: the next comes without it', () => {
      const of = bound(dom1, 20);
      for (let i = 0; i < 3; i++) {
        pulse(20);
        expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
      }
      expect(pirqs().eoi(dom1, 20)).to.equal(0);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });

    it('is not kept when nobody has a channel', () => {
      ok(pirqs().map(dom0, dom1, gsi, 20, 20));
      pulse(20);
      ok(pirqs().bind(dom1, 20, 0));
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });

    it('goes to all who share it', () => {
      const ports = [dom1, dom2, dom3].map((domid) => [domid, bound(domid, 20, share)] as const);
      pulse(20);
      for (const [domid, of] of ports) expect(deliver(hypervisor, domid)).to.deep.equal([of]);
    });
  });

  describe('a level', () => {
    beforeEach(() => {
      pirqs().setTrigger(20, 'level');
    });

    it('is told once while it stays up, and again at EOI, until it goes down', () => {
      const of = bound(dom1, 20);
      pirqs().setLine(20, true);
      pirqs().setLine(20, true);
      expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
      expect(pirqs().eoi(dom1, 20)).to.equal(0);
      expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
      pirqs().setLine(20, false);
      expect(pirqs().eoi(dom1, 20)).to.equal(0);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });

    it('is held from going up again until the EOI', () => {
      const of = bound(dom1, 20);
      pulse(20);
      expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
      pulse(20);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
      ok(pirqs().eoi(dom1, 20));
      pulse(20);
      expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
    });

    it('is held until every domain that shares it has sent EOI', () => {
      const one = bound(dom1, 20, share);
      const two = bound(dom2, 20, share);
      pirqs().setLine(20, true);
      expect([deliver(hypervisor, dom1), deliver(hypervisor, dom2)]).to.deep.equal([[one], [two]]);
      ok(pirqs().eoi(dom1, 20));
      ok(pirqs().eoi(dom1, 20));
      expect([deliver(hypervisor, dom1), deliver(hypervisor, dom2)]).to.deep.equal([[], []]);
      ok(pirqs().eoi(dom2, 20));
      expect([deliver(hypervisor, dom1), deliver(hypervisor, dom2)]).to.deep.equal([[one], [two]]);
    });

    for (const [how, leave] of [
      ['closes its port', (h: Hypervisor, of: Port) => ok(h.eventChannels.close(dom2, of))],
      ['resets its ports', (h: Hypervisor) => ok(h.eventChannels.reset(dom2, dom2))],
      ['is destroyed', (h: Hypervisor) => ok(h.destroyDomain(dom0, dom2))],
      ['has it taken away', (h: Hypervisor) => ok(h.pirqs.unmap(dom0, dom2, 20))],
    ] as const) {
      it(`is waited for no longer by a domain that ${how} before its EOI`, () => {
        const one = bound(dom1, 20, share);
        const two = bound(dom2, 20, share);
        pirqs().setLine(20, true);
        expect(deliver(hypervisor, dom1)).to.deep.equal([one]);
        ok(pirqs().eoi(dom1, 20));
        expect(deliver(hypervisor, dom1)).to.deep.equal([]);
        leave(hypervisor, two);
        expect(deliver(hypervisor, dom1)).to.deep.equal([one]);
        expectSound(hypervisor, how);
      });
    }

    it('that is up already is told to the first who binds, for the device still asks', () => {
      pirqs().setLine(20, true);
      const of = bound(dom1, 20);
      expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
    });

    it('that is in flight is not told to the next who binds, until it ends', () => {
      const one = bound(dom1, 20, share);
      pirqs().setLine(20, true);
      expect(deliver(hypervisor, dom1)).to.deep.equal([one]);
      const two = bound(dom2, 20, share);
      expect(deliver(hypervisor, dom2)).to.deep.equal([]);
      ok(pirqs().eoi(dom1, 20));
      expect([deliver(hypervisor, dom1), deliver(hypervisor, dom2)]).to.deep.equal([[one], [two]]);
    });

    it('is ended by the EOI of its channel’s domain alone', () => {
      const of = bound(dom1, 20);
      ok(pirqs().map(dom0, dom2, gsi, 20, 20));
      pirqs().setLine(20, true);
      expect(deliver(hypervisor, dom1)).to.deep.equal([of]);
      expect(pirqs().eoi(dom2, 20)).to.equal(0);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });
  });

  describe('unmap_pirq (PHYSDEVOP_unmap_pirq)', () => {
    it('takes the interrupt away: ESRCH, EPERM, EINVAL', () => {
      ok(pirqs().map(dom0, dom1, gsi, 20, 33));
      expect(pirqs().unmap(dom0, nobody, 33)).to.equal(-errno.ESRCH);
      expect(pirqs().unmap(dom1, DOMID_SELF, 33)).to.equal(-errno.EPERM);
      for (const bad of [20, NR_PIRQS, -1]) expect(pirqs().unmap(dom0, dom1, bad)).to.equal(-errno.EINVAL);
      expect(pirqs().unmap(dom0, dom1, 33)).to.equal(0);
      expect(pirqs().unmap(dom0, dom1, 33)).to.equal(-errno.EINVAL);
      expect(pirqs().map(dom0, dom1, gsi, 20, 34)).to.equal(34);
    });

    it('leaves the port, which is raised no more, and the number taken, until the port closes: EBUSY', () => {
      const of = bound(dom1, 20);
      ok(pirqs().unmap(dom0, dom1, 20));
      pulse(20);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
      expect(status(dom1, of)).to.deep.equal({ status: 'pirq', vcpu: 0, pirq: 20 });
      expect(pirqs().map(dom0, dom1, gsi, 20, -1)).to.equal(-errno.EBUSY);
      expect(pirqs().unmap(dom0, dom1, 20)).to.equal(-errno.EINVAL);
      ok(hypervisor.eventChannels.close(dom1, of));
      expect(pirqs().map(dom0, dom1, gsi, 20, -1)).to.equal(16);
      expectSound(hypervisor, 'mapped again');
    });
  });

  describe('eoi (PHYSDEVOP_eoi)', () => {
    it('answers EINVAL for a number out of range, or that stands for nothing', () => {
      for (const bad of [NR_PIRQS, -1, 20]) expect(pirqs().eoi(dom1, bad)).to.equal(-errno.EINVAL);
      ok(pirqs().map(dom0, dom1, gsi, 20, 20));
      expect(pirqs().eoi(dom1, 20)).to.equal(0);
      expect(pirqs().eoi(nobody, 20)).to.equal(-errno.ESRCH);
    });
  });

  describe('irq_status_query (PHYSDEVOP_irq_status_query)', () => {
    it('says needs_eoi always, and shared when several domains have it', () => {
      expect(pirqs().irqStatusQuery(dom1, 20)).to.equal(irqStatus.needsEoi);
      bound(dom1, 20, share);
      expect(pirqs().irqStatusQuery(dom1, 20)).to.equal(irqStatus.needsEoi);
      bound(dom2, 20, share);
      expect(pirqs().irqStatusQuery(dom1, 20)).to.equal(irqStatus.needsEoi | irqStatus.shared);
    });

    it('answers EINVAL out of range', () => {
      for (const bad of [NR_PIRQS, -1]) expect(pirqs().irqStatusQuery(dom1, bad)).to.equal(-errno.EINVAL);
      expect(pirqs().irqStatusQuery(nobody, 20)).to.equal(-errno.ESRCH);
    });
  });

  describe('pirq_eoi_gmfn (PHYSDEVOP_pirq_eoi_gmfn_v1, _v2)', () => {
    let frame: number;
    const needsEoi = (pirq: number): boolean =>
      ((bytesOf(hypervisor, frame)[pirq >>> 3] ?? 0) & (1 << (pirq & 7))) !== 0;

    beforeEach(() => {
      frame = ok(hypervisor.pages.populate(dom1, dom1, 1));
      pirqs().setTrigger(20, 'level');
    });

    it('marks in the page, by the domain’s numbers, what must be ended: levels, no edges', () => {
      expect(pirqs().pirqEoiGmfn(dom1, frame, 2)).to.equal(0);
      bytesOf(hypervisor, frame).fill(0xff, 0, 64);
      ok(pirqs().map(dom0, dom1, gsi, 20, 33));
      ok(pirqs().bind(dom1, 33, 0));
      bound(dom1, 21);
      expect([needsEoi(33), needsEoi(21)]).to.deep.equal([true, false]);
      bytesOf(hypervisor, frame).fill(0, 0, 64);
      ok(hypervisor.eventChannels.close(dom1, port(1)));
      ok(pirqs().bind(dom1, 33, 0));
      expect(needsEoi(33)).to.equal(true);
    });

    it('answers EINVAL for a page that is none of the caller’s, EBUSY a second time', () => {
      expect(pirqs().pirqEoiGmfn(dom2, frame, 2)).to.equal(-errno.EINVAL);
      for (const bad of [-1, 0, 1e9]) expect(pirqs().pirqEoiGmfn(dom1, bad, 1)).to.equal(-errno.EINVAL);
      expect(pirqs().pirqEoiGmfn(dom1, frame, 2)).to.equal(0);
      expect(pirqs().pirqEoiGmfn(dom1, frame, 1)).to.equal(-errno.EBUSY);
      expect(pirqs().pirqEoiGmfn(nobody, frame, 1)).to.equal(-errno.ESRCH);
    });

    for (const [version, unmasks] of [
      [1, true],
      [2, false],
    ] as const) {
      it(`by version ${version} has eoi ${unmasks ? 'unmask the port' : 'leave the port’s mask alone'}`, () => {
        ok(pirqs().pirqEoiGmfn(dom1, frame, version));
        const of = bound(dom1, 20);
        hypervisor.eventChannels.mask(dom1, of);
        pirqs().setLine(20, true);
        expect(deliver(hypervisor, dom1)).to.deep.equal([]);
        pirqs().setLine(20, false);
        ok(pirqs().eoi(dom1, 20));
        expect(deliver(hypervisor, dom1)).to.deep.equal(unmasks ? [of] : []);
      });
    }

    it('writes nothing to a page that the domain has given back, and another has', () => {
      ok(pirqs().pirqEoiGmfn(dom1, frame, 2));
      ok(hypervisor.pages.release(dom1, frame, 1));
      while (ok(hypervisor.pages.populate(dom2, dom2, 1)) !== frame);
      bound(dom1, 20);
      expect(needsEoi(20)).to.equal(false);
    });
  });

  it('cannot be sent: EINVAL (evtchn_send)', () => {
    expect(hypervisor.eventChannels.send(dom1, bound(dom1, 20))).to.equal(-errno.EINVAL);
  });

  it('that is closed is free for another, and mapped still', () => {
    const of = bound(dom1, 20);
    ok(pirqs().map(dom0, dom2, gsi, 20, 20));
    ok(hypervisor.eventChannels.close(dom1, of));
    expect(pirqs().bind(dom2, 20, 0)).to.equal(1);
    pulse(20);
    expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    expect(pirqs().bind(dom1, 20, 0)).to.equal(-errno.EBUSY);
  });

  it('of a domain that is destroyed are not those of its domid’s next, nor of its slot’s', () => {
    bound(dom1, 20);
    ok(hypervisor.destroyDomain(dom0, dom1));
    addDomain(hypervisor, dom1);
    expect(pirqs().bind(dom1, 20, 0)).to.equal(-errno.EPERM);
    pulse(20);
    expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    expect(bound(dom2, 20)).to.equal(1);
  });

  it('are the host’s 256, of which the first 128 are lines: anything else is the machine’s mistake', () => {
    expect(() => pirqs().setLine(256, true)).to.throw(
      RangeError,
      'a host interrupt must be a whole number from 0 to 255, not 256',
    );
    expect(() => pirqs().setTrigger(-1, 'edge')).to.throw(RangeError);
    expect(() => pirqs().setTrigger(128, 'level')).to.throw(RangeError, 'a message, which has no level');
    pirqs().setTrigger(128, 'edge');
  });

  const hypervisorOf40 = (): Hypervisor => {
    const many = Hypervisor.create({ bytes: 4 * 2 ** 20, domains: 40 });
    addDomain(many, dom0, { privileged: true });
    for (let i = 1; i < 40; i++) addDomain(many, i as Domid);
    return many;
  };
});
