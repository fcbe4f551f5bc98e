import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF } from '../../../core/abi/units.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { expectSound } from './invariants.js';
import { addDomain, bytesOf, dom0, dom1, dom2, dom3, grant, machine, nobody, ok } from './machine.js';

describe('a domain’s pages', () => {
  let hypervisor: Hypervisor;

  beforeEach(() => {
    ({ hypervisor } = machine());
  });

  it('come zeroed, also those that another domain had before (XSA-403)', () => {
    const first = ok(hypervisor.pages.populate(dom1, DOMID_SELF, 4));
    for (let i = 0; i < 4; i++) bytesOf(hypervisor, first + i).fill(0xa5);
    expect(hypervisor.pages.release(dom1, first, 4)).to.equal(0);
    const again = ok(hypervisor.pages.populate(dom2, dom2, 4));
    expect(again).to.equal(first);
    for (let i = 0; i < 4; i++) expect(bytesOf(hypervisor, again + i).every((byte) => byte === 0)).to.equal(true);
  });

  it('lie side by side, and no page is given twice', () => {
    const seen = new Set<number>();
    for (const count of [1, 3, 16, 2, 7]) {
      const first = ok(hypervisor.pages.populate(dom1, dom1, count));
      for (let i = 0; i < count; i++) {
        expect(seen.has(first + i)).to.equal(false);
        seen.add(first + i);
      }
    }
    expect(hypervisor.ledger(dom1).pages).to.equal(29);
  });

  it('fill the gaps that others left, when nothing else is free', () => {
    const all: number[] = [];
    for (
      let frame = hypervisor.pages.populate(dom1, dom1, 1);
      frame > 0;
      frame = hypervisor.pages.populate(dom1, dom1, 1)
    ) {
      all.push(frame);
    }
    expect(hypervisor.frames.freeCount).to.equal(0);
    expect(hypervisor.pages.populate(dom1, dom1, 1)).to.equal(-errno.ENOMEM);
    const [a, b] = [all[10], all[20]] as [number, number];
    hypervisor.pages.release(dom1, a, 1);
    hypervisor.pages.release(dom1, b, 1);
    expect(hypervisor.pages.populate(dom2, dom2, 2)).to.equal(-errno.ENOMEM);
    expect(new Set([1, 2].map(() => hypervisor.pages.populate(dom2, dom2, 1)))).to.deep.equal(new Set([a, b]));
  });

  it('are found before the place where the search begins, too', () => {
    const all: number[] = [];
    for (let frame = 1; frame > 0; frame = hypervisor.pages.populate(dom1, dom1, 1)) all.push(frame);
    const [gap, run] = [all[10], all[30]] as [number, number];
    hypervisor.pages.release(dom1, run, 2);
    hypervisor.pages.release(dom1, gap, 1);
    expect(hypervisor.pages.populate(dom1, dom1, 2)).to.equal(run);
    expect(hypervisor.pages.populate(dom1, dom1, 1)).to.equal(gap);
  });

  it('become empty tables, whatever was in them', () => {
    let count = 0;
    for (let frame = hypervisor.pages.populate(dom1, dom1, 1); frame > 0; count++) {
      bytesOf(hypervisor, frame).fill(0xff);
      frame = hypervisor.pages.populate(dom1, dom1, 1);
    }
    expect(count).to.be.above(100);
    hypervisor.destroyDomain(dom0, dom1);
    expect(hypervisor.grantEntries.setupTable(dom2, dom2, 8)).to.equal(gntst.okay);
    for (let port = 1; port <= 600; port++)
      expect(hypervisor.eventChannels.allocUnbound(dom2, dom2, dom3)).to.equal(port);
    const { ref } = grant(hypervisor, dom3, dom2);
    expect(hypervisor.grantMap.map(dom2, dom3, ref, gntmap.hostMap)).to.equal(0);
    addDomain(hypervisor, dom1);
    expectSound(hypervisor, 'on used frames');
    expect(hypervisor.ledger()).to.include({ grants: 1, grantsInUse: 1, mappings: 1 });
    expect(hypervisor.ledger().ports.unbound).to.equal(600);
  });

  it('are another’s to give only with privilege', () => {
    expect(hypervisor.pages.populate(dom1, dom2, 1)).to.equal(-errno.EPERM);
    expect(hypervisor.pages.populate(dom0, dom2, 1)).to.be.above(0);
    expect(hypervisor.pages.populate(dom0, nobody, 1)).to.equal(-errno.ESRCH);
    expect(() => hypervisor.pages.populate(dom1, dom1, 0)).to.throw(RangeError, '1 page or more');
  });

  it('can be released by their domain only, once, all of a run or none', () => {
    const first = ok(hypervisor.pages.populate(dom1, dom1, 2));
    expect(hypervisor.pages.release(dom2, first, 1)).to.equal(-errno.EINVAL);
    expect(hypervisor.pages.release(dom1, first, 3)).to.equal(-errno.EINVAL);
    expect(hypervisor.ledger(dom1).pages).to.equal(2);
    expect(hypervisor.pages.release(dom1, first, 2)).to.equal(0);
    expect(hypervisor.pages.release(dom1, first, 1)).to.equal(-errno.EINVAL);
    expect(hypervisor.pages.release(dom1, 0, 1)).to.equal(-errno.EINVAL);
    expect(hypervisor.pages.release(nobody, first, 1)).to.equal(-errno.ESRCH);
  });

  it('stay where they are while another maps them, though released, and are free after the last mapping', () => {
    const { ref, frame } = grant(hypervisor, dom1, dom2);
    const handle = ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap));
    bytesOf(hypervisor, frame)[0] = 42;
    expect(hypervisor.pages.release(dom1, frame, 1)).to.equal(0);
    expect(hypervisor.ledger(dom1)).to.include({ pages: 0, heldPages: 1 });
    for (let other = 1; other > 0; other = hypervisor.pages.populate(dom1, dom1, 1)) expect(other).to.not.equal(frame);
    expect(bytesOf(hypervisor, frame)[0]).to.equal(42);
    expect(hypervisor.grantMap.unmap(dom2, handle, frame * 4096, 0)).to.equal(gntst.okay);
    expect(hypervisor.pages.populate(dom1, dom1, 1)).to.equal(frame);
  });
});
