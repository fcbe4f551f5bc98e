import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { Domid, Port } from '../../../core/abi/units.js';
import { blocked, parked } from '../../../core/hypervisor/doorbell.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { connect, deliver, dom1, dom2, dom3, machine, nobody } from './machine.js';
import { preempt } from './preempt.js';

describe('the doorbell', () => {
  let hypervisor: Hypervisor;
  let rung: Domid[];
  let one: Port;

  beforeEach(() => {
    ({ hypervisor, rung } = machine());
    [one] = connect(hypervisor, dom1, dom2);
  });

  it('rings for a parked domain, once, and never for a running one', () => {
    hypervisor.eventChannels.send(dom1, one);
    expect(rung).to.deep.equal([]);
    deliver(hypervisor, dom2);
    expect(hypervisor.doorbell.rest(dom2, parked)).to.equal(true);
    hypervisor.eventChannels.send(dom1, one);
    hypervisor.eventChannels.send(dom1, one);
    expect(rung).to.deep.equal([dom2]);
  });

  it('rings when nothing holds it any more, once for all that was raised meanwhile, and not for who runs by then', () => {
    const { doorbell, eventChannels } = hypervisor;
    const [other] = connect(hypervisor, dom1, dom3);
    for (const domid of [dom2, dom3]) {
      deliver(hypervisor, domid);
      expect(doorbell.rest(domid, parked)).to.equal(true);
    }
    doorbell.hold();
    doorbell.hold();
    eventChannels.send(dom1, one);
    eventChannels.send(dom1, one);
    eventChannels.send(dom1, other);
    doorbell.release();
    expect(rung).to.deep.equal([]);
    expect(doorbell.hasUpcall(dom2)).to.equal(true);
    doorbell.wake(dom3);
    doorbell.release();
    expect(rung).to.deep.equal([dom2]);
    deliver(hypervisor, dom2);
    expect(doorbell.rest(dom2, parked)).to.equal(true);
    eventChannels.send(dom1, one);
    expect(rung).to.deep.equal([dom2, dom2]);
  });

  it('lets no domain rest that has an upcall', () => {
    hypervisor.eventChannels.send(dom1, one);
    expect(hypervisor.doorbell.rest(dom2, parked)).to.equal(false);
    deliver(hypervisor, dom2);
    hypervisor.eventChannels.send(dom1, one);
    expect(rung).to.deep.equal([]);
  });

  it('loses no event, wherever in its last look a domain is overtaken by one', () => {
    for (let at = 0; ; at++) {
      ({ hypervisor, rung } = machine());
      [one] = connect(hypervisor, dom1, dom2);
      let rests = false;
      const overtaken = preempt(
        at,
        () => hypervisor.eventChannels.send(dom1, one),
        () => {
          rests = hypervisor.doorbell.rest(dom2, parked);
        },
      );
      if (!overtaken) {
        expect(at).to.be.above(1);
        break;
      }
      expect(rests && rung.length === 0, `asleep with an event, overtaken at moment ${at}`).to.equal(false);
    }
  });

  it('loses no event while it is held, wherever the domain is on its way to sleep when the event comes, or the hold ends', () => {
    for (const overtaking of ['the event', 'the end of the hold'] as const) {
      for (let at = 0; ; at++) {
        ({ hypervisor, rung } = machine());
        [one] = connect(hypervisor, dom1, dom2);
        const { doorbell, eventChannels } = hypervisor;
        const raise = (): void => void eventChannels.send(dom1, one);
        const release = (): void => doorbell.release();
        const raisesLate = overtaking === 'the event';
        let rests = false;
        doorbell.hold();
        if (!raisesLate) raise();
        const overtaken = preempt(at, raisesLate ? raise : release, () => {
          rests = doorbell.rest(dom2, parked);
        });
        if (!overtaken && raisesLate) raise();
        if (!overtaken || raisesLate) release();
        expect(rests && rung.length === 0, `asleep with an event, overtaken by ${overtaking} at ${at}`).to.equal(false);
        if (overtaken) continue;
        expect(at).to.be.above(1);
        break;
      }
    }
  });

  it('lets a domain rest that has masked its upcalls', () => {
    hypervisor.eventChannels.send(dom1, one);
    hypervisor.memory.bytes[hypervisor.sharedInfo.at(hypervisor.memory.slotOf(dom2)) * 4 + 1] = 1;
    expect(hypervisor.doorbell.rest(dom2, parked)).to.equal(true);
  });

  it('does not let a domain sleep that was kicked between its last look and its sleep', () => {
    const wakes = hypervisor.doorbell.wakes(dom2);
    expect(hypervisor.doorbell.rest(dom2, blocked)).to.equal(true);
    hypervisor.eventChannels.send(dom1, one);
    expect(hypervisor.doorbell.wait(dom2, wakes, 10_000)).to.equal('not-equal');
    expect(rung).to.deep.equal([]);
  });

  it('lets a blocked domain sleep for as long as nothing comes', () => {
    const wakes = hypervisor.doorbell.wakes(dom2);
    expect(hypervisor.doorbell.rest(dom2, blocked)).to.equal(true);
    expect(hypervisor.doorbell.wait(dom2, wakes, 1)).to.equal('timed-out');
    hypervisor.eventChannels.send(dom1, one);
    expect(hypervisor.doorbell.wakes(dom2)).to.equal(wakes);
  });

  it('keeps its state and its counter on 128-byte lines of their own', () => {
    const at = hypervisor.memory.control(hypervisor.memory.slotOf(dom2));
    const before = hypervisor.memory.words.slice(at, at + 96);
    hypervisor.doorbell.rest(dom2, blocked);
    hypervisor.eventChannels.send(dom1, one);
    const changed = [...before.keys()].filter((i) => before[i] !== hypervisor.memory.words[at + i]);
    expect(changed).to.deep.equal([32]);
    hypervisor.doorbell.rest(dom2, blocked);
    deliver(hypervisor, dom2);
    expect((at * 4) % 128).to.equal(0);
  });

  it('loses no event between two threads that sleep whenever they have nothing to do', async () => {
    const [mine, theirs] = connect(hypervisor, dom1, dom3);
    const exits = [
      { domid: dom1, port: mine, begins: true },
      { domid: dom3, port: theirs, begins: false },
    ].map(async (own) => {
      const workerData = { memory: hypervisor.memory.memory, rounds: 20_000, ...own };
      const [code] = await once(new Worker(new URL('./doorbell-worker.js', import.meta.url), { workerData }), 'exit');
      return code;
    });
    expect(await Promise.all(exits)).to.deep.equal([0, 0]);
  });

  it('has nothing to do for a domain that does not exist', () => {
    expect(hypervisor.doorbell.hasUpcall(nobody)).to.equal(false);
    expect(hypervisor.doorbell.wakes(nobody)).to.equal(0);
    expect(hypervisor.doorbell.rest(nobody, parked)).to.equal(true);
    expect(hypervisor.doorbell.wait(nobody, 0)).to.equal('not-equal');
  });
});
