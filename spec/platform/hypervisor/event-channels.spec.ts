import { expect } from 'chai';
import { map, Subscriber, take } from 'rxjs';
import { errno } from '../../../core/abi/errno.js';
import type { Domid, Port } from '../../../core/abi/units.js';
import type { EventChannel } from '../../../core/domain/event-channels.js';
import { XenError } from '../../../core/errors.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { HypervisorEventChannels } from '../../../platform/hypervisor/event-channels.js';
import { addDomain, dom0, dom1, dom2, machine, nobody, sharedInfoOf } from '../../core/hypervisor/machine.js';
import { otherRxjs } from '../../support/other-rxjs.js';

describe('the event channels of a domain', () => {
  let hypervisor: Hypervisor;
  let one: HypervisorEventChannels;
  let two: HypervisorEventChannels;
  let errors: [unknown, Port][];
  const connect = (): readonly [EventChannel, EventChannel] => {
    const unbound = one.allocUnbound(dom2);
    return [unbound, two.bindInterdomain(dom1, unbound.port)];
  };
  const counting = (channel: EventChannel): { count: number; completed: boolean; stop: () => void } => {
    const seen = { count: 0, completed: false, stop: () => {} };
    const subscription = channel.subscribe({
      next: () => {
        seen.count++;
      },
      complete: () => {
        seen.completed = true;
      },
    });
    seen.stop = () => subscription.unsubscribe();
    return seen;
  };

  beforeEach(() => {
    ({ hypervisor } = machine());
    errors = [];
    one = new HypervisorEventChannels(hypervisor, dom1, (error, port) => errors.push([error, port]));
    two = new HypervisorEventChannels(hypervisor, dom2, (error, port) => errors.push([error, port]));
  });

  it('deliver an upcall when the domain is entered, never inside the call that raised it', () => {
    const [a, b] = connect();
    const seen = counting(b);
    a.notify();
    expect(seen.count).to.equal(0);
    expect(two.enter()).to.equal(1);
    expect(seen.count).to.equal(1);
    expect(two.enter()).to.equal(0);
  });

  it('can be made pending by their own domain, and have an upcall when it is entered next', () => {
    const [a, b] = connect();
    const seen = counting(b);
    two.enter();
    seen.count = 0;
    b.retrigger();
    expect(seen.count).to.equal(0);
    two.enter();
    expect(seen.count).to.equal(1);
    expect(counting(a).count).to.equal(0);
    expect(one.enter()).to.equal(0);
    b[Symbol.dispose]();
    b.retrigger();
    expect(two.enter()).to.equal(0);
  });

  it('deliver the first event of a bound channel to its first subscriber (evtchn_bind_interdomain)', () => {
    const [a, b] = connect();
    expect(two.enter()).to.equal(0);
    const seen = counting(b);
    two.enter();
    expect(seen.count).to.equal(1);
    expect(counting(a).count).to.equal(0);
    expect(one.enter()).to.equal(0);
  });

  it('coalesce: an upcall says look now, not how often', () => {
    const [a, b] = connect();
    const seen = counting(b);
    two.enter();
    for (let i = 0; i < 5; i++) a.notify();
    two.enter();
    expect(seen.count).to.equal(2);
  });

  it('are masked until the first subscription and after the last: events wait meanwhile', () => {
    const [a, b] = connect();
    const first = counting(b);
    const second = counting(b);
    two.enter();
    expect([first.count, second.count]).to.deep.equal([1, 1]);
    first.stop();
    a.notify();
    two.enter();
    expect([first.count, second.count]).to.deep.equal([1, 2]);
    second.stop();
    a.notify();
    expect(two.enter()).to.equal(0);
    expect(sharedInfoOf(hypervisor, dom2)[640]).to.equal(-1);
    const third = counting(b);
    two.enter();
    expect([second.count, third.count]).to.deep.equal([2, 1]);
  });

  it('begin masked also on a port that was used before, whatever its mask was', () => {
    const [, b] = connect();
    counting(b);
    b[Symbol.dispose]();
    const again = two.allocUnbound(dom1);
    expect(again.port).to.equal(b.port);
    one.bindInterdomain(dom2, again.port).notify();
    expect(two.enter()).to.equal(0);
    expect(counting(again).count).to.equal(0);
    expect(two.enter()).to.equal(1);
  });

  it('end the subscription that an operator ends, of another copy of rxjs than ours too', () => {
    const [a, b] = connect();
    const other = otherRxjs();
    expect(other.Subscriber).not.to.equal(Subscriber);
    const seen: string[] = [];
    other
      .from(b)
      .pipe(other.take(1))
      .subscribe(() => seen.push('from'));
    b.pipe(other.take(1)).subscribe(() => seen.push('pipe'));
    two.enter();
    expect(seen).to.have.members(['from', 'pipe']);
    a.notify(); // nobody listens any more: the port is masked, and the event waits
    expect(two.enter()).to.equal(0);
    const later = counting(b);
    two.enter();
    expect(later.count).to.equal(1);
  });

  it('complete their subscribers when disposed, then refuse to notify; a second time does nothing', () => {
    const [a, b] = connect();
    const seen = counting(a);
    a[Symbol.dispose]();
    a[Symbol.dispose]();
    expect(seen.completed).to.equal(true);
    expect(counting(a).completed).to.equal(true);
    expect(() => a.notify())
      .to.throw(XenError, 'port 1')
      .with.property('errno', errno.EINVAL);
    expect(one.open).to.equal(0);
    b.notify();
    expect(one.enter()).to.equal(0);
    const rebound = one.bindInterdomain(dom2, b.port);
    rebound.notify();
    expect(counting(b).count).to.equal(0);
    expect(two.enter()).to.equal(1);
  });

  it('may be closed inside their own handler, and by another’s (XSA-331)', () => {
    const [a, b] = connect();
    const [c, d] = connect();
    const seen: string[] = [];
    b.subscribe(() => {
      seen.push('b');
      b[Symbol.dispose]();
      d[Symbol.dispose]();
    });
    d.subscribe(() => seen.push('d'));
    a.notify();
    c.notify();
    two.enter();
    expect(seen).to.deep.equal(['b']);
    expect(two.open).to.equal(0);
    expect(errors).to.deep.equal([]);
  });

  it('take subscriptions and unsubscriptions inside a handler', () => {
    const [a, b] = connect();
    const seen: string[] = [];
    const first = b.subscribe(() => {
      seen.push('first');
      first.unsubscribe();
      b.subscribe(() => seen.push('late'));
    });
    b.subscribe(() => seen.push('second'));
    two.enter();
    expect(seen).to.deep.equal(['first', 'second']);
    a.notify();
    two.enter();
    expect(seen).to.deep.equal(['first', 'second', 'second', 'late']);
  });

  it('call nothing in an upcall whose subscription another’s handler has ended in it, by itself or with the channel', () => {
    for (const how of ['unsubscribe', 'dispose'] as const) {
      const [, b] = connect();
      const seen: string[] = [];
      b.subscribe(() => {
        seen.push('first');
        if (how === 'dispose') b[Symbol.dispose]();
        else for (const subscription of ended) subscription.unsubscribe();
      });
      const ended = [
        b.subscribe(() => seen.push('function')),
        b.subscribe({ next: () => seen.push('observer') }),
        b.pipe(map(() => 0)).subscribe(() => seen.push('piped')),
      ];
      two.enter();
      expect(seen, how).to.deep.equal(['first']);
    }
    expect(errors).to.deep.equal([]);
  });

  it('hand what a subscriber throws to the hook, and serve the others', () => {
    const [a, b] = connect();
    const [c, d] = connect();
    const broken = new Error('a driver’s mistake');
    b.subscribe(() => {
      throw broken;
    });
    b.subscribe({
      next: () => {
        throw broken;
      },
    });
    const [beside, other] = [counting(b), counting(d)];
    two.enter();
    a.notify();
    c.notify();
    expect(two.enter()).to.equal(2);
    expect([beside.count, other.count]).to.deep.equal([2, 2]);
    expect(errors).to.deep.equal(new Array(4).fill([broken, b.port]));
  });

  it('work through operators', () => {
    const [a, b] = connect();
    const seen: number[] = [];
    let completed = false;
    b.pipe(
      map(() => seen.length),
      take(2),
    ).subscribe({
      next: (value) => seen.push(value),
      complete: () => {
        completed = true;
      },
    });
    two.enter();
    a.notify();
    two.enter();
    a.notify();
    expect(two.enter()).to.equal(0);
    expect([seen, completed]).to.deep.equal([[0, 1], true]);
  });

  it('deliver at most so many at one entry, and the rest at the next', () => {
    const pairs = [connect(), connect(), connect()];
    const seen = pairs.map(([, b]) => counting(b));
    expect(two.enter(2)).to.equal(2);
    expect(hypervisor.doorbell.hasUpcall(dom2)).to.equal(true);
    expect(two.enter(2)).to.equal(1);
    expect(seen.map(({ count }) => count)).to.deep.equal([1, 1, 1]);
  });

  it('take up a port that the toolstack made for the domain', () => {
    const port = hypervisor.eventChannels.allocUnbound(dom0, dom1, dom0) as Port;
    const store = new HypervisorEventChannels(hypervisor, dom0, () => {}).bindInterdomain(dom1, port);
    store.notify();
    const mine = one.adopt(port);
    expect(one.adopt(port)).to.equal(mine);
    const seen = counting(mine);
    one.enter();
    expect(seen.count).to.equal(1);
  });

  it('throw Xen’s error, with what was asked', () => {
    expect(() => one.bindInterdomain(nobody, 3 as Port))
      .to.throw(XenError, 'EVTCHNOP_bind_interdomain to port 3 of domain 77 by domain 1')
      .with.property('errno', errno.ESRCH);
    expect(() => one.bindInterdomain(dom2, 3 as Port)).to.throw(XenError, 'EINVAL');
    addDomain(hypervisor, 9 as Domid, { maxEventChannels: 1 });
    const small = new HypervisorEventChannels(hypervisor, 9 as Domid, () => {});
    small.allocUnbound(dom1);
    expect(() => small.allocUnbound(dom1)).to.throw(
      XenError,
      'EVTCHNOP_alloc_unbound for domain 1 by domain 9, which has no port free',
    );
  });

  it('end with their domain: nothing they do touches the next of its domid', () => {
    const [a, b] = connect();
    const seen = counting(a);
    hypervisor.destroyDomain(dom0, dom1);
    addDomain(hypervisor, dom1);
    const next = new HypervisorEventChannels(hypervisor, dom1, () => {});
    const port = next.allocUnbound(dom2);
    expect(port.port).to.equal(a.port);
    expect(() => a.notify()).to.throw(XenError);
    expect(() => one.allocUnbound(dom2))
      .to.throw(XenError, 'destroyed')
      .with.property('errno', errno.ESRCH);
    a[Symbol.dispose]();
    seen.stop();
    expect(hypervisor.eventChannels.status(dom1, dom1, port.port)).to.include({ status: 'unbound' });
    expect(one.enter()).to.equal(0);
    b[Symbol.dispose]();
    expect(() => new HypervisorEventChannels(hypervisor, nobody, () => {})).to.throw(RangeError, 'does not exist');
  });

  it('leave nothing in the ledger when all are disposed', () => {
    const pairs = Array.from({ length: 100 }, connect);
    expect([one.open, two.open]).to.deep.equal([100, 100]);
    for (const [a, b] of pairs) {
      b[Symbol.dispose]();
      a[Symbol.dispose]();
    }
    expect(hypervisor.ledger().ports).to.deep.equal({ unbound: 0, interdomain: 0, pirq: 0, virq: 0, ipi: 0 });
    expect([one.open, two.open]).to.deep.equal([0, 0]);
  });
});
