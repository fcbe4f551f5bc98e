// Long, since each operation has its rules.
import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef, PAGE_SIZE } from '../../../core/abi/units.js';
import { type CacheFlush, gnttabCache } from '../../../core/hypervisor/grant-cache.js';
import { gntcopy } from '../../../core/hypervisor/grant-copy.js';
import { gntmap, type MapGrantRef, type UnmapAndReplace } from '../../../core/hypervisor/grant-map.js';
import type { SwapGrantRef } from '../../../core/hypervisor/grant-swap.js';
import {
  type GnttabArgs,
  type GnttabOp,
  gnttabop,
  type QuerySize,
  type SetupTable,
} from '../../../core/hypervisor/grant-table-ops.js';
import type { GetStatusFrames, GetVersion } from '../../../core/hypervisor/grant-version.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { addDomain, bytesOf, dom0, dom1, dom2, dom3, grant, machine, nobody, ok } from './machine.js';

const { hostMap, deviceMap, readonly } = gntmap;

describe('HYPERVISOR_grant_table_op (grant_table.h)', () => {
  let hypervisor: Hypervisor;
  let ref: GrantRef;
  let frame: number;
  let address: number;
  const call = <Op extends GnttabOp>(caller: Domid, op: Op, ...args: readonly GnttabArgs[Op][]) =>
    hypervisor.grantTableOps.call(caller, op, args);
  const mapped = (flags: number = hostMap): number => ok(hypervisor.grantMap.map(dom2, dom1, ref, flags));

  beforeEach(() => {
    ({ hypervisor } = machine());
    ({ ref, frame } = grant(hypervisor, dom1, dom2));
    address = frame * PAGE_SIZE;
  });

  describe('as a whole', () => {
    it('answers ENOSYS for an operation that it does not know, and for dump_table, as Xen', () => {
      for (const op of [gnttabop.dump_table, 13, 99, 4095]) {
        expect(hypervisor.grantTableOps.call(dom1, op as never, [])).to.equal(-errno.ENOSYS);
      }
    });

    it('answers EINVAL for bits above GNTTABOP_CMD_MASK, known operation or not, but for cache_flush', () => {
      for (const op of [4096, 4096 + 1, 4096 + 13, 2 ** 31 + 5]) {
        expect(hypervisor.grantTableOps.call(dom1, op as never, [])).to.equal(-errno.EINVAL);
      }
      expect(hypervisor.grantTableOps.call(dom1, (4096 + gnttabop.cache_flush) as never, [])).to.equal(0);
    });

    it('answers 0 for a batch of nothing', () => {
      for (const op of [gnttabop.map_grant_ref, gnttabop.unmap_grant_ref, gnttabop.copy, gnttabop.swap_grant_ref]) {
        expect(call(dom1, op)).to.equal(0);
      }
    });
  });

  describe('0 map_grant_ref', () => {
    it('tells handle and address of what it maps, and no more than the status of what it does not', () => {
      const element: MapGrantRef = { dom: dom1, ref, flags: hostMap };
      const bad: MapGrantRef = { dom: dom1, ref: 600 as GrantRef, flags: hostMap };
      expect(call(dom2, gnttabop.map_grant_ref, element, bad)).to.equal(0);
      expect(element).to.include({ status: gntst.okay, handle: 0, devBusAddr: address });
      expect(bad).to.deep.equal({ dom: dom1, ref: 600, flags: hostMap, status: gntst.bad_gntref });
    });

    it('leaves the guest’s own flags, bits 31:16, and unknown ones alone (GNTMAP_guest_avail_mask)', () => {
      for (const flags of [0xffff0000, 0x20, 0xffe0]) expect(mapped(hostMap | flags)).to.be.at.least(0);
    });
  });

  describe('1 unmap_grant_ref', () => {
    it('ends both halves at once, or each alone', () => {
      const both = mapped(hostMap | deviceMap);
      const element = { handle: both, hostAddr: address, devBusAddr: address };
      expect(call(dom2, gnttabop.unmap_grant_ref, element)).to.equal(0);
      expect(element).to.have.property('status', gntst.okay);
      expect(hypervisor.ledger()).to.include({ mappings: 0, grantsInUse: 0 });
    });

    it('changes nothing of a mapping of which one address is wrong', () => {
      const handle = mapped(hostMap | deviceMap);
      const elements = [
        { handle, hostAddr: address, devBusAddr: address + PAGE_SIZE },
        { handle, hostAddr: address + 1, devBusAddr: address },
      ];
      call(dom2, gnttabop.unmap_grant_ref, ...elements);
      expect(elements.map((element) => 'status' in element && element.status)).to.deep.equal([
        gntst.bad_dev_addr,
        gntst.general_error,
      ]);
      expect(hypervisor.memory.words[hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom1), ref)]).to.equal(
        1 | 8 | 16 | (dom2 << 16),
      );
    });
  });

  describe('2 setup_table', () => {
    it('grows the table and lists as many frames as were asked for, not as there are', () => {
      const element: SetupTable = { dom: DOMID_SELF, nrFrames: 3 };
      expect(call(dom1, gnttabop.setup_table, element)).to.equal(0);
      expect(element.status).to.equal(gntst.okay);
      expect(element.frameList).to.deep.equal(hypervisor.grantEntries.tableFrames(dom1));
      const less: SetupTable = { dom: dom1, nrFrames: 1 };
      call(dom1, gnttabop.setup_table, less);
      expect(less.frameList).to.deep.equal(hypervisor.grantEntries.tableFrames(dom1).slice(0, 1));
    });

    it('lets a privileged domain alone ask for another’s', () => {
      const element: SetupTable = { dom: dom2, nrFrames: 1 };
      call(dom1, gnttabop.setup_table, element);
      expect(element).to.deep.equal({ dom: dom2, nrFrames: 1, status: gntst.permission_denied });
      call(dom0, gnttabop.setup_table, element);
      expect(element.frameList).to.deep.equal(hypervisor.grantEntries.tableFrames(dom2));
    });

    it('answers general_error above the limit, also for a number that C would take for a large one', () => {
      for (const nrFrames of [65, 0x7fffffff, -1]) {
        const element: SetupTable = { dom: DOMID_SELF, nrFrames };
        call(dom1, gnttabop.setup_table, element);
        expect(element.status, `${nrFrames}`).to.equal(gntst.general_error);
      }
      expect(hypervisor.grantEntries.querySize(dom1, dom1).nrFrames).to.equal(1);
    });

    it('takes one element, else EINVAL, as query_size and get_status_frames', () => {
      for (const op of [gnttabop.setup_table, gnttabop.query_size, gnttabop.get_status_frames] as const) {
        const one = { dom: DOMID_SELF, nrFrames: 1 };
        expect(call(dom1, op)).to.equal(-errno.EINVAL);
        expect(call(dom1, op, one, one)).to.equal(-errno.EINVAL);
        expect(one).to.deep.equal({ dom: DOMID_SELF, nrFrames: 1 });
      }
    });
  });

  describe('4 transfer', () => {
    it('is refused with EOPNOTSUPP, with nothing looked at and no page lost (XSA-217, 284, 287)', () => {
      const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
      const element = { mfn: own, domid: dom1, ref };
      expect(call(dom2, gnttabop.transfer, element)).to.equal(-errno.EOPNOTSUPP);
      expect(call(dom2, gnttabop.transfer)).to.equal(-errno.EOPNOTSUPP);
      expect(element).to.deep.equal({ mfn: own, domid: dom1, ref });
      expect(hypervisor.frames.isPage(own, dom2)).to.equal(true);
    });
  });

  describe('5 copy', () => {
    it('gives each element its status', () => {
      const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
      const end = (domid: Domid, refOrFrame: number) => ({ domid, refOrFrame, offset: 0 });
      const elements = [ref, 512 as GrantRef].map((of) => ({
        source: end(dom1, of),
        dest: end(DOMID_SELF, own),
        len: 8,
        flags: gntcopy.sourceGref,
      }));
      bytesOf(hypervisor, frame).fill(5, 0, 8);
      expect(call(dom2, gnttabop.copy, ...elements)).to.equal(0);
      expect(elements.map((element) => 'status' in element && element.status)).to.deep.equal([
        gntst.okay,
        gntst.bad_gntref,
      ]);
      expect(bytesOf(hypervisor, own)[7]).to.equal(5);
    });
  });

  describe('6 query_size', () => {
    it('tells a table’s frames, now and at most', () => {
      addDomain(hypervisor, 9 as Domid, { maxGrantFrames: 7 });
      ok(hypervisor.grantEntries.setupTable(9 as Domid, DOMID_SELF, 2));
      const element: QuerySize = { dom: DOMID_SELF };
      expect(call(9 as Domid, gnttabop.query_size, element)).to.equal(0);
      expect(element).to.deep.equal({ dom: DOMID_SELF, status: gntst.okay, nrFrames: 2, maxNrFrames: 7 });
    });

    it('answers bad_domain, permission_denied', () => {
      const [none, theirs]: QuerySize[] = [{ dom: nobody }, { dom: dom2 }];
      expect(call(dom1, gnttabop.query_size, none as QuerySize)).to.equal(0);
      expect(call(dom1, gnttabop.query_size, theirs as QuerySize)).to.equal(0);
      expect([none?.status, theirs?.status]).to.deep.equal([gntst.bad_domain, gntst.permission_denied]);
    });
  });

  describe('7 unmap_and_replace', () => {
    const replace = (handle: number, hostAddr: number, newAddr: number): number | undefined => {
      const element: UnmapAndReplace = { handle, hostAddr, newAddr };
      expect(call(dom2, gnttabop.unmap_and_replace, element)).to.equal(0);
      return element.status;
    };

    it('ends the host half, and leaves the device’s', () => {
      const handle = mapped(hostMap | deviceMap);
      expect(replace(handle, address, 0)).to.equal(gntst.okay);
      expect(hypervisor.ledger(dom2).mappings).to.equal(1);
      expect(hypervisor.grantMap.unmap(dom2, handle, 0, address)).to.equal(gntst.okay);
      expect(hypervisor.ledger().grantsInUse).to.equal(0);
    });

    it('has nothing to put in its place: general_error, as for a guest with translated memory, and it stays mapped', () => {
      const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
      const handle = mapped();
      expect(replace(handle, address, own * PAGE_SIZE)).to.equal(gntst.general_error);
      expect(hypervisor.grantEntries.isInUse(dom1, ref)).to.equal(true);
    });

    it('answers bad_handle first, general_error for another page’s address, okay where no half is named', () => {
      const handle = mapped();
      expect(replace(99, address, address)).to.equal(gntst.bad_handle);
      expect(replace(handle, address + PAGE_SIZE, 0)).to.equal(gntst.general_error);
      expect(replace(handle, 0, address)).to.equal(gntst.okay);
      expect(hypervisor.ledger(dom2).mappings).to.equal(1);
    });
  });

  describe('8 set_version', () => {
    it('answers 0 for 1, ENOSYS for 2, which is forbidden, EINVAL for any other; and tells the version', () => {
      for (const [wanted, answer] of [
        [1, 0],
        [2, -errno.ENOSYS],
        [0, -errno.EINVAL],
        [3, -errno.EINVAL],
        [-1, -errno.EINVAL],
      ] as const) {
        const element = { version: wanted };
        expect(call(dom1, gnttabop.set_version, element), `${wanted}`).to.equal(answer);
        expect(element.version).to.equal(1);
      }
      expect(call(dom1, gnttabop.set_version)).to.equal(-errno.EFAULT);
    });
  });

  describe('9 get_status_frames', () => {
    it('answers general_error for any, since version 1 has none; bad_domain, permission_denied', () => {
      for (const [dom, nrFrames, status] of [
        [DOMID_SELF, 0, gntst.okay],
        [DOMID_SELF, 1, gntst.general_error],
        [nobody, 0, gntst.bad_domain],
        [dom2, 0, gntst.permission_denied],
      ] as const) {
        const element: GetStatusFrames = { dom, nrFrames };
        expect(call(dom1, gnttabop.get_status_frames, element)).to.equal(0);
        expect(element.status).to.equal(status);
        expect(element.frameList).to.deep.equal(status === gntst.okay ? [] : undefined);
      }
    });
  });

  describe('10 get_version', () => {
    it('tells 1; ESRCH no such domain, EPERM another’s without privilege', () => {
      for (const [caller, dom, answer] of [
        [dom1, DOMID_SELF, 0],
        [dom1, dom1, 0],
        [dom0, dom1, 0],
        [dom1, nobody, -errno.ESRCH],
        [dom1, dom2, -errno.EPERM],
      ] as const) {
        const element: GetVersion = { dom };
        expect(call(caller, gnttabop.get_version, element)).to.equal(answer);
        expect(element.version).to.equal(answer === 0 ? 1 : undefined);
      }
      expect(call(dom1, gnttabop.get_version)).to.equal(-errno.EFAULT);
    });
  });

  describe('11 swap_grant_ref', () => {
    const swap = (a: number, b: number, caller: Domid = dom1): number | undefined => {
      const element: SwapGrantRef = { refA: a as GrantRef, refB: b as GrantRef };
      expect(call(caller, gnttabop.swap_grant_ref, element)).to.equal(0);
      return element.status;
    };
    const words = (of: number): readonly number[] => {
      const entry = hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom1), of);
      return [...hypervisor.memory.words.slice(entry, entry + 2)];
    };

    it('exchanges flags, domid and frame', () => {
      const other = grant(hypervisor, dom1, dom3, true);
      const before = [words(ref), words(other.ref)];
      expect(swap(ref, other.ref)).to.equal(gntst.okay);
      expect([words(other.ref), words(ref)]).to.deep.equal(before);
      expect(hypervisor.grantMap.map(dom2, dom1, ref, hostMap)).to.equal(gntst.general_error);
      expect(hypervisor.grantMap.frameOf(dom2, ok(hypervisor.grantMap.map(dom2, dom1, other.ref, hostMap)))).to.equal(
        frame,
      );
    });

    it('answers bad_gntref beyond the table, in either place, before it looks at pins (XSA-18, XSA-134)', () => {
      mapped();
      for (const bad of [512, 0xffffffff, -1]) {
        expect(swap(ref, bad)).to.equal(gntst.bad_gntref);
        expect(swap(bad, ref)).to.equal(gntst.bad_gntref);
        expect(swap(bad, bad)).to.equal(gntst.bad_gntref);
      }
    });

    it('does nothing for the same reference twice, mapped or not', () => {
      mapped();
      expect(swap(ref, ref)).to.equal(gntst.okay);
    });

    it('answers eagain while either is mapped, and swaps afterwards', () => {
      const handle = mapped(hostMap | readonly);
      const other = grant(hypervisor, dom1, dom3);
      const before = [words(ref), words(other.ref)];
      expect(swap(ref, other.ref)).to.equal(gntst.eagain);
      expect(swap(other.ref, ref)).to.equal(gntst.eagain);
      expect([words(ref), words(other.ref)]).to.deep.equal(before);
      ok(hypervisor.grantMap.unmap(dom2, handle, address, 0));
      expect(swap(ref, other.ref)).to.equal(gntst.okay);
    });

    it('grants nothing to the wrong one at any moment', () => {
      const other = grant(hypervisor, dom1, dom3);
      const store = Atomics.store;
      const seen: (readonly [number, number])[] = [];
      Atomics.store = ((...args: Parameters<typeof store>) => {
        const result = store(...args);
        for (const of of [ref, other.ref]) {
          const [flags = 0, granted = 0] = words(of);
          if ((flags & 3) !== 0) seen.push([flags >>> 16, granted]);
        }
        return result;
      }) as typeof store;
      try {
        expect(swap(ref, other.ref)).to.equal(gntst.okay);
      } finally {
        Atomics.store = store;
      }
      expect(seen).to.have.length.above(2);
      for (const [peer, granted] of seen) expect(granted).to.equal(peer === dom2 ? frame : other.frame);
    });
  });

  describe('12 cache_flush', () => {
    const { clean, inval, sourceGref } = gnttabCache;
    const flush = (caller: Domid, devBusAddr: number, offset = 0, length = 64, op: number = clean): number =>
      call(caller, gnttabop.cache_flush, { devBusAddr, offset, length, op });

    it('is for own pages and mapped ones, also released ones and a zombie’s', () => {
      mapped();
      expect(flush(dom1, address)).to.equal(0);
      expect(flush(dom2, address, 4032)).to.equal(0);
      ok(hypervisor.pages.release(dom1, frame, 1));
      expect(flush(dom2, address)).to.equal(0);
      ok(hypervisor.destroyDomain(dom0, dom1));
      expect(flush(dom2, address)).to.equal(0);
    });

    it('answers EINVAL for another’s page that the caller does not map (XSA-232)', () => {
      expect(flush(dom2, address)).to.equal(-errno.EINVAL);
      mapped();
      expect(flush(dom3, address)).to.equal(-errno.EINVAL);
    });

    it('answers EINVAL for a part that leaves the page, or an operation that there is not, before it looks at the page', () => {
      for (const [offset, length, op] of [
        [4096, 0, clean],
        [0, 4097, clean],
        [4095, 2, clean],
        [-1, 1, clean],
        [0, -1, clean],
        [0, 64, 4],
        [0, 64, sourceGref | clean],
      ] as const) {
        expect(flush(dom1, 0, offset, length, op), `${length} at ${offset}, op ${op}`).to.equal(-errno.EINVAL);
      }
    });

    it('does nothing for no bytes or no operation, whatever the page', () => {
      expect(flush(dom1, 2 ** 60, 0, 0)).to.equal(0);
      expect(flush(dom1, 2 ** 60, 0, 64, 0)).to.equal(0);
    });

    it('answers EINVAL where there is no memory, EPERM for what is nobody’s or Xen’s', () => {
      for (const beyond of [hypervisor.memory.frames * PAGE_SIZE, 2 ** 60, -1, Number.NaN]) {
        expect(flush(dom1, beyond), `${beyond}`).to.equal(-errno.EINVAL);
      }
      const free = ok(hypervisor.pages.populate(dom1, dom1, 1));
      ok(hypervisor.pages.release(dom1, free, 1));
      const active = hypervisor.grantEntries.active(hypervisor.memory.slotOf(dom1), ref) / 1024;
      for (const of of [0, free, Math.trunc(active)]) expect(flush(dom1, of * PAGE_SIZE)).to.equal(-errno.EPERM);
    });

    it('cannot invalidate alone on x86: EOPNOTSUPP, once the caller may', () => {
      expect(flush(dom1, address, 0, 64, inval)).to.equal(-errno.EOPNOTSUPP);
      expect(flush(dom1, address, 0, 64, inval | clean)).to.equal(0);
      expect(flush(dom2, address, 0, 64, inval)).to.equal(-errno.EINVAL);
    });

    it('ends at the first element that fails, with its error', () => {
      const part = { offset: 0, length: 64, op: clean };
      const asked: number[] = [];
      const elements = [address, 0, address].map((devBusAddr) => ({
        ...part,
        get devBusAddr() {
          asked.push(devBusAddr);
          return devBusAddr;
        },
      }));
      expect(call(dom1, gnttabop.cache_flush, ...elements)).to.equal(-errno.EPERM);
      expect(asked).to.deep.equal([address, 0]);
    });

    it('looks through a large table with the lock let go in between, and from where it is told to', () => {
      ({ hypervisor } = machine({}, 4 * 2 ** 20));
      ok(hypervisor.grantEntries.setupTable(dom1, dom1, 10));
      frame = ok(hypervisor.pages.populate(dom1, dom1, 1));
      ref = 5000 as GrantRef;
      hypervisor.grantEntries.grantAccess(dom1, ref, dom2, frame, false);
      mapped();
      const { exchange } = Atomics;
      let released = 0;
      Atomics.exchange = ((...args: Parameters<typeof exchange>) => {
        released++;
        return exchange(...args);
      }) as typeof exchange;
      try {
        expect(flush(dom2, frame * PAGE_SIZE)).to.equal(0);
      } finally {
        Atomics.exchange = exchange;
      }
      expect(released).to.equal(2);
      const element = { devBusAddr: frame * PAGE_SIZE, offset: 0, length: 64, op: clean };
      const nothing = { ...element, length: 0 };
      const flushFrom = (from: number, ...elements: readonly CacheFlush[]): number =>
        hypervisor.grantTableOps.call(dom2, (from + gnttabop.cache_flush) as typeof gnttabop.cache_flush, elements);
      expect(flushFrom(4096, element)).to.equal(0);
      expect(flushFrom(8192, element)).to.equal(-errno.EINVAL);
      expect(flushFrom(4096, nothing)).to.equal(-errno.EILSEQ);
      expect(flushFrom(4096, element, nothing)).to.equal(0);
    });
  });

  it('does nothing for a domain that has been destroyed', () => {
    const handle = mapped();
    const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    const back = grant(hypervisor, dom3, dom2);
    ok(hypervisor.grantMap.map(dom3, dom2, grant(hypervisor, dom2, dom3).ref, hostMap));
    ok(hypervisor.destroyDomain(dom0, dom2));
    expect(hypervisor.domains.lifeOf(dom2)).to.equal('zombie');
    const unmap: UnmapAndReplace = { handle, hostAddr: address, newAddr: 0 };
    call(dom2, gnttabop.unmap_and_replace, unmap);
    const swap: SwapGrantRef = { refA: 8 as GrantRef, refB: 9 as GrantRef };
    call(dom2, gnttabop.swap_grant_ref, swap);
    const map: MapGrantRef = { dom: dom3, ref: back.ref, flags: hostMap };
    call(dom2, gnttabop.map_grant_ref, map);
    expect([unmap.status, swap.status, map.status]).to.deep.equal([
      gntst.bad_handle,
      gntst.bad_domain,
      gntst.bad_domain,
    ]);
    expect(call(dom2, gnttabop.set_version, { version: 1 })).to.equal(-errno.ESRCH);
    expect(call(dom2, gnttabop.get_version, { dom: DOMID_SELF })).to.equal(-errno.ESRCH);
    const part = { devBusAddr: own * PAGE_SIZE, offset: 0, length: 1, op: gnttabCache.clean };
    expect(call(dom2, gnttabop.cache_flush, part)).to.equal(-errno.ESRCH);
  });
});
