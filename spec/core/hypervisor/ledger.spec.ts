import { expect } from 'chai';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { connect, dom1, dom2, dom3, grant, machine, nobody, ok } from './machine.js';

const nothing = {
  ports: { unbound: 0, interdomain: 0, pirq: 0, virq: 0, ipi: 0 },
  refs: 0,
  grants: 0,
  grantsInUse: 0,
  mappings: 0,
  pages: 0,
  heldPages: 0,
};

describe('the ledger', () => {
  let hypervisor: Hypervisor;

  beforeEach(() => {
    ({ hypervisor } = machine());
  });

  it('is empty for a new machine, and for a domain that does not exist', () => {
    expect(hypervisor.ledger()).to.deep.equal(nothing);
    expect(hypervisor.ledger(nobody)).to.deep.equal(nothing);
  });

  it('counts what each domain holds, and all together', () => {
    connect(hypervisor, dom1, dom2);
    ok(hypervisor.eventChannels.allocUnbound(dom2, dom2, dom3));
    const { ref, frame } = grant(hypervisor, dom1, dom2);
    grant(hypervisor, dom1, dom3);
    ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap));
    ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap));
    hypervisor.pages.release(dom1, frame, 1);
    expect(hypervisor.ledger(dom1)).to.deep.equal({
      ...nothing,
      ports: { ...nothing.ports, interdomain: 1 },
      refs: 2,
      grants: 2,
      grantsInUse: 1,
      pages: 1,
      heldPages: 1,
    });
    expect(hypervisor.ledger(dom2)).to.deep.equal({
      ...nothing,
      ports: { ...nothing.ports, interdomain: 1, unbound: 1 },
      mappings: 2,
    });
    expect(hypervisor.ledger(dom3)).to.deep.equal(nothing);
    expect(hypervisor.ledger()).to.deep.equal({
      ports: { ...nothing.ports, interdomain: 2, unbound: 1 },
      refs: 2,
      grants: 2,
      grantsInUse: 1,
      mappings: 2,
      pages: 1,
      heldPages: 1,
    });
  });
});
