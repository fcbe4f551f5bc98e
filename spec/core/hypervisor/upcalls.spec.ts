import { expect } from 'chai';
import type { Domid, Port } from '../../../core/abi/units.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { vcpuWord } from '../../../core/hypervisor/layout.js';
import { addDomain, connect, deliver, dom1, dom2, machine, ok, sharedInfoOf } from './machine.js';
import { preempt } from './preempt.js';

for (const abi of ['x86_64-abi', 'x86_32-abi'] as const) {
  describe(`the guest’s scan for events (event_2l.c, evtchn_2l_handle_events), ${abi}`, () => {
    let hypervisor: Hypervisor;
    /** Ports 1 … of domain 1, each with the port of domain 2 that raises it. */
    let senders: Port[];
    const raise = (...ports: readonly number[]): void => {
      for (const port of ports) ok(hypervisor.eventChannels.send(dom2, senders[port] as Port));
    };

    const prepare = (count: number): void => {
      senders = [0 as Port];
      for (let i = 0; i < count; i++) senders.push(connect(hypervisor, dom1, dom2)[1]);
      // Each test starts at the first port.
      raise(count);
      deliver(hypervisor, dom1);
      hypervisor.memory.words[hypervisor.vcpus.word(hypervisor.memory.slotOf(dom1), 0) + vcpuWord.scanNext] = 0;
    };

    beforeEach(() => {
      ({ hypervisor } = machine({ abi }));
    });

    it('delivers what is pending and not masked, once each, lowest port first', () => {
      prepare(300);
      raise(299, 3, 64, 65, 130, 31, 32, 1);
      hypervisor.eventChannels.mask(dom1, 65 as Port);
      expect(deliver(hypervisor, dom1)).to.deep.equal([1, 3, 31, 32, 64, 130, 299]);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });

    it('loses no event, wherever it is overtaken by one', () => {
      for (let at = 0; ; at++) {
        ({ hypervisor } = machine({ abi }));
        // In another word of the selector than the one that is scanned.
        prepare(70);
        raise(2);
        const seen: number[] = [];
        const overtaken = preempt(
          at,
          () => raise(70),
          () => hypervisor.upcalls.scan(dom1, (port) => seen.push(port)),
        );
        if (!overtaken) {
          expect(at).to.be.above(3);
          break;
        }
        if (hypervisor.doorbell.hasUpcall(dom1)) seen.push(...deliver(hypervisor, dom1));
        expect(seen, `overtaken at moment ${at}`).to.have.members([2, 70]);
      }
    });

    it('clears upcall_pending first: an event that a handler raises brings the next upcall', () => {
      prepare(4);
      raise(2);
      const seen: number[] = [];
      hypervisor.upcalls.scan(dom1, (port) => {
        seen.push(port);
        if (seen.length === 1) raise(2);
      });
      expect(seen).to.deep.equal([2]);
      expect(hypervisor.doorbell.hasUpcall(dom1)).to.equal(true);
      expect(deliver(hypervisor, dom1)).to.deep.equal([2]);
    });

    it('keeps evtchn_upcall_mask, which is the guest’s', () => {
      prepare(1);
      const info = sharedInfoOf(hypervisor, dom1);
      info[0] = 0x0100;
      raise(1);
      expect(hypervisor.doorbell.hasUpcall(dom1)).to.equal(false);
      deliver(hypervisor, dom1);
      expect(info[0]).to.equal(0x0100);
    });

    it('lets a handler close its own port and others (XSA-331)', () => {
      prepare(5);
      raise(1, 2, 3, 4);
      const seen: number[] = [];
      hypervisor.upcalls.scan(dom1, (port) => {
        seen.push(port);
        if (port !== 1) return;
        for (const other of [1, 3]) ok(hypervisor.eventChannels.close(dom1, other as Port));
      });
      expect(seen).to.deep.equal([1, 2, 4]);
    });

    it('keeps an event of a port that an earlier handler masked', () => {
      prepare(4);
      raise(1, 3);
      const seen: number[] = [];
      hypervisor.upcalls.scan(dom1, (port) => {
        seen.push(port);
        hypervisor.eventChannels.mask(dom1, 3 as Port);
      });
      expect(seen).to.deep.equal([1]);
      hypervisor.eventChannels.unmask(dom1, 3 as Port);
      expect(deliver(hypervisor, dom1)).to.deep.equal([3]);
    });

    it('delivers no more than its limit and keeps the rest, with the upcall', () => {
      prepare(200);
      raise(1, 2, 70, 71, 140, 199);
      expect(deliver(hypervisor, dom1, 3)).to.deep.equal([1, 2, 70]);
      expect(hypervisor.doorbell.hasUpcall(dom1)).to.equal(true);
      expect(deliver(hypervisor, dom1, 2)).to.deep.equal([71, 140]);
      expect(deliver(hypervisor, dom1)).to.deep.equal([199]);
      expect(hypervisor.doorbell.hasUpcall(dom1)).to.equal(false);
    });

    it('begins after the last port served, so a storm on one port starves none (XSA-391, XSA-332)', () => {
      prepare(130);
      raise(1, 2, 129);
      const order: number[] = [];
      for (let round = 0; round < 6; round++) {
        order.push(...deliver(hypervisor, dom1, 1));
        raise(1);
      }
      expect(order.slice(0, 4)).to.deep.equal([1, 2, 129, 1]);
    });

    it('looks at the word it began in the middle of again, at the end', () => {
      prepare(40);
      raise(20);
      expect(deliver(hypervisor, dom1)).to.deep.equal([20]);
      raise(5, 25, 39);
      const order = deliver(hypervisor, dom1);
      expect(order).to.deep.equal([25, 39, 5]);
    });

    it('finds nothing for a selector bit without a pending port', () => {
      prepare(1);
      const info = sharedInfoOf(hypervisor, dom1);
      info[0] = 1;
      info[abi === 'x86_32-abi' ? 1 : 2] = -1;
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
      expect(hypervisor.doorbell.hasUpcall(dom1)).to.equal(false);
    });
  });
}

describe('a domain with all 4095 ports', () => {
  it('gets each event once, in both halves of the selector', () => {
    const { hypervisor } = machine();
    const all = 9 as Domid;
    const sender = 10 as Domid;
    for (const domid of [all, sender]) addDomain(hypervisor, domid, { maxEventChannels: 4095 });
    const ports = Array.from({ length: 4095 }, () => connect(hypervisor, all, sender));
    for (const [, sending] of ports) hypervisor.eventChannels.send(sender, sending);
    const seen = deliver(hypervisor, all);
    expect([...seen].sort((a, b) => a - b)).to.deep.equal(ports.map(([port]) => port));
  });
});
