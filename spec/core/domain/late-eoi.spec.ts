import { expect } from 'chai';
import type { EventChannel } from '../../../core/domain/event-channels.js';
import { subscribeLateEoi } from '../../../core/domain/late-eoi.js';
import { HypervisorEventChannels } from '../../../platform/hypervisor/event-channels.js';
import { LocalClock } from '../../../platform/local/local-clock.js';
import { dom1, dom2, machine } from '../hypervisor/machine.js';

const EVENTS = 100_000;

describe('a channel that is subscribed with a late EOI (events_base.c xen_irq_lateeoi_locked)', () => {
  let clock: LocalClock;
  let victim: HypervisorEventChannels;
  let rogue: EventChannel;
  let own: EventChannel;
  /** What the ring would have. */
  let work: number;
  let upcalls: number;
  let found: number;
  const handle = (): boolean => {
    upcalls++;
    found += work;
    const any = work > 0;
    work = 0;
    return any;
  };
  /** Raises an event, and enters who is to hear of it. */
  const raise = (): void => {
    rogue.notify();
    victim.enter();
  };
  /** Lets the time until the next timer pass, and says how long it was. */
  const pass = (): number => {
    const before = clock.now();
    clock.advance();
    clock.fireDue();
    victim.enter();
    return clock.now() - before;
  };

  beforeEach(() => {
    const { hypervisor } = machine();
    const fail = (error: unknown): never => {
      throw error;
    };
    clock = new LocalClock(true);
    victim = new HypervisorEventChannels(hypervisor, dom1, fail);
    own = victim.allocUnbound(dom2);
    rogue = new HypervisorEventChannels(hypervisor, dom2, fail).bindInterdomain(dom1, own.port);
    work = upcalls = found = 0;
  });

  it('takes a dozen upcalls of 10^5 spurious events a second (XSA-391, XSA-332)', () => {
    subscribeLateEoi(own, clock, handle);
    for (let i = 0; i < EVENTS; i++) {
      raise();
      if (clock.next !== undefined && clock.next <= (i * 1000) / EVENTS) pass();
    }
    expect(upcalls).to.be.within(10, 12);
  });

  it('stays masked for 1 ms from the second spurious event in a row on, then for twice as long each time, up to a second', () => {
    subscribeLateEoi(own, clock, handle);
    raise();
    expect(clock.pending).to.equal(0);
    const delays: number[] = [];
    for (let i = 0; i < 13; i++) {
      raise();
      raise();
      delays.push(pass());
    }
    expect(delays).to.deep.equal([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000]);
  });

  it('hears at the end of the delay what came meanwhile, once', () => {
    subscribeLateEoi(own, clock, handle);
    raise();
    raise();
    expect(upcalls).to.equal(2);
    work = 3;
    raise();
    raise();
    expect(upcalls).to.equal(2);
    pass();
    expect([upcalls, found]).to.deep.equal([3, 3]);
    expect(clock.pending).to.equal(0);
  });

  it('counts anew after an event that had something behind it', () => {
    subscribeLateEoi(own, clock, handle);
    for (let i = 0; i < 20; i++) {
      raise();
      work = 1;
      raise();
    }
    expect([upcalls, found, clock.pending]).to.deep.equal([40, 20, 0]);
  });

  it('is left for good by who unsubscribes in the delay', () => {
    const subscription = subscribeLateEoi(own, clock, handle);
    raise();
    raise();
    subscription.unsubscribe();
    expect(clock.pending).to.equal(0);
    raise();
    expect(upcalls).to.equal(2);
  });

  it('is left for good by a handler that unsubscribes', () => {
    const subscription = subscribeLateEoi(own, clock, () => {
      if (upcalls === 1) subscription.unsubscribe();
      return handle();
    });
    raise();
    raise();
    raise();
    expect([upcalls, clock.pending]).to.deep.equal([2, 0]);
  });

  it('ends with the channel', () => {
    const subscription = subscribeLateEoi(own, clock, handle);
    raise();
    raise();
    own[Symbol.dispose]();
    pass();
    expect([subscription.closed, clock.pending]).to.deep.equal([true, 0]);
  });
});
