import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { DOMID_SELF, type Domid, type Port } from '../../../core/abi/units.js';
import { virq } from '../../../core/abi/virq.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { control, header } from '../../../core/hypervisor/layout.js';
import { mapPirqType } from '../../../core/hypervisor/pirqs.js';
import { expectSound } from './invariants.js';
import { connect, deliver, dom0, dom1, dom2, dom3, machine, nobody, ok } from './machine.js';
import { preempt } from './preempt.js';

describe('reset (evtchn_reset)', () => {
  let hypervisor: Hypervisor;
  const calls = () => hypervisor.eventChannels;
  const openPorts = (domid: Domid): number => Object.values(hypervisor.ledger(domid).ports).reduce((a, b) => a + b);
  const pause = (domid: Domid, count: number): void => {
    hypervisor.memory.words[hypervisor.memory.control(hypervisor.memory.slotOf(domid)) + control.pauseCount] = count;
  };
  /** Every moment of a reset of 130 ports in which nobody has the lock. */
  const between = (other: () => void, then: (result: number, moment: number) => void): void => {
    for (let at = 0, moment = 0; ; at++) {
      ({ hypervisor } = machine({ vcpus: 2 }));
      for (let i = 0; i < 130; i++) ok(calls().allocUnbound(dom1, dom1, dom2));
      let result = 0;
      let free = false;
      const overtaken = preempt(
        at,
        () => {
          free = hypervisor.memory.words[header.lock] === 0;
          if (free) other();
        },
        () => {
          result = calls().reset(dom1, DOMID_SELF);
        },
      );
      if (!overtaken) {
        expect(moment, 'moments without the lock').to.be.above(3);
        return;
      }
      if (free) then(result, moment++);
      if (free) expectSound(hypervisor, `overtaken at moment ${at}`);
    }
  };

  beforeEach(() => {
    ({ hypervisor } = machine({ vcpus: 2 }));
  });

  it('closes every port of whatever kind: peers wait again, interrupts are free', () => {
    const [, theirs] = connect(hypervisor, dom1, dom2);
    ok(calls().bindIpi(dom1, 1));
    ok(hypervisor.virqs.bind(dom1, virq.timer, 1));
    ok(hypervisor.pirqs.map(dom0, dom1, mapPirqType.gsi, 20, 20));
    ok(hypervisor.pirqs.bind(dom1, 20, 0));
    ok(calls().allocUnbound(dom1, dom1, dom3));
    expect(openPorts(dom1)).to.equal(5);
    expect(calls().reset(dom1, DOMID_SELF)).to.equal(0);
    expect(openPorts(dom1)).to.equal(0);
    expect(calls().status(dom2, dom2, theirs)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: dom1 });
    expectSound(hypervisor, 'after the reset');
    expect(hypervisor.virqs.bind(dom1, virq.timer, 1)).to.equal(1);
    expect(hypervisor.pirqs.bind(dom1, 20, 0)).to.equal(2);
  });

  it('leaves MASK alone and clears PENDING', () => {
    const [mine, theirs] = connect(hypervisor, dom1, dom2);
    ok(calls().send(dom2, theirs));
    expect(calls().reset(dom1, dom1)).to.equal(0);
    expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    expect(calls().status(dom1, dom1, mine)).to.deep.equal({ status: 'closed', vcpu: 0 });
  });

  it('answers ESRCH for an unknown domain, EPERM for another’s without privilege', () => {
    expect(calls().reset(dom0, nobody)).to.equal(-errno.ESRCH);
    expect(calls().reset(nobody, DOMID_SELF)).to.equal(-errno.ESRCH);
    expect(calls().reset(dom1, dom2)).to.equal(-errno.EPERM);
  });

  it('answers EINVAL for another’s that is not paused, after EPERM', () => {
    connect(hypervisor, dom1, dom2);
    expect(calls().reset(dom0, dom1)).to.equal(-errno.EINVAL);
    expect(openPorts(dom1)).to.equal(1);
    pause(dom1, 1);
    expect(calls().reset(dom2, dom1)).to.equal(-errno.EPERM);
    expect(calls().reset(dom0, dom1)).to.equal(0);
    expect(openPorts(dom1)).to.equal(0);
  });

  it('answers EBUSY to another reset while one runs, and goes on', () => {
    const answers: number[] = [];
    between(
      () => {
        pause(dom1, 1);
        answers.push(calls().reset(dom0, dom1));
      },
      (result) => {
        expect(result).to.equal(0);
        expect(openPorts(dom1)).to.equal(0);
      },
    );
    // Before it begins and after it ends, there is none that runs.
    expect(new Set(answers)).to.deep.equal(new Set([0, -errno.EBUSY]));
  });

  it('answers EAGAIN when ports were opened meanwhile, and can be repeated', () => {
    const results: number[] = [];
    between(
      () => ok(calls().bindIpi(dom1, 1)),
      (result) => {
        results.push(result);
        if (result !== 0) expect(calls().reset(dom1, dom1)).to.equal(0);
      },
    );
    expect(new Set(results)).to.deep.equal(new Set([0, -errno.EAGAIN]));
  });

  it('lets the lock go every 64 ports, so that others’ calls come between (XSA-344)', () => {
    for (let i = 1; i < 1000; i++) ok(calls().allocUnbound(dom1, dom1, dom2));
    let released = 0;
    const { words } = hypervisor.memory;
    const { exchange } = Atomics;
    Atomics.exchange = ((array: Int32Array, index: number, value: number) => {
      if (array === words && index === header.lock && value === 0) released++;
      return exchange(array, index, value);
    }) as typeof Atomics.exchange;
    try {
      expect(calls().reset(dom1, dom1)).to.equal(0);
    } finally {
      Atomics.exchange = exchange;
    }
    expect(released).to.equal(Math.floor(999 / 64) + 1);
  });

  it('takes a send, or a bind, at any moment of it (XSA-343)', () => {
    for (let at = 0; ; at++) {
      ({ hypervisor } = machine({ vcpus: 2 }));
      for (let i = 0; i < 70; i++) ok(calls().allocUnbound(dom1, dom1, dom2));
      const bound = ok<Port>(calls().bindInterdomain(dom2, dom1, 66 as Port));
      const overtaken = preempt(
        at,
        () => {
          calls().send(dom2, bound);
          calls().send(dom1, 66 as Port);
          if (hypervisor.memory.words[header.lock] === 0) calls().bindInterdomain(dom2, dom1, 67 as Port);
        },
        () => calls().reset(dom1, dom1),
      );
      expect(openPorts(dom1)).to.equal(0);
      expectSound(hypervisor, `overtaken at moment ${at}`);
      if (!overtaken) break;
    }
  });

  it('leaves ports that others still use refused, not broken (XSA-338)', () => {
    const [mine, theirs] = connect(hypervisor, dom1, dom2);
    ok(calls().reset(dom1, dom1));
    expect(calls().send(dom1, mine)).to.equal(-errno.EINVAL);
    expect(calls().close(dom1, mine)).to.equal(-errno.EINVAL);
    expect(calls().unmask(dom1, mine)).to.equal(0);
    expect(calls().send(dom2, theirs)).to.equal(0);
  });

  it('ends, without touching the next domain of that slot, when its domain is destroyed between', () => {
    between(
      () => {
        ok(hypervisor.destroyDomain(dom0, dom1));
        ok(hypervisor.domains.create(dom0, { domid: 5 as Domid, vcpus: 2 }));
        for (let i = 0; i < 130; i++) ok(calls().allocUnbound(5 as Domid, 5 as Domid, dom2));
      },
      (result, moment) => {
        expect(openPorts(5 as Domid), `moment ${moment}`).to.equal(130);
        expect(result).to.be.oneOf([0, -errno.ESRCH]);
      },
    );
  });
});
