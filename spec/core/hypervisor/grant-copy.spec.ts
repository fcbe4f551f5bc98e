import { expect } from 'chai';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef, PAGE_SIZE } from '../../../core/abi/units.js';
import { type GnttabCopy, gntcopy } from '../../../core/hypervisor/grant-copy.js';
import { gtf } from '../../../core/hypervisor/grant-entries.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { bytesOf, dom0, dom1, dom2, dom3, grant, machine, nobody, ok } from './machine.js';

const { sourceGref, destGref } = gntcopy;

describe('copying granted pages (grant_table.c gnttab_copy)', () => {
  let hypervisor: Hypervisor;
  /** A page of domain 1, granted to domain 2. */
  let ref: GrantRef;
  let frame: number;
  /** A page of domain 2. */
  let own: number;

  beforeEach(() => {
    ({ hypervisor } = machine());
    ({ ref, frame } = grant(hypervisor, dom1, dom2));
    own = ok(hypervisor.pages.populate(dom2, dom2, 1));
    bytesOf(hypervisor, frame).forEach((_, i, bytes) => {
      bytes[i] = i % 251;
    });
  });

  const from = (len: number, offset = 0, at = 0) =>
    hypervisor.grantCopy.copy(dom2, dom1, ref, offset, DOMID_SELF, own, at, len, sourceGref);
  const to = (len: number, offset = 0, at = 0) =>
    hypervisor.grantCopy.copy(dom2, DOMID_SELF, own, at, dom1, ref, offset, len, destGref);
  const flagsOf = (of: number) =>
    (hypervisor.memory.words[hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom1), of)] as number) & 0xffff;

  it('copies from a reference and to one, byte for byte and no byte more', () => {
    expect(from(100, 7, 1000)).to.equal(gntst.okay);
    const mine = bytesOf(hypervisor, own);
    expect([...mine.slice(998, 1102)]).to.deep.equal([0, 0, ...Array.from({ length: 100 }, (_, i) => i + 7), 0, 0]);
    expect(to(3, 4093, 1000)).to.equal(gntst.okay);
    expect([...bytesOf(hypervisor, frame).slice(4091)]).to.deep.equal([4091 % 251, 4092 % 251, 7, 8, 9]);
  });

  it('copies from reference to reference between two other domains', () => {
    const other = grant(hypervisor, dom3, dom2);
    expect(hypervisor.grantCopy.copy(dom2, dom1, ref, 0, dom3, other.ref, 0, 4096, sourceGref | destGref)).to.equal(0);
    expect([...bytesOf(hypervisor, other.frame)]).to.deep.equal([...bytesOf(hypervisor, frame)]);
  });

  it('moves no byte outside of the two pages, whatever number is given for an offset or a length', () => {
    // Xen's record of the entry keeps who copied last.
    from(1);
    const outside = (): readonly number[] => {
      const bytes = hypervisor.memory.bytes.slice();
      for (const page of [frame, own]) bytes.fill(0, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
      return [...bytes.subarray(0, (hypervisor.memory.firstFrame + 8) * PAGE_SIZE)];
    };
    const before = outside();
    for (const odd of [NaN, Infinity, -(2 ** 80), 0.5, 2 ** 32, -1, 4097]) {
      bytesOf(hypervisor, own).fill(0xaa);
      bytesOf(hypervisor, frame).fill(0xbb);
      for (const copy of [from, to]) {
        copy(odd);
        copy(8, odd);
        copy(8, 0, odd);
      }
      expect(
        bytesOf(hypervisor, own).every((byte) => byte === 0xaa || byte === 0xbb),
        `${odd}`,
      ).to.equal(true);
      expect(
        bytesOf(hypervisor, frame).every((byte) => byte === 0xaa || byte === 0xbb),
        `${odd}`,
      ).to.equal(true);
    }
    expect(outside().findIndex((byte, i) => byte !== before[i])).to.equal(-1);
  });

  it('marks the entry in use only while it copies', () => {
    const { code } = hypervisor.memory;
    let during = 0;
    const spied = {
      ...code,
      copy: (...args: [number, number, number]) => {
        during = flagsOf(ref);
        code.copy(...args);
      },
    };
    Object.defineProperty(hypervisor.memory, 'code', { value: spied });
    from(10);
    expect(during).to.equal(gtf.permitAccess | gtf.reading);
    to(10);
    expect(during).to.equal(gtf.permitAccess | gtf.reading | gtf.writing);
    expect(flagsOf(ref)).to.equal(gtf.permitAccess);
  });

  describe('checks, in Xen’s order', () => {
    it('nothing at all is looked at when the length is 0', () => {
      expect(hypervisor.grantCopy.copy(dom2, nobody, 0xffffffff, 9999, nobody, 0, 9999, 0, 0)).to.equal(gntst.okay);
    });

    it('permission_denied for a frame of any domain but DOMID_SELF, even one’s own number', () => {
      const copy = hypervisor.grantCopy;
      expect(copy.copy(dom2, dom1, frame, 0, DOMID_SELF, own, 0, 1, 0)).to.equal(gntst.permission_denied);
      expect(copy.copy(dom2, dom2, own, 0, DOMID_SELF, own, 0, 1, 0)).to.equal(gntst.permission_denied);
      expect(copy.copy(dom2, nobody, own, 0, DOMID_SELF, own, 0, 1, 0)).to.equal(gntst.permission_denied);
      expect(copy.copy(dom2, DOMID_SELF, own, 0, dom1, frame, 0, 1, 0)).to.equal(gntst.permission_denied);
      expect(copy.copy(dom0, dom1, frame, 0, dom1, frame, 0, 1, 0)).to.equal(gntst.permission_denied);
    });

    it('bad_domain, of the source before the destination’s permission', () => {
      const copy = hypervisor.grantCopy;
      expect(copy.copy(dom2, nobody, ref, 0, dom1, frame, 0, 1, sourceGref)).to.equal(gntst.bad_domain);
      expect(copy.copy(dom2, dom1, ref, 0, nobody, ref, 0, 1, sourceGref | destGref)).to.equal(gntst.bad_domain);
    });

    it('bad_gntref, general_error, bad_page of the source, then of the destination', () => {
      const copy = hypervisor.grantCopy;
      const tight = grant(hypervisor, dom1, dom2, true);
      const both = sourceGref | destGref;
      expect(copy.copy(dom2, dom1, 512, 0, dom1, 512, 0, 1, both)).to.equal(gntst.bad_gntref);
      expect(copy.copy(dom3, dom1, ref, 0, dom1, 512, 0, 1, both)).to.equal(gntst.general_error);
      expect(copy.copy(dom2, dom1, tight.ref, 0, dom1, 512, 0, 1, both)).to.equal(gntst.bad_gntref);
      expect(copy.copy(dom2, dom1, ref, 0, dom1, tight.ref, 0, 1, both)).to.equal(gntst.general_error);
      expect(copy.copy(dom2, DOMID_SELF, frame, 0, dom1, ref, 0, 1, destGref)).to.equal(gntst.bad_page);
      expect(copy.copy(dom2, dom1, ref, 0, DOMID_SELF, frame, 0, 1, sourceGref)).to.equal(gntst.bad_page);
      expect([flagsOf(ref), flagsOf(tight.ref)]).to.deep.equal([gtf.permitAccess, gtf.permitAccess | gtf.readonly]);
    });

    it('bad_copy_arg for a run that leaves either page, after the grants', () => {
      for (const [len, offset, at] of [
        [4096, 1, 0],
        [4096, 0, 1],
        [1, 4096, 0],
        [4097, 0, 0],
        [65535, 0, 0],
        [-1, 0, 0],
        [1, -1, 0],
        [1, 0, -4096],
        [2, 0xffffffff, 0],
      ] as const) {
        expect(from(len, offset, at), `${len} from ${offset} to ${at}`).to.equal(gntst.bad_copy_arg);
        expect(to(len, offset, at), `${len} to ${offset} from ${at}`).to.equal(gntst.bad_copy_arg);
      }
      expect(hypervisor.grantCopy.copy(dom2, dom1, 512, 0, DOMID_SELF, own, 0, 5000, sourceGref)).to.equal(
        gntst.bad_gntref,
      );
      expect(flagsOf(ref)).to.equal(gtf.permitAccess);
      expect([...bytesOf(hypervisor, own)].every((byte) => byte === 0)).to.equal(true);
    });

    it('is not possible into a page that is only mapped: that is no frame of the caller’s', () => {
      ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap));
      const other = grant(hypervisor, dom3, dom2);
      expect(hypervisor.grantCopy.copy(dom2, dom3, other.ref, 0, DOMID_SELF, frame, 0, 1, sourceGref)).to.equal(
        gntst.bad_page,
      );
    });

    it('refuses transitive and transfer entries (XSA-226)', () => {
      const entry = hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom1), ref);
      for (const type of [gtf.acceptTransfer, 3]) {
        hypervisor.memory.words[entry] = type | (dom2 << 16);
        expect(from(1)).to.equal(gntst.general_error);
      }
    });
  });

  it('copies beside a mapping of the same reference', () => {
    const handle = ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap));
    expect(from(16)).to.equal(gntst.okay);
    expect(to(16)).to.equal(gntst.okay);
    expect(flagsOf(ref)).to.equal(gtf.permitAccess | gtf.reading | gtf.writing);
    expect(hypervisor.grantMap.unmap(dom2, handle, frame * 4096, 0)).to.equal(gntst.okay);
    expect(flagsOf(ref)).to.equal(gtf.permitAccess);
  });

  it('fails when the entry’s frame was changed while it is in use (XSA-500)', () => {
    ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap | gntmap.readonly));
    const other = ok(hypervisor.pages.populate(dom1, dom1, 1));
    hypervisor.memory.words[hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom1), ref) + 1] = other;
    expect(to(1)).to.equal(gntst.general_error);
    expect(flagsOf(ref)).to.equal(gtf.permitAccess | gtf.reading);
    expect(from(1)).to.equal(gntst.okay);
  });

  describe('batches', () => {
    const self = (refOrFrame: number) => ({ domid: DOMID_SELF, refOrFrame, offset: 0 });

    it('give each element its own status, and go on after one that failed', () => {
      const elements: GnttabCopy[] = [
        { source: { domid: dom1, refOrFrame: ref, offset: 0 }, dest: self(own), len: 4, flags: sourceGref },
        { source: { domid: nobody, refOrFrame: ref, offset: 0 }, dest: self(own), len: 4, flags: sourceGref },
        {
          source: { domid: dom1, refOrFrame: ref, offset: 4 },
          dest: { ...self(own), offset: 4 },
          len: 4,
          flags: sourceGref,
        },
      ];
      hypervisor.grantCopy.copyAll(dom2, elements);
      expect(elements.map((element) => element.status)).to.deep.equal([gntst.okay, gntst.bad_domain, gntst.okay]);
      expect([...bytesOf(hypervisor, own).slice(0, 8)]).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7]);
    });

    it('check every element anew: a reference and a frame of the same number are two things (CVE-2026-102703, 102704)', () => {
      // The reference's number is that of a frame which the caller does not own, and the other way round.
      const element = (domid: Domid, refOrFrame: number, flags: number): GnttabCopy => ({
        source: { domid, refOrFrame, offset: 0 },
        dest: self(own),
        len: 1,
        flags,
      });
      const orders = [
        [element(dom1, ref, sourceGref), element(DOMID_SELF, ref, 0)],
        [element(DOMID_SELF, own, 0), element(dom1, own, sourceGref)],
        [element(DOMID_SELF, own, 0), element(dom1, own, 0)],
        [element(dom1, ref, sourceGref), element(dom1, ref, 0)],
      ];
      for (const elements of orders) hypervisor.grantCopy.copyAll(dom2, elements);
      expect(orders.map((elements) => elements.map(({ status }) => status))).to.deep.equal([
        [gntst.okay, gntst.bad_page],
        [gntst.okay, own >= 512 ? gntst.bad_gntref : gntst.general_error],
        [gntst.okay, gntst.permission_denied],
        [gntst.okay, gntst.permission_denied],
      ]);
    });

    it('answers permission_denied for another’s frame in every position', () => {
      const good: GnttabCopy = {
        source: { domid: dom1, refOrFrame: ref, offset: 0 },
        dest: self(own),
        len: 1,
        flags: sourceGref,
      };
      for (let position = 0; position < 4; position++) {
        const elements = [0, 1, 2, 3].map((i) => ({
          ...good,
          ...(i === position && { source: { domid: dom1, refOrFrame: frame, offset: 0 }, flags: 0 }),
        }));
        hypervisor.grantCopy.copyAll(dom2, elements);
        expect(elements.map(({ status }: GnttabCopy) => status)).to.deep.equal(
          [0, 1, 2, 3].map((i) => (i === position ? gntst.permission_denied : gntst.okay)),
        );
      }
    });

    it('fails for an entry revoked between two elements', () => {
      const first: GnttabCopy = {
        source: { domid: dom1, refOrFrame: ref, offset: 0 },
        dest: self(own),
        len: 1,
        flags: sourceGref,
      };
      let second = { ...first };
      const revoking = {
        ...first,
        get flags() {
          hypervisor.grantEntries.endAccess(dom1, ref);
          return sourceGref;
        },
      };
      second = revoking;
      hypervisor.grantCopy.copyAll(dom2, [first, second]);
      expect([first.status, second.status]).to.deep.equal([gntst.okay, gntst.general_error]);
    });
  });

  it('handles what overlaps in one page as memmove does', () => {
    const mine = bytesOf(hypervisor, own);
    mine.set([1, 2, 3, 4, 5]);
    expect(hypervisor.grantCopy.copy(dom2, DOMID_SELF, own, 0, DOMID_SELF, own, 2, 5, 0)).to.equal(gntst.okay);
    expect([...mine.slice(0, 8)]).to.deep.equal([1, 2, 1, 2, 3, 4, 5, 0]);
  });
});
