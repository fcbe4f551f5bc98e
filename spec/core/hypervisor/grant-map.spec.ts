import { expect } from 'chai';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef } from '../../../core/abi/units.js';
import { gtf } from '../../../core/hypervisor/grant-entries.js';
import { gntmap, type MapGrantRef, type UnmapGrantRef } from '../../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { addDomain, bytesOf, dom0, dom1, dom2, dom3, grant, machine, nobody, ok } from './machine.js';
import { preempt } from './preempt.js';

const { hostMap, deviceMap, readonly } = gntmap;

describe('mapping granted pages (grant_table.c map_grant_ref)', () => {
  let hypervisor: Hypervisor;
  let ref: GrantRef;
  let frame: number;
  let address: number;
  const map = (caller: Domid, dom: Domid, of: number, flags: number) =>
    hypervisor.grantMap.map(caller, dom, of as GrantRef, flags);
  const unmap = (caller: Domid, handle: number, host: number, device = 0) =>
    hypervisor.grantMap.unmap(caller, handle, host, device);
  const entryAt = (of: number) => hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom1), of);
  const flagsOf = (of: number) => (hypervisor.memory.words[entryAt(of)] as number) & 0xffff;

  beforeEach(() => {
    ({ hypervisor } = machine());
    ({ ref, frame } = grant(hypervisor, dom1, dom2));
    address = frame * 4096;
  });

  it('yields the live page: the mapper sees what the granter writes later', () => {
    const handle = ok(map(dom2, dom1, ref, hostMap));
    expect(hypervisor.grantMap.frameOf(dom2, handle)).to.equal(frame);
    bytesOf(hypervisor, frame)[5] = 77;
    expect(bytesOf(hypervisor, hypervisor.grantMap.frameOf(dom2, handle))[5]).to.equal(77);
  });

  it('never yields the frame that a reference granted before, wherever the granter is overtaken (grant_table.h)', () => {
    for (let at = 0; ; at++) {
      ({ hypervisor } = machine());
      ({ ref, frame } = grant(hypervisor, dom1, dom2));
      const next = ok(hypervisor.pages.populate(dom1, dom1, 1));
      expect(hypervisor.grantEntries.endAccess(dom1, ref)).to.equal(true);
      let handle = 0;
      const overtaken = preempt(
        at,
        () => {
          handle = map(dom2, dom1, ref, hostMap);
        },
        () => hypervisor.grantEntries.grantAccess(dom1, ref, dom2, next, false),
      );
      if (!overtaken) {
        expect(at).to.be.above(1);
        break;
      }
      const got = handle < 0 ? handle : hypervisor.grantMap.frameOf(dom2, handle);
      expect(got, `overtaken at moment ${at}`).to.be.oneOf([gntst.general_error, next]);
    }
  });

  describe('checks, in Xen’s order (grant_table.c map_grant_ref)', () => {
    it('bad_gntref without a half to map, before the domain is looked at', () => {
      expect(map(dom2, nobody, ref, readonly)).to.equal(gntst.bad_gntref);
    });

    it('general_error for what needs page tables, before the domain is looked at', () => {
      for (const flag of [gntmap.applicationMap, gntmap.containsPte]) {
        expect(map(dom2, nobody, ref, hostMap | flag)).to.equal(gntst.general_error);
      }
    });

    it('bad_domain for a domain that is not, and for DOMID_SELF', () => {
      expect(map(dom2, nobody, ref, hostMap)).to.equal(gntst.bad_domain);
      expect(map(dom2, DOMID_SELF, ref, hostMap)).to.equal(gntst.bad_domain);
    });

    it('no_space when all handles are in use, before the reference is looked at', () => {
      addDomain(hypervisor, 9 as Domid, { maxMaptrackFrames: 0 });
      expect(map(9 as Domid, dom1, 0xffffffff, hostMap)).to.equal(gntst.no_space);
      expect(map(9 as Domid, nobody, ref, hostMap)).to.equal(gntst.bad_domain);
    });

    it('no_space after 256 mappings for each maptrack frame, and when memory is short', () => {
      addDomain(hypervisor, 9 as Domid, { maxMaptrackFrames: 2 });
      const grants = [0, 1, 2, 3, 4].map(() => grant(hypervisor, dom1, 9 as Domid));
      const handles = new Set<number>();
      for (let i = 0; i < 512; i++) handles.add(ok(map(9 as Domid, dom1, grants[i % 5]?.ref as number, hostMap)));
      expect(handles.size).to.equal(512);
      expect(map(9 as Domid, dom1, ref, hostMap)).to.equal(gntst.no_space);
      while (hypervisor.pages.populate(dom3, dom3, 1) > 0);
      expect(map(dom3, dom1, ref, hostMap)).to.equal(gntst.no_space);
    });

    it('bad_gntref for a reference beyond the table', () => {
      for (const bad of [512, 40000, 0xffffffff])
        expect(map(dom2, dom1, bad, hostMap), `${bad}`).to.equal(gntst.bad_gntref);
    });

    it('general_error alike for a revoked entry, another’s, and a write to a read-only one', () => {
      const revoked = grant(hypervisor, dom1, dom2);
      hypervisor.grantEntries.endAccess(dom1, revoked.ref);
      expect(map(dom2, dom1, revoked.ref, hostMap)).to.equal(gntst.general_error);
      expect(map(dom3, dom1, ref, hostMap)).to.equal(gntst.general_error);
      const tight = grant(hypervisor, dom1, dom2, true);
      expect(map(dom2, dom1, tight.ref, hostMap)).to.equal(gntst.general_error);
      expect(flagsOf(tight.ref)).to.equal(gtf.permitAccess | gtf.readonly);
      expect(hypervisor.ledger(dom2).mappings).to.equal(0);
    });

    it('general_error for entries that are no plain access: transfer, transitive, sub-page', () => {
      for (const flags of [gtf.acceptTransfer, 3, gtf.permitAccess | gtf.subPage]) {
        hypervisor.memory.words[entryAt(ref)] = flags | (dom2 << 16);
        expect(map(dom2, dom1, ref, hostMap | readonly), `flags ${flags}`).to.equal(gntst.general_error);
      }
    });

    it('bad_page for a frame that is not a page of the granter’s, and the in-use bits go again', () => {
      const other = grant(hypervisor, dom2, dom1);
      const table = hypervisor.grantEntries.tableFrames(dom1)[0] as number;
      for (const bad of [0, other.frame, table, hypervisor.memory.frames, 0x7fffffff, -1]) {
        hypervisor.memory.words[entryAt(ref) + 1] = bad;
        expect(map(dom2, dom1, ref, hostMap), `frame ${bad}`).to.equal(gntst.bad_page);
        expect(flagsOf(ref)).to.equal(gtf.permitAccess);
      }
      hypervisor.memory.words[entryAt(ref) + 1] = frame;
      expect(map(dom2, dom1, ref, hostMap)).to.be.at.least(0);
    });

    it('believes no entry that changes at each of five tries (_set_status_v1)', () => {
      const compareExchange = Atomics.compareExchange;
      const entry = entryAt(ref);
      let tries = 0;
      Atomics.compareExchange = ((...args: Parameters<typeof compareExchange>) => {
        if (args[1] === entry) {
          tries++;
          hypervisor.memory.words[entry] = (hypervisor.memory.words[entry] as number) ^ 0x20;
        }
        return compareExchange(...args);
      }) as typeof compareExchange;
      try {
        expect(map(dom2, dom1, ref, hostMap)).to.equal(gntst.general_error);
      } finally {
        Atomics.compareExchange = compareExchange;
      }
      expect(tries).to.equal(5);
      expect(flagsOf(ref) & (gtf.reading | gtf.writing)).to.equal(0);
    });
  });

  describe('in-use bits and pins', () => {
    it('reading for read-only mappings, writing too for others, until the last of each kind', () => {
      const read = ok(map(dom2, dom1, ref, hostMap | readonly));
      expect(flagsOf(ref)).to.equal(gtf.permitAccess | gtf.reading);
      const write = ok(map(dom2, dom1, ref, hostMap));
      expect(flagsOf(ref)).to.equal(gtf.permitAccess | gtf.reading | gtf.writing);
      expect(unmap(dom2, write, address)).to.equal(gntst.okay);
      expect(flagsOf(ref)).to.equal(gtf.permitAccess | gtf.reading);
      expect(unmap(dom2, read, address)).to.equal(gntst.okay);
      expect(flagsOf(ref)).to.equal(gtf.permitAccess);
    });

    it('keep a read-only grant from being written through a second mapping (XSA-227)', () => {
      const tight = grant(hypervisor, dom1, dom2, true);
      ok(map(dom2, dom1, tight.ref, hostMap | readonly));
      expect(map(dom2, dom1, tight.ref, hostMap)).to.equal(gntst.general_error);
      expect(flagsOf(tight.ref)).to.equal(gtf.permitAccess | gtf.readonly | gtf.reading);
    });

    it('allow 128 mappings of a kind, then general_error (GNTPIN_*, 8-bit counters)', () => {
      for (const kind of [hostMap, hostMap | readonly, deviceMap, deviceMap | readonly]) {
        const { ref: each } = grant(hypervisor, dom1, dom2);
        for (let i = 0; i < 128; i++) ok(map(dom2, dom1, each, kind));
        expect(map(dom2, dom1, each, kind), `kind ${kind}`).to.equal(gntst.general_error);
        expect(map(dom2, dom1, each, kind ^ readonly)).to.be.at.least(0);
      }
    });

    it('belong to one domain: an entry rewritten for another while in use is general_error to it', () => {
      ok(map(dom2, dom1, ref, hostMap));
      hypervisor.grantEntries.grantAccess(dom1, ref, dom3, frame, false);
      expect(map(dom3, dom1, ref, hostMap)).to.equal(gntst.general_error);
    });

    it('keep the frame of the first mapping, whatever the granter writes then (XSA-500)', () => {
      ok(map(dom2, dom1, ref, hostMap | readonly));
      const other = ok(hypervisor.pages.populate(dom1, dom1, 1));
      hypervisor.memory.words[entryAt(ref) + 1] = other;
      const second = ok(map(dom2, dom1, ref, hostMap | readonly));
      const writable = ok(map(dom2, dom1, ref, hostMap));
      for (const handle of [second, writable]) expect(hypervisor.grantMap.frameOf(dom2, handle)).to.equal(frame);
    });
  });

  describe('unmapping (unmap_common)', () => {
    it('answers bad_handle for one that is not, is another’s, or was unmapped already', () => {
      const handle = ok(map(dom2, dom1, ref, hostMap));
      expect(unmap(dom3, handle, address)).to.equal(gntst.bad_handle);
      for (const bad of [handle + 1, 256, 0xffffffff, -1]) expect(unmap(dom2, bad, address)).to.equal(gntst.bad_handle);
      expect(unmap(dom2, handle, address)).to.equal(gntst.okay);
      expect(unmap(dom2, handle, address)).to.equal(gntst.bad_handle);
      expect(hypervisor.grantMap.frameOf(dom2, handle)).to.equal(0);
    });

    it('skips a half whose address is zero', () => {
      const handle = ok(map(dom2, dom1, ref, hostMap));
      expect(unmap(dom2, handle, 0, 0)).to.equal(gntst.okay);
      expect(hypervisor.ledger(dom2).mappings).to.equal(1);
    });

    it('answers bad_dev_addr, or general_error for the host’s, when the address is another page’s', () => {
      const handle = ok(map(dom2, dom1, ref, hostMap | deviceMap));
      expect(unmap(dom2, handle, address, address + 4096)).to.equal(gntst.bad_dev_addr);
      expect(unmap(dom2, handle, address + 4096, address)).to.equal(gntst.general_error);
      expect(hypervisor.ledger(dom2).mappings).to.equal(1);
      expect(unmap(dom2, handle, address, address)).to.equal(gntst.okay);
      expect(hypervisor.ledger(dom2).mappings).to.equal(0);
    });

    it('ends the host half, then the device half, each once (XSA-394)', () => {
      const handle = ok(map(dom2, dom1, ref, hostMap | deviceMap));
      expect(unmap(dom2, handle, address)).to.equal(gntst.okay);
      expect(unmap(dom2, handle, address)).to.equal(gntst.okay);
      expect(hypervisor.grantEntries.isInUse(dom1, ref)).to.equal(true);
      expect(unmap(dom2, handle, 0, address)).to.equal(gntst.okay);
      expect(hypervisor.grantEntries.isInUse(dom1, ref)).to.equal(false);
      expect(unmap(dom2, handle, 0, address)).to.equal(gntst.bad_handle);
    });

    it('gives handles back for the next mapping', () => {
      const handle = ok(map(dom2, dom1, ref, hostMap));
      unmap(dom2, handle, address);
      expect(map(dom2, dom1, ref, hostMap)).to.equal(handle);
    });
  });

  describe('batches', () => {
    it('give each element its own status; element k fails while k + 1 succeeds (XSA-295, 316, 318)', () => {
      const tight = grant(hypervisor, dom1, dom2, true);
      const elements: MapGrantRef[] = [
        { dom: dom1, ref, flags: hostMap },
        { dom: nobody, ref, flags: hostMap },
        { dom: dom1, ref: 600 as GrantRef, flags: hostMap },
        { dom: dom1, ref: tight.ref, flags: hostMap },
        { dom: dom1, ref: tight.ref, flags: hostMap | readonly },
      ];
      hypervisor.grantMap.mapGrantRefs(dom2, elements);
      expect(elements.map((element) => element.status)).to.deep.equal([
        gntst.okay,
        gntst.bad_domain,
        gntst.bad_gntref,
        gntst.general_error,
        gntst.okay,
      ]);
      expect(elements[0]?.devBusAddr).to.equal(address);
      const unmaps: UnmapGrantRef[] = [
        { handle: elements[0]?.handle ?? -1, hostAddr: address, devBusAddr: 0 },
        { handle: 99, hostAddr: address, devBusAddr: 0 },
        { handle: elements[4]?.handle ?? -1, hostAddr: tight.frame * 4096, devBusAddr: 0 },
      ];
      hypervisor.grantMap.unmapGrantRefs(dom2, unmaps);
      expect(unmaps.map((element) => element.status)).to.deep.equal([gntst.okay, gntst.bad_handle, gntst.okay]);
      expect(hypervisor.ledger(dom2).mappings).to.equal(0);
    });
  });

  it('maps what the toolstack put under a reserved reference (GNTTAB_RESERVED_XENSTORE)', () => {
    hypervisor.grantEntries.grantAccess(dom1, 1 as GrantRef, dom0, frame, false);
    expect(hypervisor.grantMap.frameOf(dom0, ok(map(dom0, dom1, 1, hostMap)))).to.equal(frame);
  });

  it('maps the same reference for writing across requests: persistent grants', () => {
    const handle = ok(map(dom2, dom1, ref, hostMap));
    for (let request = 0; request < 3; request++) {
      bytesOf(hypervisor, frame)[0] = request;
      expect(hypervisor.grantEntries.endAccess(dom1, ref)).to.equal(false);
    }
    expect(unmap(dom2, handle, address)).to.equal(gntst.okay);
    expect(hypervisor.grantEntries.endAccess(dom1, ref)).to.equal(true);
  });

  it('maps an own page that was granted to oneself', () => {
    const own = grant(hypervisor, dom1, dom1);
    const handle = ok(map(dom1, dom1, own.ref, hostMap));
    expect(unmap(dom1, handle, own.frame * 4096)).to.equal(gntst.okay);
  });
});
