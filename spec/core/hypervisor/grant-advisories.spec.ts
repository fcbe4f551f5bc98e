// Long, since there is one test for each advisory on grants that applies.
import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef, PAGE_SIZE } from '../../../core/abi/units.js';
import { CopyList } from '../../../core/hypervisor/copy-list.js';
import { gnttabCache } from '../../../core/hypervisor/grant-cache.js';
import { type GnttabCopy, gntcopy } from '../../../core/hypervisor/grant-copy.js';
import { gtf } from '../../../core/hypervisor/grant-entries.js';
import { gntmap, type MapGrantRef, type UnmapGrantRef } from '../../../core/hypervisor/grant-map.js';
import type { SwapGrantRef } from '../../../core/hypervisor/grant-swap.js';
import { gnttabop } from '../../../core/hypervisor/grant-table-ops.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { control, header, life } from '../../../core/hypervisor/layout.js';
import { betweenLocks } from './between-locks.js';
import { expectSound } from './invariants.js';
import { addDomain, bytesOf, dom0, dom1, dom2, dom3, grant, machine, nobody, ok } from './machine.js';
import { preempt } from './preempt.js';

const { hostMap, deviceMap, readonly } = gntmap;
const { sourceGref, destGref } = gntcopy;

describe('Xen’s security advisories on grants', () => {
  let hypervisor: Hypervisor;
  let ref: GrantRef;
  let frame: number;
  let address: number;

  const begin = (): void => {
    ({ hypervisor } = machine());
    ({ ref, frame } = grant(hypervisor, dom1, dom2));
    address = frame * PAGE_SIZE;
  };
  const map = (flags: number = hostMap, of: number = ref, caller: Domid = dom2): number =>
    hypervisor.grantMap.map(caller, dom1, of as GrantRef, flags);
  const unmap = (handle: number, host = address, device = 0): number =>
    hypervisor.grantMap.unmap(dom2, handle, host, device);
  const entry = (of: number = ref): number => hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom1), of);
  const bits = (of: number = ref): number =>
    (hypervisor.memory.words[entry(of)] as number) & (gtf.reading | gtf.writing);
  const copy = (flags: number, own: number, of: number = ref): number =>
    flags === sourceGref
      ? hypervisor.grantCopy.copy(dom2, dom1, of, 0, DOMID_SELF, own, 0, 1, flags)
      : hypervisor.grantCopy.copy(dom2, DOMID_SELF, own, 0, dom1, of, 0, 1, flags);

  beforeEach(begin);

  it('XSA-18, XSA-134: swap_grant_ref checks both references against the table that there is', () => {
    const swap = (refA: number, refB: number): number | undefined => {
      const element: SwapGrantRef = { refA: refA as GrantRef, refB: refB as GrantRef };
      hypervisor.grantTableOps.call(dom3, gnttabop.swap_grant_ref, [element]);
      return element.status;
    };
    for (const [a, b] of [
      [8, 512],
      [512, 8],
      [0xffffffff, 0xffffffff],
    ] as const) {
      expect(swap(a, b)).to.equal(gntst.bad_gntref);
    }
    ok(hypervisor.grantEntries.setupTable(dom3, DOMID_SELF, 2));
    expect(swap(8, 512)).to.equal(gntst.okay);
    expect(swap(8, 1024)).to.equal(gntst.bad_gntref);
  });

  it('XSA-26, XSA-255: asking for another version while grants are mapped changes no table and no count', () => {
    const handle = ok(map());
    const before = hypervisor.memory.bytes.slice();
    for (const version of [2, 0, 1]) {
      expect(hypervisor.grantTableOps.call(dom1, gnttabop.set_version, [{ version }])).to.be.at.most(0);
    }
    expect(Buffer.compare(hypervisor.memory.bytes, before)).to.equal(0);
    expect(unmap(handle)).to.equal(gntst.okay);
    expectSound(hypervisor, 'after the last unmap');
  });

  it('XSA-218, XSA-236: an unmap that is overtaken by another of the same handle takes one pin away, not two', () => {
    for (let at = 0; ; at++) {
      begin();
      const keep = ok(map());
      const handle = ok(map());
      let other = 0;
      let status = 0;
      const overtaken = preempt(
        at,
        () => {
          // Another processor would wait for the lock.
          if (hypervisor.memory.words[header.lock] === 0) other = unmap(handle);
          else other = gntst.bad_handle;
        },
        () => {
          status = unmap(handle);
        },
      );
      if (!overtaken) {
        expect(at).to.be.above(3);
        break;
      }
      expect([status, other].sort(), `overtaken at moment ${at}`).to.deep.equal([gntst.bad_handle, gntst.okay]);
      expect(bits()).to.equal(gtf.reading | gtf.writing);
      expect(unmap(keep)).to.equal(gntst.okay);
      expect(bits()).to.equal(0);
      expectSound(hypervisor, `overtaken at moment ${at}`);
    }
  });

  it('XSA-224: device and host halves, for reading and for writing, are each counted and uncounted for themselves', () => {
    const flags = [1, 2, 3].flatMap((halves) => [halves, halves | readonly]);
    for (const first of flags) {
      for (const second of flags) {
        const handles = [first, second].map((of) => ok(map(of)));
        const writes = (first & second & readonly) === 0;
        expect(bits()).to.equal(writes ? gtf.reading | gtf.writing : gtf.reading);
        expect(unmap(handles[1] as number, address, address)).to.equal(gntst.okay);
        expect(bits()).to.equal((first & readonly) === 0 ? gtf.reading | gtf.writing : gtf.reading);
        expect(unmap(handles[0] as number, address, address)).to.equal(gntst.okay);
        expect(bits()).to.equal(0);
      }
    }
    expectSound(hypervisor, 'after all pairs');
  });

  it('XSA-228: no handle is given out twice, whoever frees and takes them in between', () => {
    const grants = Array.from({ length: 10 }, () => grant(hypervisor, dom1, dom2).ref);
    const held = new Set<number>();
    for (let round = 0; round < 1500; round++) {
      const handle = ok(map(readonly | (round % 3 === 0 ? deviceMap : hostMap), grants[round % 10]));
      expect(held.has(handle), `handle ${handle} in round ${round}`).to.equal(false);
      held.add(handle);
      const freed = [...held].filter((_, i) => held.size > 600 && i % 2 === round % 2);
      for (const of of freed) {
        const at = hypervisor.grantMap.frameOf(dom2, of) * PAGE_SIZE;
        expect(unmap(of, at, at)).to.equal(gntst.okay);
        held.delete(of);
      }
    }
    expect(hypervisor.ledger(dom2).mappings).to.equal(held.size);
    expectSound(hypervisor, 'after all rounds');
  });

  it('XSA-226: transitive grants, to oneself or in a circle, are refused, and leave nothing pinned', () => {
    const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    const list = new CopyList();
    // GTF_transitive; the frame's word would be the other reference.
    hypervisor.memory.words[entry()] = 3 | (dom2 << 16);
    hypervisor.memory.words[entry() + 1] = ref;
    for (const flags of [sourceGref, destGref]) expect(copy(flags, own)).to.equal(gntst.general_error);
    list.add(ref, 0, own, 0, 1);
    hypervisor.grantCopy.copyList(dom2, dom1, list, false);
    expect(list.status(0)).to.equal(gntst.general_error);
    expect(map(hostMap | readonly)).to.equal(gntst.general_error);
    expectSound(hypervisor, 'after the circle');
  });

  it('XSA-227, XSA-234: what is granted for reading is never mapped or copied to for writing', () => {
    const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    const tight = grant(hypervisor, dom1, dom2, true);
    const attempts = (): void => {
      for (const flags of [hostMap, deviceMap, hostMap | deviceMap]) {
        expect(map(flags, tight.ref)).to.equal(gntst.general_error);
      }
      expect(copy(destGref, own, tight.ref)).to.equal(gntst.general_error);
    };
    attempts();
    ok(map(hostMap | readonly, tight.ref));
    attempts();
    ok(map(deviceMap | readonly, tight.ref));
    attempts();
    expect(bits(tight.ref)).to.equal(gtf.reading);
  });

  it('XSA-227, XSA-234: not even when its granter has been destroyed meanwhile', () => {
    const tight = grant(hypervisor, dom1, dom2, true);
    ok(map(hostMap | readonly, tight.ref));
    ok(hypervisor.destroyDomain(dom0, dom1));
    expect(map(hostMap, tight.ref)).to.equal(gntst.general_error);
    const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    expect(copy(destGref, own, tight.ref)).to.equal(gntst.general_error);
  });

  it('XSA-230: a page is held by its mappings, not by halves of them, and free after the last', () => {
    const handles = [hostMap | deviceMap, hostMap | readonly].map((flags) => ok(map(flags)));
    ok(hypervisor.pages.release(dom1, frame, 1));
    expect(unmap(handles[0] as number)).to.equal(gntst.okay);
    expect(unmap(handles[1] as number)).to.equal(gntst.okay);
    expect(hypervisor.ledger(dom1).heldPages).to.equal(1);
    expect(unmap(handles[0] as number, 0, address)).to.equal(gntst.okay);
    expect(hypervisor.ledger(dom1).heldPages).to.equal(0);
    expectSound(hypervisor, 'after the last half');
  });

  it('XSA-232: cache_flush finds out whose page it is', () => {
    const part = { devBusAddr: address, offset: 0, length: 1, op: gnttabCache.clean };
    const flush = (caller: Domid): number => hypervisor.grantTableOps.call(caller, gnttabop.cache_flush, [part]);
    expect(flush(dom3)).to.equal(-errno.EINVAL);
    expect(flush(dom2)).to.equal(-errno.EINVAL);
    const handle = ok(map());
    expect([flush(dom1), flush(dom2), flush(dom3)]).to.deep.equal([0, 0, -errno.EINVAL]);
    unmap(handle);
    expect(flush(dom2)).to.equal(-errno.EINVAL);
  });

  it('XSA-268: version 2 is refused where it is not supported', () => {
    expect(hypervisor.grantTableOps.call(dom1, gnttabop.set_version, [{ version: 2 }])).to.equal(-errno.ENOSYS);
    const frames = { dom: DOMID_SELF, nrFrames: 1 };
    hypervisor.grantTableOps.call(dom1, gnttabop.get_status_frames, [frames]);
    expect(frames).to.have.property('status', gntst.general_error);
  });

  it('XSA-217, XSA-284, XSA-287: no page changes its owner by a grant', () => {
    const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    hypervisor.memory.words[entry()] = gtf.acceptTransfer | (dom2 << 16);
    const element = { mfn: own, domid: dom1, ref };
    expect(hypervisor.grantTableOps.call(dom2, gnttabop.transfer, [element])).to.equal(-errno.EOPNOTSUPP);
    expect([hypervisor.ledger(dom1).pages, hypervisor.ledger(dom2).pages]).to.deep.equal([1, 1]);
    expect(hypervisor.memory.words[entry()]).to.equal(gtf.acceptTransfer | (dom2 << 16));
  });

  describe('XSA-295, XSA-316, XSA-318: every element of a batch has its status, and the right one, with others’ calls between any two', () => {
    it('of maps: a grant revoked in between is the only one that fails', () => {
      const grants = Array.from({ length: 6 }, () => grant(hypervisor, dom1, dom2));
      const batch: MapGrantRef[] = grants.map((of) => ({ dom: dom1, ref: of.ref, flags: hostMap }));
      const times = betweenLocks(
        hypervisor,
        (time) => {
          if (time === 2)
            expect(hypervisor.grantEntries.endAccess(dom1, (grants[4] as { ref: GrantRef }).ref)).to.equal(true);
        },
        () => {
          expect(hypervisor.grantTableOps.call(dom2, gnttabop.map_grant_ref, batch)).to.equal(0);
        },
      );
      expect(times).to.equal(6);
      expect(batch.map(({ status }) => status)).to.deep.equal([0, 0, 0, 0, gntst.general_error, 0]);
      expect(hypervisor.ledger(dom2).mappings).to.equal(5);
    });

    it('of unmaps: the granter’s end in between does no harm', () => {
      const handles = Array.from({ length: 5 }, () => ok(map(hostMap | readonly)));
      const batch: UnmapGrantRef[] = [...handles, 99].map((handle) => ({ handle, hostAddr: address, devBusAddr: 0 }));
      betweenLocks(
        hypervisor,
        (time) => {
          if (time === 1) ok(hypervisor.destroyDomain(dom0, dom1));
        },
        () => hypervisor.grantTableOps.call(dom2, gnttabop.unmap_grant_ref, batch),
      );
      expect(batch.map(({ status }) => status)).to.deep.equal([0, 0, 0, 0, 0, gntst.bad_handle]);
      expect(hypervisor.domains.lifeOf(dom1)).to.equal('none');
    });

    it('of copies and swaps', () => {
      const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
      const copies: GnttabCopy[] = Array.from({ length: 4 }, (_, i) => ({
        source: { domid: dom1, refOrFrame: ref, offset: 0 },
        dest: { domid: DOMID_SELF, refOrFrame: own, offset: i },
        len: 1,
        flags: sourceGref,
      }));
      bytesOf(hypervisor, frame)[0] = 7;
      betweenLocks(
        hypervisor,
        (time) => {
          if (time === 1) hypervisor.grantEntries.endAccess(dom1, ref);
        },
        () => hypervisor.grantTableOps.call(dom2, gnttabop.copy, copies),
      );
      expect(copies.map(({ status }) => status)).to.deep.equal([0, 0, gntst.general_error, gntst.general_error]);
      expect([...bytesOf(hypervisor, own).slice(0, 4)]).to.deep.equal([7, 7, 0, 0]);
      const again = grant(hypervisor, dom1, dom2);
      const swaps: SwapGrantRef[] = Array.from({ length: 3 }, () => ({ refA: ref, refB: again.ref }));
      betweenLocks(
        hypervisor,
        (time) => {
          if (time === 0) ok(map(hostMap, ref));
        },
        () => hypervisor.grantTableOps.call(dom1, gnttabop.swap_grant_ref, swaps),
      );
      expect(swaps.map(({ status }) => status)).to.deep.equal([0, gntst.eagain, gntst.eagain]);
    });
  });

  it('XSA-379, XSA-387, XSA-486: there are no status frames that could outlive a switch', () => {
    for (const version of [2, 1, 2]) {
      hypervisor.grantTableOps.call(dom1, gnttabop.set_version, [{ version }]);
      const size = { dom: DOMID_SELF };
      hypervisor.grantTableOps.call(dom1, gnttabop.get_version, [size]);
      expect(size).to.have.property('version', 1);
      for (const caller of [dom0, dom1]) {
        const frames = { dom: dom1, nrFrames: 1 };
        hypervisor.grantTableOps.call(caller, gnttabop.get_status_frames, [frames]);
        expect(frames).to.have.property('status', gntst.general_error);
        expect(frames).to.not.have.property('frameList');
      }
    }
  });

  describe('XSA-380, XSA-382, XSA-384: what is long is done in parts, and others’ calls come in between', () => {
    const many = 3000;
    /** Domain 2 maps `many` pages of domain 1, and has as many grants itself. */
    const large = (): void => {
      ({ hypervisor } = machine({}, 32 * 2 ** 20));
      for (let i = 0; i < many; i++) ok(map(hostMap, grant(hypervisor, dom1, dom2).ref));
      for (let i = 0; i < many; i++) grant(hypervisor, dom2, dom3);
    };

    it('the end of a domain that maps much and grants much', () => {
      large();
      const lives: string[] = [];
      const times = betweenLocks(
        hypervisor,
        () => {
          lives.push(hypervisor.domains.lifeOf(dom2));
          // Everybody else goes on, with the one that is dying too: what it has not lost yet may still be mapped.
          const handle = hypervisor.grantMap.map(dom3, dom2, (8 + many - 1) as GrantRef, hostMap);
          if (handle >= 0)
            ok(hypervisor.grantMap.unmap(dom3, handle, hypervisor.grantMap.frameOf(dom3, handle) * 4096, 0));
          else expect(handle).to.be.oneOf([gntst.general_error, gntst.bad_page, gntst.bad_domain]);
          expect(hypervisor.grantMap.map(dom2, dom1, 8 as GrantRef, hostMap)).to.equal(gntst.bad_domain);
          ok(hypervisor.pages.release(dom3, ok(hypervisor.pages.populate(dom3, dom3, 1)), 1));
        },
        () => ok(hypervisor.destroyDomain(dom0, dom2)),
      );
      expect(times).to.be.above(many / 512 + many / 2048);
      expect(lives.slice(0, -1).every((life) => life === 'dying')).to.equal(true);
      expect(lives.at(-1)).to.equal('none');
      expect(hypervisor.ledger()).to.include({ mappings: 0, grantsInUse: 0, pages: many });
      expectSound(hypervisor, 'after the end');
    });

    it('the end of a domain with many ports', () => {
      for (let port = 1; port <= 1000; port++) ok(hypervisor.eventChannels.allocUnbound(dom2, dom2, dom3));
      const left: number[] = [];
      const note = (): number => left.push(hypervisor.ledger(dom2).ports.unbound);
      betweenLocks(hypervisor, note, () => ok(hypervisor.destroyDomain(dom0, dom2)));
      expect(left.slice(0, 4)).to.deep.equal([745, 489, 233, 0]);
    });

    it('also where another’s thread is mourned in between, which ends what was begun: its frames are others’ then', () => {
      large();
      const mended: string[] = [];
      const pages: number[] = [];
      betweenLocks(
        hypervisor,
        (time) => {
          if (time !== 2) return;
          mended.push(...hypervisor.recover(dom0, dom3));
          for (let page = 1; page > 0; page = hypervisor.pages.populate(dom3, dom3, 1)) if (page > 1) pages.push(page);
          for (const page of pages) bytesOf(hypervisor, page).fill(0x11);
        },
        () => ok(hypervisor.destroyDomain(dom0, dom2)),
      );
      expect(mended).to.deep.equal(['domain 2 was not destroyed to the end']);
      expect(hypervisor.domains.lifeOf(dom2)).to.equal('none');
      expect(pages.length).to.be.above(many);
      expect(pages.filter((page) => bytesOf(hypervisor, page).some((byte) => byte !== 0x11))).to.deep.equal([]);
      for (const page of pages) ok(hypervisor.pages.release(dom3, page, 1));
      expectSound(hypervisor, 'after both');
    });

    for (const [what, now] of [
      ['lives', life.alive],
      ['is dying in its turn', life.dying],
    ] as const) {
      it(`also where a new domain has the slot and the domid by then, and ${what}: it is not destroyed in its place`, () => {
        large();
        let own = { ref: 0 as GrantRef, frame: 0 };
        betweenLocks(
          hypervisor,
          (time) => {
            if (time !== 2) return;
            hypervisor.recover(dom0, dom3);
            addDomain(hypervisor, dom2);
            own = grant(hypervisor, dom2, dom1);
            const { memory } = hypervisor;
            memory.words[memory.control(memory.slotOf(dom2)) + control.life] = now;
          },
          () => ok(hypervisor.destroyDomain(dom0, dom2)),
        );
        expect(hypervisor.domains.lifeOf(dom2)).to.equal(now === life.alive ? 'alive' : 'dying');
        expect(hypervisor.frames.isPage(own.frame, dom2)).to.equal(true);
        expect(hypervisor.grantMap.map(dom1, dom2, own.ref, hostMap)).to.be.at.least(0);
      });
    }

    it('also after it was given up midway, by the next call of the same kind', () => {
      large();
      const giveUp = (time: number): void => {
        if (time === 4) throw new Error('the lock is stuck');
      };
      expect(() => betweenLocks(hypervisor, giveUp, () => hypervisor.destroyDomain(dom0, dom2))).to.throw('stuck');
      expect(hypervisor.domains.lifeOf(dom2)).to.equal('dying');
      ok(hypervisor.destroyDomain(dom0, dom2));
      expect(hypervisor.domains.lifeOf(dom2)).to.equal('none');
      expect(hypervisor.ledger()).to.include({ mappings: 0, grantsInUse: 0, pages: many });
      expectSound(hypervisor, 'after the second');
    });

    it('a batch of copies holds the lock for one element, a list for 32', () => {
      const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
      const elements = Array.from({ length: 40 }, () => ({
        source: { domid: dom1, refOrFrame: ref, offset: 0 },
        dest: { domid: DOMID_SELF, refOrFrame: own, offset: 0 },
        len: 1,
        flags: sourceGref,
      }));
      const held = betweenLocks(
        hypervisor,
        () => {},
        () => hypervisor.grantCopy.copyAll(dom2, elements),
      );
      expect(held).to.equal(40);
    });
  });

  it('XSA-394: of a mapping of both halves, the host half goes alone, then the device half, each once', () => {
    for (const flags of [hostMap | deviceMap, hostMap | deviceMap | readonly]) {
      const handle = ok(map(flags));
      expect(unmap(handle)).to.equal(gntst.okay);
      expect(unmap(handle)).to.equal(gntst.okay);
      expect(bits()).to.equal((flags & readonly) === 0 ? gtf.reading | gtf.writing : gtf.reading);
      expectSound(hypervisor, 'with the device half left');
      expect(unmap(handle, 0, address)).to.equal(gntst.okay);
      expect(bits()).to.equal(0);
      expect(unmap(handle, 0, address)).to.equal(gntst.bad_handle);
    }
  });

  it('XSA-406: several queues that map the same reference have each a mapping of their own', () => {
    const handles = Array.from({ length: 8 }, () => ok(map(hostMap | readonly)));
    expect(new Set(handles).size).to.equal(8);
    for (const [i, handle] of handles.entries()) {
      expect(bits()).to.equal(gtf.reading);
      expect(unmap(handle), `the ${i + 1}th`).to.equal(gntst.okay);
    }
    expect(bits()).to.equal(0);
  });

  it('XSA-411: a copy that fails, for whatever reason and at either end, leaves no lock and no pin', () => {
    const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    const tight = grant(hypervisor, dom1, dom2, true).ref;
    const theirs = grant(hypervisor, dom1, dom3).ref;
    const gone = grant(hypervisor, dom1, dom2);
    ok(hypervisor.pages.release(dom1, gone.frame, 1));
    const ends = [
      [dom1, ref, true],
      [dom1, tight, true],
      [dom1, theirs, true],
      [dom1, gone.ref, true],
      [dom1, 600, true],
      [nobody, 8, true],
      [dom1, frame, false],
      [DOMID_SELF, frame, false],
      [DOMID_SELF, own, false],
    ] as const;
    let failed = 0;
    for (const [sourceDom, source, sourceIsRef] of ends) {
      for (const [destDom, dest, destIsRef] of ends) {
        for (const len of [1, 5000]) {
          const flags = (sourceIsRef ? sourceGref : 0) | (destIsRef ? destGref : 0);
          if (hypervisor.grantCopy.copy(dom2, sourceDom, source, 0, destDom, dest, 0, len, flags) !== gntst.okay)
            failed++;
          expectSound(hypervisor, `${source} of ${sourceDom} to ${dest} of ${destDom}, ${len} bytes`);
        }
      }
    }
    expect(failed).to.be.above(140);
  });

  it('XSA-500: an entry whose frame was changed after its first use fails a copy that writes', () => {
    const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    ok(map(hostMap | readonly));
    const other = ok(hypervisor.pages.populate(dom1, dom1, 1));
    bytesOf(hypervisor, other).fill(1);
    bytesOf(hypervisor, own).fill(2);
    hypervisor.memory.words[entry() + 1] = other;
    expect(copy(destGref, own)).to.equal(gntst.general_error);
    expect([bytesOf(hypervisor, frame)[0], bytesOf(hypervisor, other)[0]]).to.deep.equal([0, 1]);
    hypervisor.memory.words[entry() + 1] = frame;
    expect(copy(destGref, own)).to.equal(gntst.okay);
  });

  it('XSA-501, XSA-517: no switch of the version meets what is under way: it is refused at every moment of a map', () => {
    for (let at = 0; ; at++) {
      begin();
      let handle = 0;
      const overtaken = preempt(
        at,
        () => {
          expect(hypervisor.grantTableOps.call(dom1, gnttabop.set_version, [{ version: 2 }])).to.equal(-errno.ENOSYS);
        },
        () => {
          handle = map();
        },
      );
      expect(hypervisor.grantMap.frameOf(dom2, handle)).to.equal(frame);
      expectSound(hypervisor, `at moment ${at}`);
      if (!overtaken) break;
    }
  });

  it('CVE-2026-102703: no element of a batch believes what was checked for the one before it', () => {
    // The caller's own frame, and then references and frames of others that have its number, in every order.
    const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    const secret = ok(hypervisor.pages.populate(dom3, dom3, 1));
    bytesOf(hypervisor, secret).fill(9);
    ok(hypervisor.grantEntries.setupTable(dom1, dom1, 2));
    hypervisor.grantEntries.grantAccess(dom1, own as GrantRef, dom3, frame, false);
    hypervisor.grantEntries.grantAccess(dom1, secret as GrantRef, dom2, frame, false);
    const dest = { domid: DOMID_SELF, refOrFrame: own, offset: 0 };
    const forms = [
      { domid: DOMID_SELF, refOrFrame: own, byRef: false, status: gntst.okay },
      { domid: dom1, refOrFrame: own, byRef: true, status: gntst.general_error },
      { domid: dom1, refOrFrame: secret, byRef: true, status: gntst.okay },
      { domid: DOMID_SELF, refOrFrame: secret, byRef: false, status: gntst.bad_page },
      { domid: dom1, refOrFrame: secret, byRef: false, status: gntst.permission_denied },
    ];
    for (const first of forms) {
      for (const second of forms) {
        const batch: GnttabCopy[] = [first, second].map(({ domid, refOrFrame, byRef }) => ({
          source: { domid, refOrFrame, offset: 0 },
          dest,
          len: 1,
          flags: byRef ? sourceGref : 0,
        }));
        hypervisor.grantTableOps.call(dom2, gnttabop.copy, batch);
        expect(batch.map(({ status }) => status)).to.deep.equal([first.status, second.status]);
        expect(bytesOf(hypervisor, own)[0]).to.not.equal(9);
      }
    }
  });

  it('CVE-2026-102704: a frame of any domain but DOMID_SELF is refused in every position of a batch, at both ends', () => {
    const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    const self = { domid: DOMID_SELF, refOrFrame: own, offset: 0 };
    const good: GnttabCopy = {
      source: { domid: dom1, refOrFrame: ref, offset: 0 },
      dest: self,
      len: 1,
      flags: sourceGref,
    };
    const foreign = { domid: dom1, refOrFrame: frame, offset: 0 };
    for (const bad of [
      { source: foreign, dest: self, len: 1, flags: 0 },
      { source: self, dest: foreign, len: 1, flags: 0 },
      { source: { ...self, domid: dom2 }, dest: self, len: 1, flags: 0 },
    ]) {
      for (let position = 0; position < 5; position++) {
        const batch: GnttabCopy[] = [0, 1, 2, 3, 4].map((i) => ({ ...(i === position ? bad : good) }));
        hypervisor.grantTableOps.call(dom2, gnttabop.copy, batch);
        expect(batch.map(({ status }) => status)).to.deep.equal(
          [0, 1, 2, 3, 4].map((i) => (i === position ? gntst.permission_denied : gntst.okay)),
        );
      }
    }
  });
});
