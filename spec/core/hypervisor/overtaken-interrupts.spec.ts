import { expect } from 'chai';
import type { Domid, Port } from '../../../core/abi/units.js';
import { virq } from '../../../core/abi/virq.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { header } from '../../../core/hypervisor/layout.js';
import { BIND_PIRQ_WILL_SHARE, mapPirqType } from '../../../core/hypervisor/pirqs.js';
import { expectSound } from './invariants.js';
import { addDomain, deliver, deliverOn, dom0, dom1, dom2, machine, ok } from './machine.js';
import { preempt } from './preempt.js';

const LINE = 20;

/** Runs `body` once for each moment at which `other` can come between, on a machine of its own. */
const atEveryMoment = (
  run: (
    hypervisor: Hypervisor,
    /** Runs its body, with what comes between; whether anything did. */
    overtake: (other: () => void, body: () => void) => boolean,
  ) => void,
): void => {
  for (let at = 0; ; at++) {
    const { hypervisor } = machine({ vcpus: 2 });
    let overtaken = false;
    run(hypervisor, (other, body) => {
      overtaken = preempt(at, other, body);
      return overtaken;
    });
    expectSound(hypervisor, `overtaken at moment ${at}`);
    if (!overtaken) {
      expect(at).to.be.above(2);
      return;
    }
  }
};

