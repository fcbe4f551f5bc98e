// Long, since it has one test for each rule and error of each operation, in the order of event_channel.h.
import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { DOMID_SELF, type Domid, type Port } from '../../../core/abi/units.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { header } from '../../../core/hypervisor/layout.js';
import {
  addDomain,
  connect,
  deliver,
  dom0,
  dom1,
  dom2,
  dom3,
  grant,
  machine,
  nobody,
  ok,
  sharedInfoOf,
} from './machine.js';
import { preempt } from './preempt.js';

const port = (number: number): Port => number as Port;

describe('event-channel operations', () => {
  let hypervisor: Hypervisor;
  let rung: Domid[];
  const calls = () => hypervisor.eventChannels;
  const status = (domid: Domid, of: number) => calls().status(domid, domid, port(of));

  beforeEach(() => {
    ({ hypervisor, rung } = machine());
  });

  describe('alloc_unbound (event_channel.c evtchn_alloc_unbound)', () => {
    it('gives the lowest free port, never port 0', () => {
      expect([1, 2, 3].map(() => calls().allocUnbound(dom1, dom1, dom2))).to.deep.equal([1, 2, 3]);
      expect(calls().close(dom1, port(2))).to.equal(0);
      expect(calls().close(dom1, port(1))).to.equal(0);
      expect([1, 2, 3].map(() => calls().allocUnbound(dom1, dom1, dom2))).to.deep.equal([1, 2, 4]);
    });

    it('does not check that the remote domain exists', () => {
      expect(calls().allocUnbound(dom1, dom1, nobody)).to.equal(1);
      expect(status(dom1, 1)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: nobody });
    });

    it('takes DOMID_SELF for the caller in both places', () => {
      expect(calls().allocUnbound(dom1, DOMID_SELF, DOMID_SELF)).to.equal(1);
      expect(status(dom1, 1)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: dom1 });
    });

    it('answers ESRCH for an unknown domain', () => {
      expect(calls().allocUnbound(dom0, nobody, dom1)).to.equal(-errno.ESRCH);
    });

    it('answers EPERM for another domain without privilege, and lets a privileged one', () => {
      expect(calls().allocUnbound(dom1, dom2, dom1)).to.equal(-errno.EPERM);
      expect(status(dom2, 1)).to.deep.equal({ status: 'closed', vcpu: 0 });
      expect(calls().allocUnbound(dom0, dom2, dom0)).to.equal(1);
      expect(status(dom2, 1)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: dom0 });
    });

    it('answers ENOSPC above the domain’s limit: limit − 1, limit and limit + 1 ports (XSA-317)', () => {
      addDomain(hypervisor, 9 as Domid, { maxEventChannels: 5 });
      const all = [1, 2, 3, 4, 5, 6].map(() => calls().allocUnbound(9 as Domid, 9 as Domid, dom1));
      expect(all).to.deep.equal([1, 2, 3, 4, 5, -errno.ENOSPC]);
      expect(calls().close(9 as Domid, port(3))).to.equal(0);
      expect(calls().allocUnbound(9 as Domid, 9 as Domid, dom1)).to.equal(3);
    });

    it('has 1023 ports by default, the toolstack’s max_event_channels', () => {
      for (let i = 1; i <= 1023; i++) expect(calls().allocUnbound(dom1, dom1, dom2)).to.equal(i);
      expect(calls().allocUnbound(dom1, dom1, dom2)).to.equal(-errno.ENOSPC);
    });

    it('never passes what the ABI can carry: 1024 ports of 32 bits, 4096 of 64 bits (XSA-342)', () => {
      for (const [domid, abi, ports] of [
        [8 as Domid, 'x86_32-abi', 1024],
        [9 as Domid, 'x86_64-abi', 4096],
      ] as const) {
        addDomain(hypervisor, domid, { abi, maxEventChannels: 131071 });
        for (let i = 1; i < ports; i++) expect(calls().allocUnbound(domid, domid, dom1)).to.equal(i);
        expect(calls().allocUnbound(domid, domid, dom1)).to.equal(-errno.ENOSPC);
      }
    });

    it('answers ENOMEM when the port table cannot grow, and nothing else has changed (XSA-47)', () => {
      for (let i = 1; i < 512; i++) ok(calls().allocUnbound(dom1, dom1, dom2));
      while (hypervisor.pages.populate(dom2, dom2, 1) > 0);
      expect(calls().allocUnbound(dom1, dom1, dom2)).to.equal(-errno.ENOMEM);
      expect(hypervisor.ledger(dom1).ports.unbound).to.equal(511);
      expect(calls().close(dom1, port(7))).to.equal(0);
      expect(calls().allocUnbound(dom1, dom1, dom2)).to.equal(7);
    });

    it('answers EINVAL in a domain that is dying', () => {
      const { ref } = grant(hypervisor, dom1, dom2);
      ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap));
      ok(hypervisor.destroyDomain(dom0, dom1));
      expect(calls().allocUnbound(dom0, dom1, dom0)).to.equal(-errno.EINVAL);
    });
  });

  describe('bind_interdomain (evtchn_bind_interdomain)', () => {
    it('touches nothing of the caller that is destroyed before the first event is raised', () => {
      for (let at = 0; ; at++) {
        ({ hypervisor, rung } = machine());
        const theirs = ok<Port>(calls().allocUnbound(dom1, dom1, dom2));
        // Destroying takes the lock, so it can come before the call takes it and after it lets go.
        const destroy = (): void => {
          if (hypervisor.memory.words[header.lock] === 0) hypervisor.destroyDomain(dom0, dom2);
        };
        const tables = (): readonly number[] => [
          ...hypervisor.memory.words.slice(hypervisor.memory.domids, hypervisor.memory.firstSlot),
        ];
        const overtaken = preempt(at, destroy, () => calls().bindInterdomain(dom2, dom1, theirs));
        if (!overtaken) {
          expect(at).to.be.above(3);
          break;
        }
        hypervisor.destroyDomain(dom0, dom2);
        addDomain(hypervisor, dom2);
        hypervisor.destroyDomain(dom0, dom2);
        const left = tables();
        ({ hypervisor, rung } = machine());
        ok(calls().allocUnbound(dom1, dom1, dom2));
        hypervisor.destroyDomain(dom0, dom2);
        expect(left, `destroyed at moment ${at}`).to.deep.equal(tables());
      }
    });

    it('connects the two ports', () => {
      ok(calls().allocUnbound(dom1, dom1, dom2));
      ok(calls().allocUnbound(dom1, dom1, dom2));
      expect(calls().bindInterdomain(dom2, dom1, port(2))).to.equal(1);
      expect(status(dom1, 2)).to.deep.equal({ status: 'interdomain', vcpu: 0, dom: dom2, port: 1 });
      expect(status(dom2, 1)).to.deep.equal({ status: 'interdomain', vcpu: 0, dom: dom1, port: 2 });
    });

    it('always sets the new port pending and rings for its domain, for an event sent before is lost', () => {
      const unbound = ok<Port>(calls().allocUnbound(dom1, dom1, dom2));
      expect(calls().send(dom1, unbound)).to.equal(0);
      expect(hypervisor.doorbell.rest(dom2, parked)).to.equal(true);
      const bound = ok<Port>(calls().bindInterdomain(dom2, dom1, unbound));
      expect(rung).to.deep.equal([dom2]);
      expect(deliver(hypervisor, dom2)).to.deep.equal([bound]);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });

    it('loops back with DOMID_SELF', () => {
      ok(calls().allocUnbound(dom1, dom1, DOMID_SELF));
      expect(calls().bindInterdomain(dom1, DOMID_SELF, port(1))).to.equal(2);
      expect(deliver(hypervisor, dom1)).to.deep.equal([2]);
      expect(calls().send(dom1, port(2))).to.equal(0);
      expect(deliver(hypervisor, dom1)).to.deep.equal([1]);
      expect(calls().close(dom1, port(1))).to.equal(0);
      expect(status(dom1, 2)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: dom1 });
    });

    it('answers ESRCH for an unknown domain', () => {
      expect(calls().bindInterdomain(dom1, nobody, port(1))).to.equal(-errno.ESRCH);
    });

    it('answers EINVAL alike for a port out of range, not unbound, or reserved for another', () => {
      ok(calls().allocUnbound(dom1, dom1, dom3));
      connect(hypervisor, dom1, dom2);
      for (const remote of [0, 1, 2, 3, 63, 64, 4096, 0xffffffff]) {
        expect(calls().bindInterdomain(dom2, dom1, port(remote)), `port ${remote}`).to.equal(-errno.EINVAL);
      }
      expect(hypervisor.ledger(dom2).ports).to.include({ unbound: 0, interdomain: 1 });
    });

    it('answers ENOSPC for a full table before it looks at the remote', () => {
      addDomain(hypervisor, 9 as Domid, { maxEventChannels: 1 });
      ok(calls().allocUnbound(9 as Domid, 9 as Domid, dom1));
      expect(calls().bindInterdomain(9 as Domid, dom1, port(0))).to.equal(-errno.ENOSPC);
      expect(calls().bindInterdomain(9 as Domid, nobody, port(0))).to.equal(-errno.ESRCH);
    });

    it('has no effect at all when it fails (XSA-496)', () => {
      ok(calls().allocUnbound(dom1, dom1, dom3));
      const before = hypervisor.memory.words.slice();
      expect(calls().bindInterdomain(dom2, dom1, port(1))).to.equal(-errno.EINVAL);
      expect(changes(before, hypervisor.memory.words)).to.deep.equal([]);
    });
  });

  describe('close (evtchn_close)', () => {
    it('leaves the peer waiting for the closer, who can bind again', () => {
      const [one, two] = connect(hypervisor, dom1, dom2);
      expect(calls().close(dom2, two)).to.equal(0);
      expect(status(dom1, one)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: dom2 });
      expect(status(dom2, two)).to.deep.equal({ status: 'closed', vcpu: 0 });
      expect(calls().bindInterdomain(dom3, dom1, one)).to.equal(-errno.EINVAL);
      expect(calls().bindInterdomain(dom2, dom1, one)).to.equal(two);
    });

    it('does not tell the peer', () => {
      const [, two] = connect(hypervisor, dom1, dom2);
      hypervisor.doorbell.rest(dom1, parked);
      calls().close(dom2, two);
      expect(rung).to.deep.equal([]);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });

    it('clears PENDING and leaves MASK alone, so a port used again has its old mask (evtchn_free)', () => {
      const [one, two] = connect(hypervisor, dom1, dom2);
      calls().mask(dom1, one);
      calls().send(dom2, two);
      expect(sharedInfoOf(hypervisor, dom1)[512]).to.equal(1 << one);
      calls().close(dom1, one);
      expect(sharedInfoOf(hypervisor, dom1)[512]).to.equal(0);
      expect(sharedInfoOf(hypervisor, dom1)[640]).to.equal(1 << one);
    });

    it('answers EINVAL for a free port, port 0, one out of range and one closed already', () => {
      const [one] = connect(hypervisor, dom1, dom2);
      expect(calls().close(dom1, one)).to.equal(0);
      for (const bad of [one, 0, 5, 64, 4096, 0xffffffff]) {
        expect(calls().close(dom1, port(bad)), `port ${bad}`).to.equal(-errno.EINVAL);
      }
    });
  });

  describe('send (evtchn_send)', () => {
    it('raises the event at the other end, and rings for it once it sleeps', () => {
      const [one, two] = connect(hypervisor, dom1, dom2);
      hypervisor.doorbell.rest(dom2, parked);
      expect(calls().send(dom1, one)).to.equal(0);
      expect(rung).to.deep.equal([dom2]);
      expect(deliver(hypervisor, dom2)).to.deep.equal([two]);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });

    it('succeeds on an unbound port and loses the event', () => {
      const unbound = ok<Port>(calls().allocUnbound(dom1, dom1, dom2));
      expect(calls().send(dom1, unbound)).to.equal(0);
      expect(calls().send(dom2, ok<Port>(calls().bindInterdomain(dom2, dom1, unbound)))).to.equal(0);
      expect(deliver(hypervisor, dom1)).to.deep.equal([unbound]);
    });

    it('answers EINVAL for a free port, port 0 and one out of range', () => {
      for (const bad of [0, 1, 63, 64, 4096, 0xffffffff]) {
        expect(calls().send(dom1, port(bad)), `port ${bad}`).to.equal(-errno.EINVAL);
      }
    });

    it('coalesces: two sends before the guest looks are one event', () => {
      const [one, two] = connect(hypervisor, dom1, dom2);
      calls().send(dom1, one);
      calls().send(dom1, one);
      expect(deliver(hypervisor, dom2)).to.deep.equal([two]);
      expect(deliver(hypervisor, dom2)).to.deep.equal([]);
    });
  });

  describe('status (evtchn_status)', () => {
    it('reports free and reserved ports as closed', () => {
      expect(status(dom1, 0)).to.deep.equal({ status: 'closed', vcpu: 0 });
      expect(status(dom1, 1)).to.deep.equal({ status: 'closed', vcpu: 0 });
    });

    it('answers ESRCH, EINVAL out of range, and EPERM without privilege, in this order', () => {
      expect(calls().status(dom1, nobody, port(1))).to.equal(-errno.ESRCH);
      expect(calls().status(dom1, dom2, port(64))).to.equal(-errno.EINVAL);
      expect(calls().status(dom1, dom2, port(1))).to.equal(-errno.EPERM);
      expect(calls().status(dom0, dom2, port(1))).to.deep.equal({ status: 'closed', vcpu: 0 });
      expect(calls().status(dom2, DOMID_SELF, port(1))).to.deep.equal({ status: 'closed', vcpu: 0 });
    });

    it('grows its range by 64 ports, Xen’s bucket', () => {
      expect(status(dom1, 63)).to.deep.equal({ status: 'closed', vcpu: 0 });
      expect(status(dom1, 64)).to.equal(-errno.EINVAL);
      for (let i = 1; i <= 64; i++) ok(calls().allocUnbound(dom1, dom1, dom2));
      expect(status(dom1, 127)).to.deep.equal({ status: 'closed', vcpu: 0 });
      expect(status(dom1, 128)).to.equal(-errno.EINVAL);
    });
  });

  describe('unmask (evtchn_unmask)', () => {
    it('loses no event, wherever it is overtaken by one', () => {
      for (let at = 0; ; at++) {
        ({ hypervisor, rung } = machine());
        const [one, two] = connect(hypervisor, dom1, dom2);
        calls().mask(dom2, two);
        const overtaken = preempt(
          at,
          () => ok(calls().send(dom1, one)),
          () => calls().unmask(dom2, two),
        );
        if (!overtaken) {
          expect(at).to.be.above(1);
          break;
        }
        expect(hypervisor.doorbell.hasUpcall(dom2), `overtaken at moment ${at}`).to.equal(true);
        expect(deliver(hypervisor, dom2)).to.deep.equal([two]);
      }
    });

    it('raises again what came while the port was masked', () => {
      const [one, two] = connect(hypervisor, dom1, dom2);
      calls().mask(dom2, two);
      hypervisor.doorbell.rest(dom2, parked);
      calls().send(dom1, one);
      expect(rung).to.deep.equal([]);
      expect(deliver(hypervisor, dom2)).to.deep.equal([]);
      expect(calls().unmask(dom2, two)).to.equal(0);
      expect(rung).to.deep.equal([dom2]);
      expect(deliver(hypervisor, dom2)).to.deep.equal([two]);
    });

    it('raises nothing for a port that was not masked', () => {
      const [one, two] = connect(hypervisor, dom1, dom2);
      calls().send(dom1, one);
      const info = sharedInfoOf(hypervisor, dom2);
      info[0] = 0;
      info[2] = 0;
      expect(calls().unmask(dom2, two)).to.equal(0);
      expect([info[0], info[2]]).to.deep.equal([0, 0]);
    });

    it('succeeds on a free port, which it leaves as it is (evtchn_usable), and answers EINVAL only out of range', () => {
      for (const free of [0, 63]) {
        calls().mask(dom1, port(free));
        expect(calls().unmask(dom1, port(free))).to.equal(0);
        const { sharedInfo, memory } = hypervisor;
        expect(sharedInfo.isMasked(sharedInfo.at(memory.slotOf(dom1)), false, free), `port ${free}`).to.equal(true);
      }
      for (const bad of [64, 4096, 0xffffffff]) expect(calls().unmask(dom1, port(bad))).to.equal(-errno.EINVAL);
    });

    it('is what a guest needs: clearing the mask bit itself brings no upcall', () => {
      const [one, two] = connect(hypervisor, dom1, dom2);
      calls().mask(dom2, two);
      calls().send(dom1, one);
      sharedInfoOf(hypervisor, dom2)[640] = 0;
      expect(hypervisor.doorbell.hasUpcall(dom2)).to.equal(false);
      expect(deliver(hypervisor, dom2)).to.deep.equal([]);
    });
  });

  describe('raising (evtchn_2l_set_pending, in this order)', () => {
    for (const { abi, mask, selector } of [
      { abi: 'x86_64-abi', mask: 640, selector: 2 },
      { abi: 'x86_32-abi', mask: 544, selector: 1 },
    ] as const) {
      describe(abi, () => {
        let one: Port;
        let info: Int32Array;

        beforeEach(() => {
          ({ hypervisor, rung } = machine({ abi }));
          one = connect(hypervisor, dom1, dom2)[0];
          info = sharedInfoOf(hypervisor, dom2);
        });

        it('sets PENDING, the selector and upcall_pending at Xen’s offsets, and kicks', () => {
          hypervisor.doorbell.rest(dom2, parked);
          calls().send(dom1, one);
          expect([info[512], info[selector], info[0]]).to.deep.equal([2, 1, 1]);
          expect(rung).to.deep.equal([dom2]);
        });

        it('stops at once when PENDING is set already', () => {
          info[512] = 2;
          calls().send(dom1, one);
          expect([info[selector], info[0]]).to.deep.equal([0, 0]);
        });

        it('sets PENDING only, while MASK is set', () => {
          info[mask] = 2;
          calls().send(dom1, one);
          expect([info[512], info[selector], info[0]]).to.deep.equal([2, 0, 0]);
        });

        it('marks no vCPU when the selector bit is set already', () => {
          info[selector] = 1;
          calls().send(dom1, one);
          expect([info[512], info[0]]).to.deep.equal([2, 0]);
        });

        it('does not kick when upcall_pending is set already, and leaves upcall_mask alone', () => {
          hypervisor.doorbell.rest(dom2, parked);
          info[0] = 0x0101;
          calls().send(dom1, one);
          expect(info[0]).to.equal(0x0101);
          expect(rung).to.deep.equal([]);
        });

        it('finds the last port of the table', () => {
          const last = abi === 'x86_32-abi' ? 1023 : 4095;
          addDomain(hypervisor, 9 as Domid, { abi, maxEventChannels: 4095 });
          for (let i = 1; i <= last; i++) ok(calls().allocUnbound(9 as Domid, 9 as Domid, dom1));
          const bound = ok<Port>(calls().bindInterdomain(dom1, 9 as Domid, port(last)));
          calls().send(dom1, bound);
          const words = sharedInfoOf(hypervisor, 9 as Domid);
          expect(words[512 + (last >>> 5)]).to.equal(1 << 31);
          expect(words[abi === 'x86_32-abi' ? 1 : 3]).to.equal(1 << 31);
          expect(deliver(hypervisor, 9 as Domid)).to.deep.equal([last]);
        });
      });
    }
  });

  it('refuses every call of a domain that does not exist', () => {
    expect(calls().allocUnbound(nobody, DOMID_SELF, dom1)).to.equal(-errno.ESRCH);
    expect(calls().bindInterdomain(nobody, dom1, port(1))).to.equal(-errno.ESRCH);
    expect(calls().close(nobody, port(1))).to.equal(-errno.ESRCH);
    expect(calls().send(nobody, port(1))).to.equal(-errno.ESRCH);
    expect(calls().unmask(nobody, port(1))).to.equal(-errno.ESRCH);
    expect(calls().status(nobody, dom1, port(1))).to.equal(-errno.ESRCH);
    expect(calls().send(DOMID_XEN, port(1))).to.equal(-errno.ESRCH);
    expect(calls().send(0x12345 as Domid, port(1))).to.equal(-errno.ESRCH);
  });
});

const changes = (before: Int32Array, after: Int32Array): readonly number[] => {
  const at: number[] = [];
  before.forEach((word, i) => {
    if (word !== after[i]) at.push(i);
  });
  return at;
};
