// Long, since pages, grants, mappings and copies each have their rules and their end.
import { expect } from 'chai';
import { errno } from '../../../core/abi/errno.js';
import { gntst } from '../../../core/abi/gntst.js';
import type { Domid, GrantRef } from '../../../core/abi/units.js';
import type { Page, SharedPage } from '../../../core/domain/grant-table.js';
import { GrantError, XenError } from '../../../core/errors.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { header } from '../../../core/hypervisor/layout.js';
import { HypervisorGrantTable } from '../../../platform/hypervisor/grant-table.js';
import { addDomain, dom0, dom1, dom2, dom3, grant, machine, nobody } from '../../core/hypervisor/machine.js';

describe('the grant table of a domain', () => {
  let hypervisor: Hypervisor;
  let front: HypervisorGrantTable;
  let back: HypervisorGrantTable;

  beforeEach(() => {
    ({ hypervisor } = machine());
    front = new HypervisorGrantTable(hypervisor, dom1);
    back = new HypervisorGrantTable(hypervisor, dom2);
  });

  describe('own pages', () => {
    it('are zeroed, and have both views of the same memory', () => {
      const page = front.alloc(3);
      expect([page.bytes.length, page.words.length]).to.deep.equal([3 * 4096, 3 * 1024]);
      expect(page.bytes.every((byte) => byte === 0)).to.equal(true);
      page.bytes[4097] = 1;
      expect(page.words[1024]).to.equal(256);
      expect(page.bytes).to.equal(page.bytes);
    });

    it('are zeroed again before each use, as rings and buffers are (XSA-403)', () => {
      for (const take of [() => front.alloc(), () => front.share(dom2), () => front.share(dom2, 2)]) {
        const page = take();
        const { byteOffset } = page.bytes;
        page.bytes.fill(0xa5);
        page[Symbol.dispose]();
        const again = take();
        expect(again.bytes.byteOffset).to.equal(byteOffset);
        expect(again.bytes.every((byte) => byte === 0)).to.equal(true);
        again[Symbol.dispose]();
      }
      expect(front.counts).to.deep.equal({ owned: 0, shared: 0, mapped: 0, parked: 0, pooled: 3 });
    });

    it('are used again by the domain, and go back to Xen when asked', () => {
      const first = front.alloc();
      const { byteOffset } = first.bytes;
      first[Symbol.dispose]();
      const second = front.alloc();
      expect(second.bytes.byteOffset).to.equal(byteOffset);
      second[Symbol.dispose]();
      expect(hypervisor.ledger(dom1).pages).to.equal(1);
      front.trim();
      expect(hypervisor.ledger(dom1).pages).to.equal(0);
      expect(front.counts.pooled).to.equal(0);
    });

    it('come from the pool’s other runs when Xen has none left', () => {
      const pages = Array.from({ length: 40 }, () => front.alloc());
      while (hypervisor.pages.populate(dom3, dom3, 1) > 0);
      for (const page of pages) page[Symbol.dispose]();
      const run = front.alloc(2);
      expect(run.bytes.length).to.equal(8192);
      expect(() => front.alloc(1000))
        .to.throw(XenError, '1000 pages')
        .with.property('errno', errno.ENOMEM);
    });

    it('throw when they are touched after disposal; a second disposal does nothing', () => {
      const page = front.alloc();
      page[Symbol.dispose]();
      page[Symbol.dispose]();
      expect(() => page.bytes).to.throw(TypeError, 'disposed');
      expect(() => page.words).to.throw(TypeError, 'disposed');
      expect(front.counts).to.include({ owned: 0, pooled: 1 });
    });

    it('that the domain was built with can be taken up, and are not given back', () => {
      const frame = hypervisor.pages.populate(dom0, dom1, 1);
      const page = front.adopt(frame);
      page.bytes[0] = 1;
      page[Symbol.dispose]();
      expect(front.counts.pooled).to.equal(0);
      expect(() => back.adopt(frame)).to.throw(RangeError, `frame ${frame} is no page of domain 2`);
    });

    it('are 1 or more', () => {
      for (const pages of [0, -1, 1.5]) expect(() => front.alloc(pages)).to.throw(RangeError);
      for (const pages of [0, -1, 1.5]) expect(() => front.share(dom2, pages)).to.throw(RangeError);
    });
  });

  describe('sharing and mapping', () => {
    it('shows the peer the page itself', () => {
      const shared = front.share(dom2);
      shared.bytes[7] = 70;
      const mapped = back.map(dom1, [shared.ref]);
      expect(mapped.bytes[7]).to.equal(70);
      mapped.words[2] = 5;
      expect(shared.bytes[8]).to.equal(5);
      mapped[Symbol.dispose]();
      mapped[Symbol.dispose]();
      expect(() => mapped.bytes).to.throw(TypeError, 'disposed');
      expect(back.counts.mapped).to.equal(0);
      expect(hypervisor.ledger(dom2).mappings).to.equal(0);
    });

    it('knows whether the peer has the page mapped', () => {
      const shared = front.share(dom2, 2);
      expect(shared.inUse).to.equal(false);
      const mapped = back.map(dom1, [shared.refs[1] as GrantRef]);
      expect(shared.inUse).to.equal(true);
      mapped[Symbol.dispose]();
      expect(shared.inUse).to.equal(false);
    });

    it('maps a run of pages side by side, as a ring of several pages needs', () => {
      const ring = front.share(dom2, 4);
      const mapped = back.map(dom1, ring.refs);
      expect(mapped.bytes.length).to.equal(4 * 4096);
      for (let i = 0; i < 4; i++) ring.bytes[i * 4096] = i + 1;
      expect([0, 1, 2, 3].map((i) => mapped.bytes[i * 4096])).to.deep.equal([1, 2, 3, 4]);
      mapped[Symbol.dispose]();
      expect(hypervisor.ledger(dom2).mappings).to.equal(0);
    });

    it('refuses pages that are not side by side with EOPNOTSUPP, and maps none of them (XSA-229)', () => {
      const [a, , b] = [front.share(dom2), front.share(dom2), front.share(dom2)] as [
        SharedPage,
        SharedPage,
        SharedPage,
      ];
      for (const refs of [
        [a.ref, b.ref],
        [b.ref, a.ref],
        [a.ref, a.ref],
      ]) {
        expect(() => back.map(dom1, refs))
          .to.throw(XenError, 'side by side')
          .with.property('errno', errno.EOPNOTSUPP);
      }
      expect(hypervisor.ledger()).to.include({ mappings: 0, grantsInUse: 0 });
    });

    it('maps all or none: fails at the k-th of n, for every k (XSA-361, XSA-365, XSA-367, XSA-371)', () => {
      for (let k = 0; k < 4; k++) {
        const ring = front.share(dom2, 4);
        const refs = ring.refs.map((ref, i) => (i === k ? (600 as GrantRef) : ref));
        expect(() => back.map(dom1, refs))
          .to.throw(GrantError, 'reference 600')
          .with.property('status', gntst.bad_gntref);
        expect(hypervisor.ledger()).to.include({ mappings: 0, grantsInUse: 0 });
        ring[Symbol.dispose]();
      }
      expect(front.parked).to.equal(0);
      expect(() => back.map(dom1, [])).to.throw(RangeError, 'one grant reference or more');
    });

    it('lets a peer only read what was shared so', () => {
      const shared = front.share(dom2, 1, { readonly: true });
      expect(() => back.map(dom1, [shared.ref]))
        .to.throw(GrantError)
        .with.property('status', gntst.general_error);
      expect(back.map(dom1, [shared.ref], { readonly: true }).bytes[0]).to.equal(0);
      expect(() =>
        back.copyTo(dom1, [{ ref: shared.ref, offset: 0, page: back.alloc(), pageOffset: 0, length: 1 }]),
      ).to.throw(GrantError);
    });

    it('lets nobody but the peer in', () => {
      const shared = front.share(dom2);
      const third = new HypervisorGrantTable(hypervisor, dom3);
      expect(() => third.map(dom1, [shared.ref])).to.throw(GrantError, 'GNTST_general_error');
      expect(() => back.map(nobody, [shared.ref])).to.throw(GrantError, 'GNTST_bad_domain');
    });

    it('shares nothing when the table is full, and leaks nothing', () => {
      ({ hypervisor } = machine({}, 8 * 2 ** 20));
      addDomain(hypervisor, 9 as Domid, { maxGrantFrames: 1 });
      const small = new HypervisorGrantTable(hypervisor, 9 as Domid);
      const pages = Array.from({ length: 100 }, () => small.share(dom2, 5));
      const before = hypervisor.ledger(9 as Domid);
      expect(() => small.share(dom2, 5))
        .to.throw(XenError)
        .with.property('errno', errno.ENOSPC);
      expect(hypervisor.ledger(9 as Domid)).to.deep.equal({ ...before, pages: before.pages + 5 });
      expect(small.counts).to.include({ shared: 100, parked: 0, pooled: 5 });
      for (const page of pages) page[Symbol.dispose]();
      expect(hypervisor.ledger(9 as Domid)).to.include({ refs: 0, grants: 0 });
    });
  });

  describe('a shared page that is disposed while the peer has it mapped', () => {
    it('is parked, and not used again before the peer lets go (XSA-396)', () => {
      const shared = front.share(dom2);
      const { byteOffset } = shared.bytes;
      const { ref } = shared;
      const mapped = back.map(dom1, [ref]);
      mapped.bytes[0] = 9;
      shared[Symbol.dispose]();
      shared[Symbol.dispose]();
      expect(front.parked).to.equal(1);
      const others = Array.from({ length: 20 }, () => front.share(dom2));
      for (const other of others) {
        expect(other.bytes.byteOffset).to.not.equal(byteOffset);
        expect(other.ref).to.not.equal(ref);
      }
      expect(mapped.bytes[0]).to.equal(9);
      expect(front.reclaim()).to.equal(0);
      mapped[Symbol.dispose]();
      expect(front.reclaim()).to.equal(1);
      expect(front.counts).to.include({ parked: 0, pooled: 1 });
      expect(front.share(dom2).bytes.byteOffset).to.equal(byteOffset);
    });

    it('comes free as a whole run, when the last of its pages does', () => {
      const ring = front.share(dom2, 4);
      const maps = ring.refs.map((ref) => back.map(dom1, [ref]));
      ring[Symbol.dispose]();
      for (const mapped of maps) {
        expect(front.reclaim()).to.equal(0);
        expect(front.counts).to.include({ parked: 1, pooled: 0 });
        mapped[Symbol.dispose]();
      }
      expect(front.reclaim()).to.equal(1);
      expect(front.counts).to.include({ parked: 0, pooled: 4 });
      expect(hypervisor.ledger(dom1)).to.include({ refs: 0, grants: 0 });
    });

    it('is asked for by later operations: 5000 parked pages drain, and cost each operation the same (CVE-2023-54081)', () => {
      ({ hypervisor } = machine({}, 32 * 2 ** 20));
      front = new HypervisorGrantTable(hypervisor, dom1);
      back = new HypervisorGrantTable(hypervisor, dom2);
      const maps = Array.from({ length: 5000 }, () => {
        const shared = front.share(dom2);
        const mapped = back.map(dom1, [shared.ref]);
        shared[Symbol.dispose]();
        return mapped;
      });
      expect(front.parked).to.equal(5000);
      for (const mapped of maps) mapped[Symbol.dispose]();
      let operations = 0;
      for (; front.parked > 0; operations++) front.alloc()[Symbol.dispose]();
      expect(operations).to.be.at.most(5000 / 8 + 1);
      expect(front.counts).to.include({ owned: 0, shared: 0, parked: 0 });
    });
  });

  describe('copies', () => {
    it('between a peer’s page and an own one, both ways, in one call', () => {
      const shared = front.share(dom2, 2);
      const own = back.alloc(2);
      shared.bytes.set([1, 2, 3, 4], 4096);
      back.copyFrom(dom1, [{ ref: shared.refs[1] as GrantRef, offset: 1, page: own, pageOffset: 4096 + 8, length: 3 }]);
      expect([...own.bytes.slice(4096 + 7, 4096 + 12)]).to.deep.equal([0, 2, 3, 4, 0]);
      back.copyTo(dom1, [
        { ref: shared.ref, offset: 0, page: own, pageOffset: 4096 + 8, length: 2 },
        { ref: shared.ref, offset: 100, page: own, pageOffset: 4096 + 10, length: 1 },
      ]);
      expect([shared.bytes[0], shared.bytes[1], shared.bytes[2], shared.bytes[100]]).to.deep.equal([2, 3, 0, 4]);
    });

    it('of one batch are each done; the first that failed is thrown', () => {
      const shared = front.share(dom2);
      const own = back.alloc();
      shared.bytes.fill(7);
      const segments = [600, shared.ref, 0xffffff, shared.ref].map((ref, i) => ({
        ref: ref as GrantRef,
        offset: i === 3 ? 4096 : 0,
        page: own,
        pageOffset: i,
        length: 1,
      }));
      expect(() => back.copyFrom(dom1, segments))
        .to.throw(GrantError, 'reference 600 of domain 1: GNTST_bad_gntref')
        .with.property('status', gntst.bad_gntref);
      expect([...own.bytes.slice(0, 4)]).to.deep.equal([0, 7, 0, 0]);
    });

    describe('of more segments than are copied under one lock', () => {
      const batch = (count: number, wrong: Readonly<Record<number, GrantRef>> = {}) => {
        const shared = front.share(dom2);
        const own = back.alloc();
        own.bytes.fill(7);
        const segments = Array.from({ length: count }, (_, i) => ({
          ref: wrong[i] ?? shared.ref,
          offset: i,
          page: own,
          pageOffset: i,
          length: 1,
        }));
        const copied = () => [...shared.bytes].flatMap((byte, i) => (byte === 7 ? [i] : []));
        return { segments, copied };
      };
      const upTo = (count: number, ...without: readonly number[]) =>
        Array.from({ length: count }, (_, i) => i).filter((i) => !without.includes(i));

      it('are all done, and the first that failed is thrown, be it in the first lot or a later one', () => {
        for (const failing of [[3, 40, 69], [31], [32], [69]]) {
          const { segments, copied } = batch(70, Object.fromEntries(failing.map((i) => [i, (600 + i) as GrantRef])));
          expect(() => back.copyTo(dom1, segments)).to.throw(
            GrantError,
            `reference ${600 + (failing[0] as number)} of`,
          );
          expect(copied()).to.deep.equal(upTo(70, ...failing));
        }
        const { segments, copied } = batch(64);
        back.copyTo(dom1, segments);
        back.copyTo(dom1, []);
        expect(copied()).to.deep.equal(upTo(64));
      });

      it('let the lock go after every 32, so that no batch keeps another domain waiting for long', () => {
        const { words } = hypervisor.memory;
        const { segments } = batch(70);
        const { exchange } = Atomics;
        let released = 0;
        Atomics.exchange = ((array: Int32Array, at: number, value: number) => {
          if (array === words && at === header.lock) released++;
          return exchange(array, at, value);
        }) as typeof Atomics.exchange;
        try {
          back.copyTo(dom1, segments);
        } finally {
          Atomics.exchange = exchange;
        }
        expect(released).to.equal(3);
      });

      it('stop at a segment that is a mistake, what comes before it being done', () => {
        for (const at of [0, 5, 32, 40]) {
          const { segments, copied } = batch(50, { 2: 600 as GrantRef });
          const mistaken = segments.map((segment, i) => (i === at ? { ...segment, pageOffset: 4096 } : segment));
          expect(() => back.copyTo(dom1, mistaken)).to.throw(RangeError, 'leave the page');
          expect(copied()).to.deep.equal(upTo(at, 2));
          // Nothing of it is left for the next call.
          back.copyTo(dom1, segments.slice(10, 11));
          expect(copied()).to.include(10);
        }
      });

      it('run no code of a segment’s with the lock held, and stand it copying too', () => {
        const { words } = hypervisor.memory;
        const inner = batch(40);
        const outer = batch(40);
        const page = outer.segments[0]?.page;
        const reentrant = outer.segments.map((segment) => ({
          ...segment,
          get page() {
            expect(words[header.lock]).to.equal(0);
            back.copyTo(dom1, inner.segments.slice(segment.offset, segment.offset + 1));
            return page as NonNullable<typeof page>;
          },
        }));
        back.copyTo(dom1, reentrant);
        expect([inner.copied(), outer.copied()]).to.deep.equal([upTo(40), upTo(40)]);
      });
    });

    it('answer bad_copy_arg where a page is crossed', () => {
      const shared = front.share(dom2);
      const own = back.alloc(2);
      const copy = (offset: number, pageOffset: number, length: number) => () =>
        back.copyFrom(dom1, [{ ref: shared.ref, offset, page: own, pageOffset, length }]);
      expect(copy(0, 4000, 97))
        .to.throw(GrantError)
        .with.property('status', gntst.bad_copy_arg);
      expect(copy(4095, 0, 2))
        .to.throw(GrantError)
        .with.property('status', gntst.bad_copy_arg);
      expect(copy(0, 0, 0)).to.not.throw();
    });

    it('refuse places outside of the own page, pages of others’ making, and disposed ones', () => {
      const shared = front.share(dom2);
      const own = back.alloc();
      const copy = (page: typeof own, pageOffset: number, length: number) => () =>
        back.copyFrom(dom1, [{ ref: shared.ref, offset: 0, page, pageOffset, length }]);
      for (const [at, length] of [
        [4096, 1],
        [-1, 1],
        [4000, 97],
        [0, -1],
      ] as const) {
        expect(copy(own, at, length), `${length} at ${at}`).to.throw(RangeError, 'leave the page');
      }
      expect(copy({ bytes: own.bytes, words: own.words, [Symbol.dispose]: () => {} }, 0, 1)).to.throw(TypeError);
      own[Symbol.dispose]();
      expect(copy(own, 0, 1)).to.throw(TypeError, 'disposed');
    });

    it('cannot go into a mapped page: that is no page of this domain', () => {
      const mapped = back.map(dom1, [front.share(dom2).ref]);
      const other = front.share(dom2);
      expect(() => back.copyFrom(dom1, [{ ref: other.ref, offset: 0, page: mapped, pageOffset: 0, length: 1 }]))
        .to.throw(GrantError)
        .with.property('status', gntst.bad_page);
    });
  });

  describe('pages mapped each for itself', () => {
    it('come with the errors of those that could not be, in the order of their references', () => {
      const shared = front.share(dom2, 2);
      const tight = front.share(dom2, 1, { readonly: true });
      const refs = [shared.ref, 600 as GrantRef, tight.ref, shared.refs[1] as GrantRef];
      const results = back.mapEach(dom1, refs);
      expect(results.map((result) => (result instanceof GrantError ? result.status : 'a page'))).to.deep.equal([
        'a page',
        gntst.bad_gntref,
        gntst.general_error,
        'a page',
      ]);
      const [first, , , last] = results as [Page, GrantError, GrantError, Page];
      first.bytes[1] = 3;
      last.bytes[1] = 4;
      expect([shared.bytes[1], shared.bytes[4097]]).to.deep.equal([3, 4]);
      expect(back.counts.mapped).to.equal(2);
      first[Symbol.dispose]();
      last[Symbol.dispose]();
      expect(hypervisor.ledger()).to.include({ mappings: 0, grantsInUse: 0 });
      expect(back.counts.mapped).to.equal(0);
    });

    it('may be mapped for reading only, and be none', () => {
      const tight = front.share(dom2, 1, { readonly: true });
      expect(back.mapEach(dom1, [tight.ref], { readonly: true })[0]).to.not.be.instanceOf(GrantError);
      expect(back.mapEach(dom1, [])).to.deep.equal([]);
    });
  });

  describe('copies between two peers', () => {
    it('go from the one’s page into the other’s, which this domain need not map', () => {
      const other = new HypervisorGrantTable(hypervisor, dom3);
      const [source, dest] = [front.share(dom2), other.share(dom2)];
      source.bytes.set([1, 2, 3], 10);
      back.copyBetween(dom1, dom3, [{ from: source.ref, fromOffset: 10, to: dest.ref, toOffset: 4000, length: 3 }]);
      expect([...dest.bytes.slice(3999, 4004)]).to.deep.equal([0, 1, 2, 3, 0]);
      expect(hypervisor.ledger()).to.include({ mappings: 0, grantsInUse: 0 });
    });

    it('are each done; the first that failed is thrown, with both references', () => {
      const other = new HypervisorGrantTable(hypervisor, dom3);
      const [source, dest] = [front.share(dom2), other.share(dom2)];
      source.bytes.fill(7);
      const segment = { from: source.ref, fromOffset: 0, to: dest.ref, toOffset: 0, length: 1 };
      const segments = [
        segment,
        { ...segment, to: 600 as GrantRef },
        { ...segment, toOffset: 4096 },
        { ...segment, toOffset: 1 },
      ];
      expect(() => back.copyBetween(dom1, dom3, segments))
        .to.throw(GrantError, `reference ${source.ref} of domain 1 and reference 600 of domain 3: GNTST_bad_gntref`)
        .with.property('status', gntst.bad_gntref);
      expect([...dest.bytes.slice(0, 3)]).to.deep.equal([7, 7, 0]);
    });
  });

  describe('its size', () => {
    it('is that of its entries, now and at most (GNTTABOP_query_size)', () => {
      ({ hypervisor } = machine({}, 8 * 2 ** 20));
      addDomain(hypervisor, 9 as Domid, { maxGrantFrames: 3 });
      const table = new HypervisorGrantTable(hypervisor, 9 as Domid);
      expect(table.size).to.deep.equal({ entries: 512, maxEntries: 1536 });
      for (let i = 0; i < 30; i++) table.share(dom2, 20)[Symbol.dispose]();
      expect(table.size.entries).to.equal(512);
      const held = Array.from({ length: 26 }, () => table.share(dom2, 20));
      expect(table.size).to.deep.equal({ entries: 1024, maxEntries: 1536 });
      for (const page of held) page[Symbol.dispose]();
    });
  });

  describe('a copier', () => {
    it('copies between a mapping and an own page, overlap allowed', () => {
      const shared = front.share(dom2);
      const mapped = back.map(dom1, [shared.ref]);
      const mirror = back.alloc();
      const copy = back.copier(mapped, mirror);
      shared.bytes.set([5, 6, 7], 64);
      copy(64, 0, 3);
      expect([...mirror.bytes.slice(0, 4)]).to.deep.equal([5, 6, 7, 0]);
      back.copier(mirror, mirror)(0, 1, 3);
      expect([...mirror.bytes.slice(0, 5)]).to.deep.equal([5, 5, 6, 7, 0]);
    });

    it('refuses to leave a page, and to work on one that is gone', () => {
      const [a, b] = [front.alloc(), front.alloc(2)];
      const copy = front.copier(a, b);
      for (const [from, to, length] of [
        [0, 0, 4097],
        [4096, 0, 1],
        [0, 8192, 1],
        [-1, 0, 1],
        [0, -1, 1],
        [0, 0, -1],
      ] as const) {
        expect(() => copy(from, to, length), `${length} from ${from} to ${to}`).to.throw(RangeError, 'leave a page');
      }
      copy(0, 4096, 4096);
      const magic = hypervisor.memory.words[0];
      for (const odd of [NaN, Infinity, 2 ** 80]) copy(0, odd, 4);
      expect(hypervisor.memory.words[0]).to.equal(magic);
      b[Symbol.dispose]();
      expect(() => copy(0, 0, 1)).to.throw(TypeError, 'disposed');
      expect(() => front.copier(a, b)).to.throw(TypeError, 'disposed');
    });
  });

  it('ends with its domain: nothing it does touches the next of its domid', () => {
    const shared = front.share(dom2);
    const own = front.alloc();
    const inUse = front.share(dom2);
    const handle = grant(hypervisor, dom2, dom1);
    const mapped = front.map(dom2, [handle.ref]);
    const theirs = back.map(dom1, [inUse.ref]);
    inUse[Symbol.dispose]();
    theirs[Symbol.dispose]();
    hypervisor.destroyDomain(dom0, dom1);
    addDomain(hypervisor, dom1);
    const next = new HypervisorGrantTable(hypervisor, dom1);
    const page = next.share(dom2);
    const ledger = hypervisor.ledger(dom1);
    for (const old of [shared, own, mapped]) old[Symbol.dispose]();
    front.trim();
    expect(front.reclaim()).to.equal(0);
    expect(shared.inUse).to.equal(false);
    expect(hypervisor.ledger(dom1)).to.deep.equal(ledger);
    expect(page.inUse).to.equal(false);
    expect(() => front.alloc())
      .to.throw(XenError, 'destroyed')
      .with.property('errno', errno.ESRCH);
    expect(() => new HypervisorGrantTable(hypervisor, nobody)).to.throw(RangeError, 'does not exist');
  });

  it('leaves nothing when all is disposed', () => {
    const pages = [front.alloc(2), front.share(dom2), front.share(dom2, 3)];
    const maps = [back.map(dom1, [(pages[1] as SharedPage).ref]), back.map(dom1, (pages[2] as SharedPage).refs)];
    for (const page of [...maps, ...pages]) page[Symbol.dispose]();
    front.trim();
    back.trim();
    expect(hypervisor.ledger()).to.include({ refs: 0, grants: 0, grantsInUse: 0, mappings: 0, pages: 0, heldPages: 0 });
  });
});