describe('interrupts that overtake calls, and calls that overtake interrupts', () => {
  it('reach a VIRQ that is bound, at any moment of bind_virq, or nobody: never another port', () => {
    atEveryMoment((h, overtake) => {
      let bound = 0;
      const raise = (): void => h.virqs.raise(h.memory.slotOf(dom1), 1, virq.timer);
      overtake(raise, () => {
        bound = ok(h.virqs.bind(dom1, virq.timer, 1));
      });
      expect(deliverOn(h, dom1, 0)).to.deep.equal([]);
      expect(deliverOn(h, dom1, 1)).to.be.deep.oneOf([[], [bound]]);
      raise();
      expect(deliverOn(h, dom1, 1)).to.deep.equal([bound]);
    });
  });

  it('do no more than raise a spurious event where the VIRQ’s port closes and is bound anew meanwhile', () => {
    atEveryMoment((h, overtake) => {
      const timer = ok<Port>(h.virqs.bind(dom1, virq.timer, 1));
      let ipi = 0;
      overtake(
        () => {
          if (h.memory.words[header.lock] !== 0) return;
          ok(h.eventChannels.close(dom1, timer));
          ipi = ok(h.eventChannels.bindIpi(dom1, 0));
        },
        () => h.virqs.raise(h.memory.slotOf(dom1), 1, virq.timer),
      );
      for (const vcpu of [0, 1]) {
        for (const port of deliverOn(h, dom1, vcpu)) expect(port).to.be.oneOf([timer, ipi]);
      }
    });
  });

  it('of which the owner changes are raised in the one or the other', () => {
    atEveryMoment((h, overtake) => {
      overtake(
        () => {
          if (h.memory.words[header.lock] === 0) h.virqs.setHandler(dom0, dom2, virq.console);
        },
        () => {
          h.virqs.raiseGlobal(virq.console);
          h.virqs.raiseGlobal(virq.console);
        },
      );
      const owner = h.virqs.owner(virq.console);
      const bound = ok<Port>(h.virqs.bind(owner, virq.console, 0));
      h.virqs.raiseGlobal(virq.console);
      expect(deliver(h, owner)).to.deep.equal([bound]);
    });
  });

  it('on a line that goes up at any moment of bind_pirq are told, for it is up', () => {
    atEveryMoment((h, overtake) => {
      h.pirqs.setTrigger(LINE, 'level');
      ok(h.pirqs.map(dom0, dom1, mapPirqType.gsi, LINE, LINE));
      let up = false;
      let bound = 0;
      const rise = (): void => {
        if (h.memory.words[header.lock] !== 0) return;
        h.pirqs.setLine(LINE, true);
        up = true;
      };
      overtake(rise, () => {
        bound = ok(h.pirqs.bind(dom1, LINE, 0));
      });
      expect(deliver(h, dom1)).to.deep.equal(up ? [bound] : []);
    });
  });

  it('on a line that two share: the EOI of one at any moment of the other’s loses nothing', () => {
    atEveryMoment((h, overtake) => {
      h.pirqs.setTrigger(LINE, 'level');
      const ports = [dom1, dom2].map((domid) => {
        ok(h.pirqs.map(dom0, domid, mapPirqType.gsi, LINE, LINE));
        return ok<Port>(h.pirqs.bind(domid, LINE, BIND_PIRQ_WILL_SHARE));
      });
      h.pirqs.setLine(LINE, true);
      for (const domid of [dom1, dom2]) deliver(h, domid);
      let ended = false;
      const end = (): void => {
        if (ended || h.memory.words[header.lock] !== 0) return;
        ok(h.pirqs.eoi(dom2, LINE));
        ended = true;
      };
      overtake(end, () => ok(h.pirqs.eoi(dom1, LINE)));
      end();
      expect([dom1, dom2].map((domid) => deliver(h, domid))).to.deep.equal(ports.map((port) => [port]));
    });
  });

  it('whose domain is destroyed at any moment wake who shares them, and nobody else', () => {
    atEveryMoment((h, overtake) => {
      h.pirqs.setTrigger(LINE, 'level');
      for (const domid of [dom1, dom2]) {
        ok(h.pirqs.map(dom0, domid, mapPirqType.gsi, LINE, LINE));
        ok(h.pirqs.bind(domid, LINE, BIND_PIRQ_WILL_SHARE));
      }
      h.pirqs.setLine(LINE, true);
      for (const domid of [dom1, dom2]) deliver(h, domid);
      ok(h.pirqs.eoi(dom1, LINE));
      let heir = false;
      overtake(
        () => {
          if (h.memory.words[header.lock] !== 0) return;
          ok(h.destroyDomain(dom0, dom2));
          addDomain(h, 5 as Domid);
          heir = true;
        },
        () => h.pirqs.setLine(LINE, true),
      );
      if (!heir) ok(h.destroyDomain(dom0, dom2));
      expect(deliver(h, dom1)).to.deep.equal([1]);
      if (heir) expect(deliver(h, 5 as Domid)).to.deep.equal([]);
    });
  });

  it('ring when nobody has the lock, so that who is rung for may make calls at once (XSA-441)', () => {
    const answers: number[] = [];
    const hypervisor: Hypervisor = Hypervisor.create({ bytes: 2 ** 20, domains: 4 }, (domid) => {
      expect(hypervisor.memory.words[header.lock]).to.equal(0);
      answers.push(hypervisor.eventChannels.allocUnbound(domid, domid, dom0));
    });
    addDomain(hypervisor, dom0, { privileged: true });
    hypervisor.pirqs.setTrigger(LINE, 'level');
    for (const domid of [dom1, dom2]) {
      addDomain(hypervisor, domid);
      ok(hypervisor.pirqs.map(dom0, domid, mapPirqType.gsi, LINE, LINE));
      ok(hypervisor.pirqs.bind(domid, LINE, BIND_PIRQ_WILL_SHARE));
    }
    const rest = (): void => {
      for (const domid of [dom1, dom2]) deliver(hypervisor, domid);
      hypervisor.doorbell.rest(dom1, parked);
    };
    rest();
    hypervisor.pirqs.setLine(LINE, true);
    rest();
    ok(hypervisor.pirqs.eoi(dom1, LINE));
    ok(hypervisor.pirqs.eoi(dom2, LINE));
    rest();
    ok(hypervisor.pirqs.eoi(dom1, LINE));
    ok(hypervisor.eventChannels.close(dom2, 1 as Port));
    rest();
    ok(hypervisor.virqs.bind(dom1, virq.timer, 0));
    hypervisor.virqs.raise(hypervisor.memory.slotOf(dom1), 0, virq.timer);
    expect(answers.every((answer) => answer > 0)).to.equal(true);
    expect(answers.length).to.be.above(3);
  });
});
