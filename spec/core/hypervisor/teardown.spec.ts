import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef, type Port } from '../../../core/abi/units.js';
import { virq } from '../../../core/abi/virq.js';
import { gntcopy } from '../../../core/hypervisor/grant-copy.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { addDomain, bytesOf, connect, deliver, dom0, dom1, dom2, dom3, grant, machine, nobody, ok } from './machine.js';

const { hostMap } = gntmap;

describe('the end of a domain (domain.c domain_kill)', () => {
  let hypervisor: Hypervisor;

  beforeEach(() => {
    ({ hypervisor } = machine());
  });

  it('is brought about by a privileged domain, never by itself', () => {
    expect(hypervisor.destroyDomain(dom1, dom2)).to.equal(-errno.EPERM);
    expect(hypervisor.destroyDomain(dom0, dom0)).to.equal(-errno.EINVAL);
    expect(hypervisor.destroyDomain(dom0, nobody)).to.equal(-errno.ESRCH);
    expect(hypervisor.destroyDomain(dom0, dom1)).to.equal(0);
    expect(hypervisor.destroyDomain(dom0, dom1)).to.equal(-errno.ESRCH);
  });

  it('is told by VIRQ_DOM_EXC to who owns that, once, for a zombie too', () => {
    const told = ok<Port>(hypervisor.virqs.bind(dom0, virq.domExc, 0));
    hypervisor.destroyDomain(dom1, dom2);
    expect(deliver(hypervisor, dom0)).to.deep.equal([]);
    hypervisor.destroyDomain(dom0, dom1);
    expect(deliver(hypervisor, dom0)).to.deep.equal([told]);
    const { ref } = grant(hypervisor, dom2, dom3);
    ok(hypervisor.grantMap.map(dom3, dom2, ref, hostMap));
    hypervisor.destroyDomain(dom0, dom2);
    expect(hypervisor.domains.lifeOf(dom2)).to.equal('zombie');
    expect(deliver(hypervisor, dom0)).to.deep.equal([told]);
    expect(hypervisor.destroyDomain(dom0, dom2)).to.equal(0);
    expect(deliver(hypervisor, dom0)).to.deep.equal([]);
  });

  it('closes its channels: peers wait for its domid, untold, and a new domain of that domid can bind', () => {
    const [one, two] = connect(hypervisor, dom1, dom2);
    connect(hypervisor, dom3, dom1);
    hypervisor.destroyDomain(dom0, dom1);
    expect(hypervisor.eventChannels.status(dom2, dom2, two)).to.deep.equal({ status: 'unbound', vcpu: 0, dom: dom1 });
    expect(deliver(hypervisor, dom2)).to.deep.equal([]);
    expect(hypervisor.eventChannels.send(dom2, two)).to.equal(0);
    expect(hypervisor.eventChannels.bindInterdomain(dom2, dom1, one)).to.equal(-errno.ESRCH);
    addDomain(hypervisor, dom1);
    expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    const bound = ok<Port>(hypervisor.eventChannels.bindInterdomain(dom1, dom2, two));
    expect(deliver(hypervisor, dom1)).to.deep.equal([bound]);
  });

  it('ends its mappings, so granters can take their pages back', () => {
    const { ref } = grant(hypervisor, dom1, dom2);
    ok(hypervisor.grantMap.map(dom2, dom1, ref, hostMap));
    ok(hypervisor.grantMap.map(dom2, dom1, ref, hostMap | gntmap.deviceMap | gntmap.readonly));
    expect(hypervisor.grantEntries.endAccess(dom1, ref)).to.equal(false);
    hypervisor.destroyDomain(dom0, dom2);
    expect(hypervisor.grantEntries.endAccess(dom1, ref)).to.equal(true);
    expect(hypervisor.ledger()).to.include({ mappings: 0, grantsInUse: 0 });
  });

  it('keeps pages that others map, and only those, until the last mapping is gone: a zombie', () => {
    const kept = grant(hypervisor, dom1, dom2);
    const free = hypervisor.frames.freeCount;
    grant(hypervisor, dom1, dom2);
    const handles = [1, 2].map(() => ok(hypervisor.grantMap.map(dom2, dom1, kept.ref, hostMap)));
    bytesOf(hypervisor, kept.frame)[9] = 9;
    hypervisor.destroyDomain(dom0, dom1);
    expect(hypervisor.domains.lifeOf(dom1)).to.equal('zombie');
    expect(hypervisor.ledger(dom1)).to.include({ pages: 0, heldPages: 1, grants: 0 });
    expect(hypervisor.domains.create(dom0, { domid: dom1 })).to.equal(-errno.EEXIST);
    expect(hypervisor.destroyDomain(dom0, dom1)).to.equal(0);
    expect(bytesOf(hypervisor, kept.frame)[9]).to.equal(9);
    ok(hypervisor.grantMap.unmap(dom2, handles[0] as number, kept.frame * 4096, 0));
    expect(hypervisor.domains.lifeOf(dom1)).to.equal('zombie');
    ok(hypervisor.grantMap.unmap(dom2, handles[1] as number, kept.frame * 4096, 0));
    expect(hypervisor.domains.lifeOf(dom1)).to.equal('none');
    addDomain(hypervisor, dom1);
    // One page less than before, and the mapper's maptrack frame.
    expect(hypervisor.frames.freeCount).to.equal(free);
  });

  it('lets a zombie go when its last mapper is destroyed too', () => {
    const { ref } = grant(hypervisor, dom1, dom2);
    ok(hypervisor.grantMap.map(dom2, dom1, ref, hostMap));
    hypervisor.destroyDomain(dom0, dom1);
    hypervisor.destroyDomain(dom0, dom2);
    expect(hypervisor.domains.lifeOf(dom1)).to.equal('none');
    expect(hypervisor.domains.lifeOf(dom2)).to.equal('none');
  });

  it('voids its grants: nothing more can be mapped from a zombie, nor copied', () => {
    const mapped = grant(hypervisor, dom1, dom2);
    const other = grant(hypervisor, dom1, dom2);
    ok(hypervisor.grantMap.map(dom2, dom1, mapped.ref, hostMap | gntmap.readonly));
    hypervisor.destroyDomain(dom0, dom1);
    expect(hypervisor.grantMap.map(dom2, dom1, other.ref, hostMap)).to.equal(gntst.general_error);
    expect(hypervisor.grantMap.map(dom3, dom1, mapped.ref, hostMap)).to.equal(gntst.general_error);
    const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    const copy = (ref: GrantRef) =>
      hypervisor.grantCopy.copy(dom2, dom1, ref, 0, DOMID_SELF, own, 0, 1, gntcopy.sourceGref);
    expect(copy(other.ref)).to.equal(gntst.general_error);
    expect(copy(mapped.ref)).to.equal(gntst.bad_domain);
  });

  it('leaves a zombie that makes no more calls', () => {
    const kept = grant(hypervisor, dom1, dom2);
    const theirs = grant(hypervisor, dom2, dom1);
    ok(hypervisor.grantMap.map(dom2, dom1, kept.ref, hostMap));
    const own = ok(hypervisor.pages.populate(dom1, dom1, 1));
    const waiting = ok<Port>(hypervisor.eventChannels.allocUnbound(dom2, dom2, dom1));
    hypervisor.destroyDomain(dom0, dom1);
    expect(hypervisor.domains.lifeOf(dom1)).to.equal('zombie');
    expect(hypervisor.domains.incarnation(dom1)).to.equal(0);
    const { eventChannels, grantMap, grantCopy, grantEntries, pages } = hypervisor;
    expect(eventChannels.allocUnbound(dom1, dom1, dom2)).to.equal(-errno.ESRCH);
    expect(eventChannels.bindInterdomain(dom1, dom2, waiting)).to.equal(-errno.ESRCH);
    expect(grantMap.map(dom1, dom2, theirs.ref, hostMap)).to.equal(gntst.bad_domain);
    expect(grantCopy.copy(dom1, dom2, theirs.ref, 0, dom2, theirs.ref, 0, 1, 3)).to.equal(gntst.bad_domain);
    expect(grantEntries.setupTable(dom1, dom1, 2)).to.equal(gntst.bad_domain);
    expect(grantEntries.allocRef(dom1)).to.equal(-errno.ESRCH);
    expect(pages.populate(dom1, dom1, 1)).to.be.below(0);
    expect(pages.release(dom1, own, 1)).to.equal(-errno.ESRCH);
    expect(hypervisor.ledger(dom1)).to.include({ mappings: 0, pages: 0, refs: 0, grants: 0, heldPages: 1 });
  });

  it('takes a domain that maps its own pages, and two that map each other’s', () => {
    const own = grant(hypervisor, dom1, dom1);
    ok(hypervisor.grantMap.map(dom1, dom1, own.ref, hostMap));
    hypervisor.destroyDomain(dom0, dom1);
    expect(hypervisor.domains.lifeOf(dom1)).to.equal('none');
    const [a, b] = [grant(hypervisor, dom2, dom3), grant(hypervisor, dom3, dom2)];
    ok(hypervisor.grantMap.map(dom3, dom2, a.ref, hostMap));
    ok(hypervisor.grantMap.map(dom2, dom3, b.ref, hostMap));
    hypervisor.destroyDomain(dom0, dom2);
    expect(hypervisor.domains.lifeOf(dom2)).to.equal('zombie');
    hypervisor.destroyDomain(dom0, dom3);
    expect(hypervisor.domains.lifeOf(dom2)).to.equal('none');
    expect(hypervisor.domains.lifeOf(dom3)).to.equal('none');
    expect(hypervisor.ledger()).to.include({ mappings: 0, pages: 0, heldPages: 0 });
  });

  it('leaves the machine as it was, in any number of rounds', () => {
    const free = hypervisor.frames.freeCount;
    for (let round = 0; round < 10; round++) {
      addDomain(hypervisor, nobody);
      connect(hypervisor, nobody, dom1);
      const { ref } = grant(hypervisor, nobody, dom1);
      const handle = ok(hypervisor.grantMap.map(dom1, nobody, ref, hostMap));
      hypervisor.destroyDomain(dom0, nobody);
      ok(hypervisor.grantMap.unmap(dom1, handle, hypervisor.grantMap.frameOf(dom1, handle) * 4096, 0));
    }
    // Domain 1 has taken one frame for its maptrack entries, and one of its ports waits for each round.
    expect(hypervisor.frames.freeCount).to.equal(free - 1);
    expect(hypervisor.ledger().ports).to.include({ unbound: 10, interdomain: 0 });
  });
  describe('whose own thread still runs', () => {
    const domU = 9 as Domid;
    let theirs: ReturnType<typeof grant>;
    let ours: ReturnType<typeof grant>;

    beforeEach(() => {
      addDomain(hypervisor, domU, { ownThread: true });
      theirs = grant(hypervisor, dom2, domU);
      ours = grant(hypervisor, domU, dom2);
      ok(hypervisor.grantMap.map(domU, dom2, theirs.ref, hostMap));
    });

    const recover = () => hypervisor.recover(dom0, domU);

    it('ends its calls and its channels at once, and lets nobody map its pages any more', () => {
      const [own, port] = connect(hypervisor, domU, dom2);
      ok(hypervisor.destroyDomain(dom0, domU));
      expect(hypervisor.eventChannels.send(domU, own)).to.equal(-errno.ESRCH);
      expect(hypervisor.domains.incarnation(domU)).to.equal(0);
      expect(hypervisor.eventChannels.status(dom2, dom2, port)).to.deep.include({ status: 'unbound', dom: domU });
      expect(hypervisor.grantMap.map(dom2, domU, ours.ref, hostMap)).to.equal(gntst.general_error);
    });

    it('lets it keep its pages and those that it maps until that ends, for a thread cannot be paused', () => {
      ok(hypervisor.destroyDomain(dom0, domU));
      expect(hypervisor.domains.lifeOf(domU)).to.equal('zombie');
      expect(hypervisor.frames.isPage(ours.frame, domU)).to.equal(true);
      expect(hypervisor.grantEntries.endAccess(dom2, theirs.ref)).to.equal(false);
      expect(recover()).to.deep.equal([]);
      expect(hypervisor.domains.lifeOf(domU)).to.equal('none');
      expect(hypervisor.grantEntries.endAccess(dom2, theirs.ref)).to.equal(true);
      expect(hypervisor.ledger(domU)).to.include({ pages: 0, mappings: 0, refs: 0, grants: 0 });
    });

    it('gives its domid to nobody else until then: the thread’s late calls would be the new domain’s', () => {
      ok(hypervisor.destroyDomain(dom0, domU));
      expect(hypervisor.domains.create(dom0, { domid: domU })).to.equal(-errno.EEXIST);
      recover();
      addDomain(hypervisor, domU);
    });

    it('keeps its slot when others let go of its last page', () => {
      const handle = ok(hypervisor.grantMap.map(dom2, domU, ours.ref, hostMap));
      ok(hypervisor.pages.release(domU, ours.frame, 1));
      ok(hypervisor.destroyDomain(dom0, domU));
      ok(hypervisor.grantMap.unmap(dom2, handle, ours.frame * 4096, 0));
      expect(hypervisor.domains.lifeOf(domU)).to.equal('zombie');
      recover();
      expect(hypervisor.domains.lifeOf(domU)).to.equal('none');
    });

    it('leaves it a zombie after that for as long as others map its pages, as ever', () => {
      const handle = ok(hypervisor.grantMap.map(dom2, domU, ours.ref, hostMap));
      ok(hypervisor.destroyDomain(dom0, domU));
      recover();
      expect(hypervisor.domains.lifeOf(domU)).to.equal('zombie');
      expect(hypervisor.ledger(domU)).to.include({ pages: 0, heldPages: 1 });
      ok(hypervisor.grantMap.unmap(dom2, handle, ours.frame * 4096, 0));
      expect(hypervisor.domains.lifeOf(domU)).to.equal('none');
    });

    it('waits for nothing when its thread ended first', () => {
      recover();
      expect(hypervisor.domains.lifeOf(domU)).to.equal('alive');
      ok(hypervisor.destroyDomain(dom0, domU));
      expect(hypervisor.domains.lifeOf(domU)).to.equal('none');
    });

    it('lets that thread give its references back without an error', () => {
      ok(hypervisor.destroyDomain(dom0, domU));
      expect(hypervisor.grantEntries.endAccess(domU, ours.ref)).to.equal(true);
      hypervisor.grantEntries.freeRef(domU, ours.ref);
    });
  });
});
