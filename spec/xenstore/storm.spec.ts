import { expect } from 'chai';
import { GuestRing, ringPage } from '../../xenstore/ring-page.js';
import { RawClient } from '../support/raw-client.js';
import { StoreMachine } from '../support/store-machine.js';

describe('the store under a storm of events (XSA-391)', () => {
  const storm = (machine: StoreMachine, events: number, raise: (i: number) => void): number => {
    let tasks = 0;
    for (let i = 0; i < events; i++) {
      raise(i);
      tasks += machine.waiting;
      machine.run();
    }
    return tasks;
  };
  /** Lets the delay pass in which a guest is not heard. */
  const pass = (machine: StoreMachine): void => {
    machine.clock.advance();
    machine.clock.fireDue();
    machine.run();
  };

  it('leaves a guest unheard that has nothing to tell, and serves the others', () => {
    const machine = new StoreMachine();
    const { channel } = machine.boot(5);
    const other = machine.raw(6);
    expect(storm(machine, 1000, () => channel.notify())).to.be.below(4);
    expect(other.do('READ', '/local')).to.equal('EACCES');
  });

  it('hears it again at the end of the delay', () => {
    const machine = new StoreMachine();
    const guest = machine.boot(5);
    storm(machine, 1000, () => guest.channel.notify());
    machine.dom0.do('WRITE', '/shared', 'x');
    machine.dom0.do('SET_PERMS', '/shared', 'n0', 'r5');
    const raw = new RawClient(new GuestRing(guest.page, guest.channel), {
      run: () => {
        machine.run();
        pass(machine);
      },
    });
    expect(raw.do('READ', '/shared')).to.equal('x');
    expect(machine.clock.pending).to.equal(0);
    expect(raw.do('READ', '/shared')).to.equal('x');
  });

  for (const [what, index, base] of [
    ['sent', ringPage.req.prod, 0],
    ['taken', ringPage.rsp.cons, 0],
    ['taken', ringPage.rsp.cons, 2 ** 31],
  ] as const) {
    it(`is not led to believe that something was ${what} by an index that goes back and forth around ${base}`, () => {
      const machine = new StoreMachine();
      const guest = machine.boot(5);
      const tasks = storm(machine, 1000, (i) => {
        guest.setWord(index, base + (i & 1));
        guest.channel.notify();
      });
      expect(tasks).to.be.below(6);
    });
  }

  it('never takes a client for a stormer that asks, and reads answers and events, as fast as it can', () => {
    const machine = new StoreMachine();
    const raw = machine.raw(5);
    machine.dom0.do('WRITE', '/local/domain/5', '');
    machine.dom0.do('SET_PERMS', '/local/domain/5', 'n5');
    raw.do('WATCH', 'a', 'token');
    for (let i = 0; i < 50; i++) raw.all('WRITE', `a/${i}`, 'x'.repeat(i * 20));
    for (let i = 0; i < 200; i++) machine.dom0.do('WRITE', `/local/domain/5/a/b${i}`, 'x');
    expect(raw.events().length).to.be.at.least(200);
    expect(machine.clock.pending).to.equal(0);
  });
});
