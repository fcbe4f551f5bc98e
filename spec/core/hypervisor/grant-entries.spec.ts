import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef } from '../../../core/abi/units.js';
import { gtf, RESERVED_REFS } from '../../../core/hypervisor/grant-entries.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { addDomain, bytesOf, dom0, dom1, dom2, grant, machine, nobody, ok } from './machine.js';

describe('a domain’s grant table', () => {
  let hypervisor: Hypervisor;
  const entries = () => hypervisor.grantEntries;

  beforeEach(() => {
    ({ hypervisor } = machine());
  });

  describe('setup_table and query_size (grant_table.h GNTTABOP_setup_table, GNTTABOP_query_size)', () => {
    it('begins with one frame of 512 entries and may grow to 64', () => {
      expect(entries().querySize(dom1, DOMID_SELF)).to.deep.equal({ status: gntst.okay, nrFrames: 1, maxNrFrames: 64 });
      expect(entries().setupTable(dom1, DOMID_SELF, 64)).to.equal(gntst.okay);
      expect(entries().querySize(dom1, dom1).nrFrames).to.equal(64);
      expect(new Set(entries().tableFrames(dom1)).size).to.equal(64);
    });

    it('never shrinks', () => {
      entries().setupTable(dom1, dom1, 3);
      expect(entries().setupTable(dom1, dom1, 1)).to.equal(gntst.okay);
      expect(entries().querySize(dom1, dom1).nrFrames).to.equal(3);
    });

    it('answers general_error above the limit, and when memory is short', () => {
      addDomain(hypervisor, 9 as Domid, { maxGrantFrames: 2 });
      expect(entries().setupTable(9 as Domid, DOMID_SELF, 3)).to.equal(gntst.general_error);
      expect(entries().querySize(9 as Domid, DOMID_SELF).nrFrames).to.equal(1);
      while (hypervisor.pages.populate(dom2, dom2, 1) > 0);
      expect(entries().setupTable(9 as Domid, DOMID_SELF, 2)).to.equal(gntst.general_error);
    });

    it('answers bad_domain, and permission_denied for another domain without privilege', () => {
      expect(entries().setupTable(dom1, nobody, 1)).to.equal(gntst.bad_domain);
      expect(entries().setupTable(dom1, dom2, 1)).to.equal(gntst.permission_denied);
      expect(entries().setupTable(dom0, dom2, 2)).to.equal(gntst.okay);
      expect(entries().querySize(dom1, nobody).status).to.equal(gntst.bad_domain);
      expect(entries().querySize(dom1, dom2).status).to.equal(gntst.permission_denied);
      expect(entries().querySize(dom0, dom2)).to.deep.equal({ status: gntst.okay, nrFrames: 2, maxNrFrames: 64 });
    });
  });

  describe('references', () => {
    it('are given out lowest first, after the eight reserved ones (GNTTAB_NR_RESERVED_ENTRIES)', () => {
      expect([0, 1, 2].map(() => entries().allocRef(dom1))).to.deep.equal([8, 9, 10]);
      entries().freeRef(dom1, 9 as GrantRef);
      expect([0, 1].map(() => entries().allocRef(dom1))).to.deep.equal([9, 11]);
    });

    it('make the table grow until its limit, then ENOSPC', () => {
      addDomain(hypervisor, 9 as Domid, { maxGrantFrames: 2 });
      for (let ref = RESERVED_REFS; ref < 1024; ref++) expect(entries().allocRef(9 as Domid)).to.equal(ref);
      expect(entries().allocRef(9 as Domid)).to.equal(-errno.ENOSPC);
      entries().freeRef(9 as Domid, 700 as GrantRef);
      expect(entries().allocRef(9 as Domid)).to.equal(700);
    });

    it('answer ENOMEM when the table could grow and memory is short', () => {
      for (let ref = RESERVED_REFS; ref < 512; ref++) ok(entries().allocRef(dom1));
      while (hypervisor.pages.populate(dom2, dom2, 1) > 0);
      expect(entries().allocRef(dom1)).to.equal(-errno.ENOMEM);
      expect(entries().allocRef(nobody)).to.equal(-errno.ESRCH);
    });

    it('refuse to be freed twice, or when reserved', () => {
      const ref = ok<GrantRef>(entries().allocRef(dom1));
      entries().freeRef(dom1, ref);
      for (const bad of [ref, 0, 7, 512, 40000]) {
        expect(() => entries().freeRef(dom1, bad as GrantRef), `${bad}`).to.throw(RangeError, 'was not given out');
      }
    });
  });

  describe('granting (grant_table.h, "Granting" and "Revoking")', () => {
    const entryBytes = (ref: number): readonly number[] => {
      const frame = entries().tableFrames(dom1)[Math.trunc(ref / 512)] as number;
      return [...bytesOf(hypervisor, frame).slice((ref % 512) * 8, (ref % 512) * 8 + 8)];
    };

    it('writes the eight bytes of grant_entry_v1: flags, domid, frame', () => {
      for (let i = 0; i < 600; i++) entries().allocRef(dom1);
      entries().grantAccess(dom1, 590 as GrantRef, 0x1234 as Domid, 0x0abcdef1, false);
      expect(entryBytes(590)).to.deep.equal([1, 0, 0x34, 0x12, 0xf1, 0xde, 0xbc, 0x0a]);
      entries().grantAccess(dom1, 590 as GrantRef, 0x7fef as Domid, 1, true);
      expect(entryBytes(590)).to.deep.equal([5, 0, 0xef, 0x7f, 1, 0, 0, 0]);
    });

    it('ends an access that nobody uses', () => {
      const { ref } = grant(hypervisor, dom1, dom2);
      expect(entries().endAccess(dom1, ref)).to.equal(true);
      expect(entryBytes(ref).slice(0, 4)).to.deep.equal([0, 0, 0, 0]);
      expect(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap)).to.equal(gntst.general_error);
    });

    it('cannot end one that is in use, until the last mapping is gone', () => {
      const { ref, frame } = grant(hypervisor, dom1, dom2);
      const handles = [1, 2].map(() => ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap)));
      expect(entries().isInUse(dom1, ref)).to.equal(true);
      for (const handle of handles) {
        expect(entries().endAccess(dom1, ref)).to.equal(false);
        expect(entryBytes(ref).slice(0, 2)).to.deep.equal([gtf.permitAccess | gtf.reading | gtf.writing, 0]);
        expect(hypervisor.grantMap.unmap(dom2, handle, frame * 4096, 0)).to.equal(gntst.okay);
      }
      expect(entries().isInUse(dom1, ref)).to.equal(false);
      expect(entries().endAccess(dom1, ref)).to.equal(true);
    });

    it('takes a mapping that comes between reading and revoking for what it is', () => {
      const { ref } = grant(hypervisor, dom1, dom2);
      const compareExchange = Atomics.compareExchange;
      let mapped = false;
      Atomics.compareExchange = ((...args: Parameters<typeof compareExchange>) => {
        if (!mapped) {
          mapped = true;
          ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap));
        }
        return compareExchange(...args);
      }) as typeof compareExchange;
      try {
        expect(entries().endAccess(dom1, ref)).to.equal(false);
      } finally {
        Atomics.compareExchange = compareExchange;
      }
      expect(mapped).to.equal(true);
      expect(entryBytes(ref).slice(0, 2)).to.deep.equal([gtf.permitAccess | gtf.reading | gtf.writing, 0]);
    });

    it('throws for a reference that the table does not have', () => {
      expect(() => entries().endAccess(dom1, 512 as GrantRef)).to.throw(RangeError, 'no grant entry 512');
      expect(() => entries().grantAccess(nobody, 8 as GrantRef, dom1, 1, false)).to.throw(RangeError);
    });
  });
});
