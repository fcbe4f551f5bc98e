import { expect } from 'chai';
import { gntst } from '../../../core/abi/gntst.js';
import type { GrantRef } from '../../../core/abi/units.js';
import { PeerSegmentCopies, SegmentCopies } from '../../../core/domain/grant-copies.js';
import { Disconnected, XenError } from '../../../core/errors.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { PeerGrants } from '../../../core/xenbus/peer-grants.js';
import { HypervisorGrantTable } from '../../../platform/hypervisor/grant-table.js';
import { dom0, dom1, dom2, dom3, machine } from '../../core/hypervisor/machine.js';

const { okay, bad_gntref } = gntst;
const none = 0x00ffffff as GrantRef;

for (const quick of [true, false]) {
  describe(`lists of copies${quick ? '' : ', over calls that take segments'}`, () => {
    let hypervisor: Hypervisor;
    let front: HypervisorGrantTable;
    let other: HypervisorGrantTable;
    let back: HypervisorGrantTable;
    const lists = () => ({
      from: quick ? back.copiesFrom(dom1) : new SegmentCopies((segments) => back.copyFrom(dom1, segments)),
      to: quick ? back.copiesTo(dom1) : new SegmentCopies((segments) => back.copyTo(dom1, segments)),
      between: quick
        ? back.copiesBetween(dom1, dom3)
        : new PeerSegmentCopies((segments) => back.copyBetween(dom1, dom3, segments)),
    });

    beforeEach(() => {
      ({ hypervisor } = machine());
      front = new HypervisorGrantTable(hypervisor, dom1);
      back = new HypervisorGrantTable(hypervisor, dom2);
      other = new HypervisorGrantTable(hypervisor, dom3);
    });

    it('copy out of a peer’s pages, into them, and from one peer’s to another’s, again and again', () => {
      const [theirs, others, own] = [front.share(dom2), other.share(dom2), back.alloc(2)];
      const { from, to, between } = lists();
      theirs.bytes.set([1, 2, 3, 4]);
      for (let round = 0; round < 3; round++) {
        from.add(theirs.ref, 0, own, 4096 + round, 4);
        expect(from.count).to.equal(1);
        expect(from.run()).to.equal(-1);
        expect(from.count).to.equal(0);
        to.add(theirs.ref, 100, own, 4096 + round, 2);
        to.add(theirs.ref, 102, own, 4096 + round, 1);
        expect(to.run()).to.equal(-1);
        between.add(theirs.ref, 100, others.ref, 4093, 3);
        expect(between.run()).to.equal(-1);
      }
      expect([...own.bytes.slice(4096, 4103)]).to.deep.equal([1, 1, 1, 2, 3, 4, 0]);
      expect([...others.bytes.slice(4092)]).to.deep.equal([0, 1, 2, 1]);
    });

    it('do every element, and say which of them failed', () => {
      const [theirs, others, own] = [front.share(dom2), other.share(dom2), back.alloc()];
      const { from, between } = lists();
      theirs.bytes.fill(7);
      for (let i = 0; i < 70; i++) from.add(i === 40 || i === 66 ? none : theirs.ref, i, own, i, 1);
      expect(from.run()).to.equal(40);
      expect([39, 40, 41, 66, 69].map((i) => from.status(i))).to.deep.equal([okay, bad_gntref, okay, bad_gntref, okay]);
      expect([39, 40, 41, 66, 69].map((i) => own.bytes[i])).to.deep.equal([7, 0, 7, 0, 7]);
      between.add(theirs.ref, 0, none, 0, 1);
      between.add(theirs.ref, 0, others.ref, 0, 1);
      expect(between.run()).to.equal(0);
      expect([between.status(0), between.status(1), others.bytes[0]]).to.deep.equal([bad_gntref, okay, 7]);
    });

    it('forget what they were given when they are cleared, and do nothing when they are empty', () => {
      const [theirs, own] = [front.share(dom2), back.alloc()];
      const { from } = lists();
      theirs.bytes.fill(7);
      from.add(theirs.ref, 0, own, 0, 1);
      from.clear();
      expect(from.run()).to.equal(-1);
      expect(own.bytes[0]).to.equal(0);
    });

    it('throw once they have been ended, and when their domain is gone', () => {
      const [theirs, own] = [front.share(dom2), back.alloc()];
      const { from, to } = lists();
      from.add(theirs.ref, 0, own, 0, 1);
      from.end(new Disconnected('the link has ended'));
      expect(from.ended).to.equal(true);
      expect(() => from.run()).to.throw(Disconnected, 'the link has ended');
      to.add(theirs.ref, 0, own, 0, 1);
      hypervisor.destroyDomain(dom0, dom2);
      expect(() => to.run()).to.throw(XenError);
    });
  });
}

describe('the lists of copies of a link', () => {
  it('end with it, those between two links with either', () => {
    const { hypervisor } = machine();
    const back = new HypervisorGrantTable(hypervisor, dom2);
    const [one, two, three] = [new PeerGrants(back, dom1), new PeerGrants(back, dom3), new PeerGrants(back, dom1)];
    const own = one.copiesFrom();
    const [between, away] = [two.copiesBetween(one), two.copiesBetween(three)];
    one[Symbol.dispose]();
    expect([own.ended, between.ended, away.ended]).to.deep.equal([true, true, false]);
    expect(() => own.run()).to.throw(Disconnected, 'the link to domain 1 has ended');
    expect(() => two.copiesBetween(one)).to.throw(Disconnected);
    two[Symbol.dispose]();
    expect(away.ended).to.equal(true);
  });

  it('are between links of one domain alone', () => {
    const { hypervisor } = machine();
    const [here, there] = [2, 3].map((domid) => new HypervisorGrantTable(hypervisor, domid as typeof dom2)) as [
      HypervisorGrantTable,
      HypervisorGrantTable,
    ];
    expect(() => new PeerGrants(here, dom1).copiesBetween(new PeerGrants(there, dom1))).to.throw(TypeError);
  });
});
