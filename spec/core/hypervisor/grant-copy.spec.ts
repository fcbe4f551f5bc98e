// Long, since single copies and lists are held to the same table of rules, with one thread and with two.
import { expect } from 'chai';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef, PAGE_SIZE } from '../../../core/abi/units.js';
import { COPY_LIST_ELEMENTS, COPY_WORDS, CopyList } from '../../../core/hypervisor/copy-list.js';
import { frameKind } from '../../../core/hypervisor/frames.js';
import { type GnttabCopy, GrantCopy, gntcopy } from '../../../core/hypervisor/grant-copy.js';
import { gtf } from '../../../core/hypervisor/grant-entries.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import { GrantPins } from '../../../core/hypervisor/grant-pins.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { header } from '../../../core/hypervisor/layout.js';
import { Lock } from '../../../core/hypervisor/lock.js';
import { expectSound } from './invariants.js';
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

  describe('lists', () => {
    const { okay, bad_gntref, general_error, bad_page, bad_copy_arg, bad_domain } = gntst;
    let list: CopyList;
    beforeEach(() => {
      list = new CopyList();
    });
    const statuses = (): readonly number[] => Array.from({ length: list.end / COPY_WORDS }, (_, i) => list.status(i));
    const run = (toPeer: boolean, peer: Domid = dom1, caller: Domid = dom2) =>
      hypervisor.grantCopy.copyList(caller, peer, list, toPeer);
    const stage = (pages: number) =>
      Array.from({ length: pages }, (_, i) => {
        const granted = grant(hypervisor, dom1, dom2);
        bytesOf(hypervisor, granted.frame).fill(i + 1);
        return { ...granted, own: ok(hypervisor.pages.populate(dom2, dom2, 1)) };
      });

    for (const threads of [1, 2]) {
      describe(`with ${threads} attached to the memory`, () => {
        beforeEach(() => {
          for (let i = 1; i < threads; i++) new Hypervisor(hypervisor.memory);
        });

        it('copy each element, byte for byte and no byte more, in order', () => {
          const pages = stage(4);
          for (const [i, page] of pages.entries()) list.add(page.ref, 10 * i, page.own, 100 + i, 7);
          list.add((pages[3] as { ref: GrantRef }).ref, 0, (pages[0] as { own: number }).own, 104, 1);
          expect(run(false)).to.equal(-1);
          expect(statuses()).to.deep.equal([okay, okay, okay, okay, okay]);
          const first = [0, 1, 1, 1, 1, 4, 1, 1, 0];
          expect([...bytesOf(hypervisor, pages[0]?.own ?? 0).slice(99, 108)]).to.deep.equal(first);
          expect([...bytesOf(hypervisor, pages[3]?.own ?? 0).slice(102, 111)]).to.deep.equal([
            0,
            ...new Array(7).fill(4),
            0,
          ]);
          list.clear();
          list.add(ref, 4093, pages[3]?.own ?? 0, 103, 3);
          expect(run(true)).to.equal(-1);
          expect([...bytesOf(hypervisor, frame).slice(4091)]).to.deep.equal([4091 % 251, 4092 % 251, 4, 4, 4]);
        });

        it('let no element that fails stop another, and tell the first', () => {
          const tight = grant(hypervisor, dom1, dom2, true);
          const theirs = grant(hypervisor, dom1, dom3);
          const gone = grant(hypervisor, dom1, dom2);
          ok(hypervisor.pages.release(dom1, gone.frame, 1));
          bytesOf(hypervisor, own).fill(9);
          const elements: readonly (readonly [number, number, number, number, number, number])[] = [
            [ref, 0, own, 0, 4, okay],
            [512, 0, own, 0, 4, bad_gntref],
            [-1, 0, own, 0, 4, bad_gntref],
            [tight.ref, 0, own, 0, 4, general_error],
            [theirs.ref, 0, own, 0, 4, general_error],
            [gone.ref, 0, own, 0, 4, bad_page],
            [ref, 0, frame, 0, 4, bad_page],
            [512, 0, frame, 0, 4, bad_page],
            [ref, 0, 2 ** 30, 0, 4, bad_page],
            [ref, 4093, own, 0, 4, bad_copy_arg],
            [ref, 0, own, 4093, 4, bad_copy_arg],
            [ref, -1, own, 0, 4, bad_copy_arg],
            [ref, 0, own, 0, -1, bad_copy_arg],
            [ref, 0, own, 0, 4097, bad_copy_arg],
            [512, 0, frame, 9999, 0, okay],
            [ref, 4092, own, 4092, 4, okay],
          ];
          for (const [r, offset, f, at, length] of elements) list.add(r, offset, f, at, length);
          expect(run(true)).to.equal(1);
          expect(statuses()).to.deep.equal(elements.map(([, , , , , status]) => status));
          const bytes = [...bytesOf(hypervisor, frame)];
          expect([...bytes.slice(0, 5), ...bytes.slice(4091)]).to.deep.equal([9, 9, 9, 9, 4, 4091 % 251, 9, 9, 9, 9]);
          for (const of of [ref, tight.ref, theirs.ref, gone.ref]) expect(flagsOf(of) & 24).to.equal(0);
        });

        it('answer what single copies answer, whatever an entry says (XSA-226)', () => {
          const entry = hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom1), ref);
          const { words } = hypervisor.memory;
          for (const flags of [0, 1, 2, 3, 5, 9, 17, 25, 29, 257, 1 + 512]) {
            for (const domid of [dom1, dom2, dom3]) {
              for (const granted of [frame, own, 0, -1, 2 ** 29]) {
                for (const toPeer of [false, true]) {
                  const answers = [0, 1].map((how) => {
                    words[entry] = flags | (domid << 16);
                    words[entry + 1] = granted;
                    if (how === 0) return [toPeer ? to(1) : from(1), words[entry]];
                    list.clear();
                    list.add(ref, 0, own, 0, 1);
                    run(toPeer);
                    return [list.status(0), words[entry]];
                  });
                  expect(answers[1], `flags ${flags}, domid ${domid}, frame ${granted}`).to.deep.equal(answers[0]);
                }
              }
            }
          }
        });

        it('copy beside a mapping, and leave its pins and in-use bits', () => {
          const handle = ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap | gntmap.readonly));
          list.add(ref, 0, own, 0, 16);
          for (const toPeer of [false, true]) {
            expect(run(toPeer)).to.equal(-1);
            expect(flagsOf(ref)).to.equal(gtf.permitAccess | gtf.reading);
          }
          expectSound(hypervisor, 'after copies beside a mapping');
          ok(hypervisor.grantMap.unmap(dom2, handle, frame * 4096, 0));
          expect(flagsOf(ref)).to.equal(gtf.permitAccess);
        });

        it('copy the frame that is mapped, whatever the granter has made of the entry since (XSA-500)', () => {
          ok(hypervisor.grantMap.map(dom2, dom1, ref, gntmap.hostMap | gntmap.readonly));
          const other = grant(hypervisor, dom1, dom2);
          bytesOf(hypervisor, other.frame).fill(0xee);
          hypervisor.grantEntries.grantAccess(dom1, ref, dom2, other.frame, false);
          list.add(ref, 5, own, 0, 1);
          expect(run(false)).to.equal(-1);
          expect(bytesOf(hypervisor, own)[0]).to.equal(5);
          expect(run(true)).to.equal(0);
          expect(list.status(0)).to.equal(general_error);
        });

        it('answer bad_domain for every element when there is no such granter, or the caller is dead', () => {
          list.add(ref, 0, own, 0, 1);
          list.add(ref, 0, own, 0, 0);
          expect(run(false, nobody)).to.equal(0);
          expect(statuses()).to.deep.equal([bad_domain, okay]);
          ok(hypervisor.destroyDomain(dom0, dom2));
          expect(run(false)).to.equal(0);
          expect(run(true)).to.equal(0);
          expect(statuses()).to.deep.equal([bad_domain, okay]);
        });

        it('may be from a domain to itself, overlaps being moved as memmove does', () => {
          const self = grant(hypervisor, dom2, dom2);
          bytesOf(hypervisor, self.frame).set([1, 2, 3, 4]);
          list.add(self.ref, 0, self.frame, 1, 4);
          expect(run(false, DOMID_SELF)).to.equal(-1);
          expect([...bytesOf(hypervisor, self.frame).slice(0, 6)]).to.deep.equal([1, 1, 2, 3, 4, 0]);
        });

        it('leave no lock held and nothing pinned', () => {
          for (let i = 0; i < COPY_LIST_ELEMENTS; i++) list.add(i % 2 === 0 ? ref : 512, 0, own, 0, 4096);
          expect(list.isFull).to.equal(true);
          expect(() => list.add(ref, 0, own, 0, 1)).to.throw(RangeError, 'full');
          run(true);
          expectSound(hypervisor, 'after a full list');
        });
      });
    }

    for (const threads of [1, 2]) {
      describe(`from reference to reference, with ${threads} attached to the memory`, () => {
        let dest: ReturnType<typeof grant>;
        beforeEach(() => {
          for (let i = 1; i < threads; i++) new Hypervisor(hypervisor.memory);
          dest = grant(hypervisor, dom3, dom2);
        });
        const forward = (from: Domid = dom1, to: Domid = dom3, caller: Domid = dom2) =>
          hypervisor.grantCopy.forwardList(caller, from, to, list);

        it('copy each element, byte for byte and no byte more', () => {
          list.add(ref, 10, dest.ref, 4090, 6);
          list.add(ref, 1, dest.ref, 0, 1);
          expect(forward()).to.equal(-1);
          const bytes = bytesOf(hypervisor, dest.frame);
          expect([...bytes.slice(4088)]).to.deep.equal([0, 0, 10, 11, 12, 13, 14, 15]);
          expect([...bytes.slice(0, 3)]).to.deep.equal([1, 0, 0]);
          expectSound(hypervisor, 'after a list of two');
        });

        it('let no element that fails stop another, and tell the first, with the statuses of one by one', () => {
          const tight = grant(hypervisor, dom1, dom2, true);
          const tightDest = grant(hypervisor, dom3, dom2, true);
          const notOurs = grant(hypervisor, dom3, dom1);
          const gone = grant(hypervisor, dom3, dom2);
          ok(hypervisor.pages.release(dom3, gone.frame, 1));
          const elements: readonly (readonly [number, number, number, number, number, number])[] = [
            [ref, 0, dest.ref, 0, 4, okay],
            [512, 0, dest.ref, 0, 4, bad_gntref],
            [ref, 0, 512, 0, 4, bad_gntref],
            [tight.ref, 0, dest.ref, 0, 4, okay],
            [ref, 0, tightDest.ref, 0, 4, general_error],
            [ref, 0, notOurs.ref, 0, 4, general_error],
            [ref, 0, gone.ref, 0, 4, bad_page],
            [ref, 4093, dest.ref, 0, 4, bad_copy_arg],
            [ref, 0, dest.ref, 4096, 1, bad_copy_arg],
            [ref, 0, dest.ref, 0, 4097, bad_copy_arg],
            [512, 0, 512, 0, 0, okay],
            [ref, 7, dest.ref, 100, 1, okay],
          ];
          for (const [from, offset, to, toOffset, length] of elements) list.add(from, offset, to, toOffset, length);
          expect(forward()).to.equal(1);
          expect(statuses()).to.deep.equal(elements.map(([, , , , , status]) => status));
          expect(bytesOf(hypervisor, dest.frame)[100]).to.equal(7);
          expectSound(hypervisor, 'after a list of which some failed');
        });

        it('fail for a source that is revoked, and go on when it is granted again', () => {
          list.add(ref, 0, dest.ref, 0, 1);
          hypervisor.grantEntries.endAccess(dom1, ref);
          expect(forward()).to.equal(0);
          expect(statuses()).to.deep.equal([general_error]);
          hypervisor.grantEntries.grantAccess(dom1, ref, dom2, frame, true);
          expect(forward()).to.equal(-1);
        });

        it('may be within one page, by one reference', () => {
          list.add(ref, 0, ref, 2, 4);
          expect(forward(dom1, dom1)).to.equal(-1);
          expect([...bytesOf(hypervisor, frame).slice(0, 7)]).to.deep.equal([0, 1, 0, 1, 2, 3, 6]);
          expectSound(hypervisor, 'after a copy within a page');
        });

        it('fail, each, for domains that are not there', () => {
          list.add(ref, 0, dest.ref, 0, 1);
          for (const [from, to] of [
            [9, 3],
            [1, 9],
          ] as const) {
            expect(forward(from as Domid, to as Domid)).to.equal(0);
            expect(statuses()).to.deep.equal([bad_domain]);
          }
        });

        it('are as many as were added, where a list grows', () => {
          list = new CopyList(true);
          for (let i = 0; i < 3 * COPY_LIST_ELEMENTS; i++) list.add(i === 70 ? 512 : ref, i, dest.ref, i, 1);
          expect(forward()).to.equal(70);
          const bytes = bytesOf(hypervisor, dest.frame);
          expect([bytes[69], bytes[70], bytes[95], bytes[96]]).to.deep.equal([69, 0, 95, 0]);
        });
      });
    }

    it('from reference to reference mark both entries in use while they copy, when another thread may look', () => {
      const { words } = hypervisor.memory;
      const dest = grant(hypervisor, dom3, dom2);
      const seeing = trapping();
      list.add(ref, 0, dest.ref, 0, 1);
      expect(() => seeing.forwardList(dom2, dom1, dom3, list)).to.throw('out of bounds');
      const entry = hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom3), dest.ref);
      expect(flagsOf(ref)).to.equal(gtf.permitAccess | gtf.reading);
      expect((words[entry] as number) & 0xffff).to.equal(gtf.permitAccess | gtf.reading | gtf.writing);
    });

    /** What copies from a frame that lies beyond the memory, which `ref` grants from now on: moving its bytes traps. */
    const trapping = (): GrantCopy => {
      const { words, frames, frameTable, bytes } = hypervisor.memory;
      Object.defineProperty(hypervisor.memory, 'frames', { value: frames * 2 });
      const seeing = new GrantCopy(
        hypervisor.memory,
        new Lock(hypervisor.memory),
        hypervisor.frames,
        new GrantPins(hypervisor.memory, hypervisor.grantEntries, hypervisor.frames),
      );
      const beyond = bytes.length / PAGE_SIZE;
      words[frameTable + beyond * 2] = (dom1 + 1) | (frameKind.page << 16);
      words[hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom1), ref) + 1] = beyond;
      return seeing;
    };

    /** What the entry's flags are while the bytes move. */
    const flagsWhile = (toPeer: boolean): number => {
      const seeing = trapping();
      list.add(ref, 0, own, 0, 1);
      expect(() => seeing.copyList(dom2, dom1, list, toPeer)).to.throw('out of bounds');
      return flagsOf(ref);
    };

    it('mark the entry in use while they copy, when another thread may look (GTF_reading, GTF_writing)', () => {
      expect(flagsWhile(false)).to.equal(gtf.permitAccess | gtf.reading);
    });

    it('mark it for writing when they write to it', () => {
      expect(flagsWhile(true)).to.equal(gtf.permitAccess | gtf.reading | gtf.writing);
    });

    it('are waited for by a thread that attaches meanwhile: its domains find no copy that marks nothing', () => {
      const { words } = hypervisor.memory;
      const [held, waits] = [words[header.lock], Atomics.wait];
      const seen: number[] = [];
      words[header.lock] = dom2 + 1;
      Atomics.wait = ((array: Int32Array, at: number, value: number) => {
        seen.push(words[header.attached] as number, value);
        words[header.lock] = 0;
        return array === words && at === header.lock ? 'ok' : 'not-equal';
      }) as typeof Atomics.wait;
      try {
        new Hypervisor(hypervisor.memory);
      } finally {
        Atomics.wait = waits;
      }
      expect([held, seen]).to.deep.equal([0, [2, dom2 + 1]]);
    });
  });

  it('handles what overlaps in one page as memmove does', () => {
    const mine = bytesOf(hypervisor, own);
    mine.set([1, 2, 3, 4, 5]);
    expect(hypervisor.grantCopy.copy(dom2, DOMID_SELF, own, 0, DOMID_SELF, own, 2, 5, 0)).to.equal(gntst.okay);
    expect([...mine.slice(0, 8)]).to.deep.equal([1, 2, 1, 2, 3, 4, 5, 0]);
  });
});
