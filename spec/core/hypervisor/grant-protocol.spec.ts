import { expect } from 'chai';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef, PAGE_SIZE } from '../../../core/abi/units.js';
import { CopyList } from '../../../core/hypervisor/copy-list.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import { type GnttabCopy, gntcopy } from '../../../core/hypervisor/grant-copy.js';
import { gtf, RESERVED_REFS } from '../../../core/hypervisor/grant-entries.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import { gnttabop } from '../../../core/hypervisor/grant-table-ops.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { addDomain, bytesOf, deliver, dom0, dom1, dom2, dom3, grant, machine, ok } from './machine.js';

const { hostMap, readonly } = gntmap;

describe('the granting protocol (grant_table.h)', () => {
  let hypervisor: Hypervisor;
  let rung: readonly Domid[];
  let ref: GrantRef;
  let frame: number;
  /** The first word of the entry, as its guest sees it through the table's frame. */
  let entry: number;
  const map = (flags: number = hostMap, of: number = ref): number =>
    hypervisor.grantMap.map(dom2, dom1, of as GrantRef, flags);
  const unmap = (handle: number): number => hypervisor.grantMap.unmap(dom2, handle, frame * PAGE_SIZE, 0);
  const words = (): Int32Array => hypervisor.memory.words;

  beforeEach(() => {
    ({ hypervisor, rung } = machine());
    ({ ref, frame } = grant(hypervisor, dom1, dom2));
    entry = (hypervisor.grantEntries.tableFrames(dom1)[0] as number) * 1024 + ref * 2;
  });

  describe('the guest’s side', () => {
    it('publishes domid and frame first, the flags last: half of it grants nothing', () => {
      const half = ok<GrantRef>(hypervisor.grantEntries.allocRef(dom1));
      const at = entry + (half - ref) * 2;
      words()[at + 1] = frame;
      expect(map(hostMap, half)).to.equal(gntst.general_error);
      words()[at] = dom2 << 16;
      expect(map(hostMap, half)).to.equal(gntst.general_error);
      words()[at] = (dom2 << 16) | gtf.permitAccess;
      expect(map(hostMap, half)).to.be.at.least(0);
    });

    it('revokes by a compare-and-swap of the flags to 0, while neither reading nor writing is set', () => {
      const handle = ok(map());
      const seen = Atomics.load(words(), entry);
      expect(seen & (gtf.reading | gtf.writing)).to.not.equal(0);
      ok(unmap(handle));
      expect(Atomics.compareExchange(words(), entry, seen, 0), 'what was seen before is stale').to.not.equal(seen);
      const idle = Atomics.load(words(), entry);
      expect(Atomics.compareExchange(words(), entry, idle, 0)).to.equal(idle);
      expect(map()).to.equal(gntst.general_error);
    });

    it('may restrict an entry to reading while nobody writes: who reads goes on, who comes to write is refused', () => {
      const reading = ok(map(hostMap | readonly));
      const seen = Atomics.load(words(), entry);
      expect(seen & gtf.writing).to.equal(0);
      expect(Atomics.compareExchange(words(), entry, seen, seen | gtf.readonly)).to.equal(seen);
      expect(map()).to.equal(gntst.general_error);
      expect(map(hostMap | readonly)).to.be.at.least(0);
      expect(unmap(reading)).to.equal(gntst.okay);
    });

    it('cannot restrict one that is written: the swap fails against a writer that came first, and harms none that stays', () => {
      const seen = Atomics.load(words(), entry);
      const writing = ok(map());
      expect(Atomics.compareExchange(words(), entry, seen, seen | gtf.readonly)).to.not.equal(seen);
      bytesOf(hypervisor, hypervisor.grantMap.frameOf(dom2, writing))[0] = 1;
      expect(bytesOf(hypervisor, frame)[0]).to.equal(1);
    });

    it('cannot force a revocation: an entry that is overwritten stays mapped, and in use', () => {
      const handle = ok(map());
      words()[entry] = 0;
      words()[entry + 1] = 0;
      expect(hypervisor.grantMap.frameOf(dom2, handle)).to.equal(frame);
      expect(hypervisor.pages.release(dom1, frame, 1)).to.equal(0);
      expect(hypervisor.ledger(dom1).heldPages).to.equal(1);
      expect(unmap(handle)).to.equal(gntst.okay);
      expect(hypervisor.ledger(dom1).heldPages).to.equal(0);
    });

    it('deceives nobody but itself by in-use bits that it writes: Xen goes by its own record', () => {
      const own = ok(hypervisor.pages.populate(dom3, dom3, 1));
      const handle = ok(map(hostMap | readonly));
      words()[entry] = gtf.permitAccess | (dom3 << 16);
      const list = new CopyList();
      list.add(ref, 0, own, 0, 1);
      for (const toPeer of [false, true]) {
        hypervisor.grantCopy.copyList(dom3, dom1, list, toPeer);
        expect(list.status(0)).to.equal(gntst.general_error);
      }
      expect(hypervisor.grantMap.map(dom3, dom1, ref, hostMap)).to.equal(gntst.general_error);
      expect(unmap(handle)).to.equal(gntst.okay);
      expect(hypervisor.grantMap.map(dom3, dom1, ref, hostMap)).to.be.at.least(0);
    });

    it('is told by nobody that an entry is free again', () => {
      hypervisor.doorbell.rest(dom1, parked);
      const handle = ok(map());
      ok(unmap(handle));
      expect(rung).to.deep.equal([]);
      expect(deliver(hypervisor, dom1)).to.deep.equal([]);
    });
  });

  describe('limits', () => {
    it('1 frame at first, 64 at most: 32768 grants', () => {
      ({ hypervisor } = machine({}, 8 * 2 ** 20));
      expect(hypervisor.grantEntries.tableFrames(dom1)).to.have.length(1);
      let grants = RESERVED_REFS;
      while (hypervisor.grantEntries.allocRef(dom1) >= 0) grants++;
      expect(grants).to.equal(32768);
      expect(hypervisor.grantEntries.tableFrames(dom1)).to.have.length(64);
    });

    it('the first 8 references are the toolstack’s: a guest is given none of them, and can free none', () => {
      const given = Array.from({ length: 600 }, () => hypervisor.grantEntries.allocRef(dom3));
      expect(Math.min(...given)).to.equal(RESERVED_REFS);
      for (let reserved = 0; reserved < RESERVED_REFS; reserved++) {
        expect(() => hypervisor.grantEntries.freeRef(dom3, reserved as GrantRef)).to.throw(RangeError);
      }
    });

    it('1024 frames of mappings unless the toolstack says less', () => {
      expect(hypervisor.grantDump.text()).to.include('maptrack frames (1024 max)');
      addDomain(hypervisor, 9 as Domid, { maxMaptrackFrames: 3 });
      expect(hypervisor.grantDump.text()).to.include('maptrack frames (3 max)');
    });

    it('128 mappings of a grant for each of four kinds; a refused one changes no counter', () => {
      for (const kind of [1, 2, 5, 6]) for (let i = 0; i < 128; i++) ok(map(kind));
      for (const kind of [1, 2, 3, 5, 6, 7]) expect(map(kind), `kind ${kind}`).to.equal(gntst.general_error);
      const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
      const copy = hypervisor.grantCopy.copy(dom2, dom1, ref, 0, DOMID_SELF, own, 0, 1, gntcopy.sourceGref);
      expect(copy).to.equal(gntst.general_error);
      expect(hypervisor.grantDump.text()).to.include(' 0x80808080 ');
    });
  });

  describe('what holds at any time', () => {
    it('a mapper sees the page live, and the granter may rewrite it at any time', () => {
      const page = bytesOf(hypervisor, hypervisor.grantMap.frameOf(dom2, ok(map(hostMap | readonly))));
      for (let i = 1; i < 4; i++) {
        bytesOf(hypervisor, frame)[0] = i;
        expect(page[0]).to.equal(i);
      }
    });

    it('reading and writing stay set until the last unmap, and the granter’s revoke fails meanwhile', () => {
      const handles = [hostMap, hostMap | readonly, hostMap].map((flags) => ok(map(flags)));
      for (const [i, handle] of handles.entries()) {
        expect(hypervisor.grantEntries.endAccess(dom1, ref), `with ${3 - i} left`).to.equal(false);
        ok(unmap(handle));
      }
      expect(hypervisor.grantEntries.endAccess(dom1, ref)).to.equal(true);
    });

    it('a domain’s death unmaps what it mapped, and keeps of its own pages those that others map', () => {
      ok(map());
      const theirs = grant(hypervisor, dom2, dom1);
      const handle = ok(hypervisor.grantMap.map(dom1, dom2, theirs.ref, hostMap));
      ok(hypervisor.destroyDomain(dom0, dom2));
      expect(hypervisor.grantEntries.endAccess(dom1, ref)).to.equal(true);
      expect(hypervisor.domains.lifeOf(dom2)).to.equal('zombie');
      bytesOf(hypervisor, theirs.frame)[0] = 1;
      ok(hypervisor.grantMap.unmap(dom1, handle, theirs.frame * PAGE_SIZE, 0));
      expect(hypervisor.domains.lifeOf(dom2)).to.equal('none');
    });

    it('a response says nothing of the mapping: a persistent grant is in use before, between and after requests', () => {
      const handle = ok(map());
      for (let request = 0; request < 3; request++) {
        bytesOf(hypervisor, frame)[request] = request;
        expect(hypervisor.grantEntries.isInUse(dom1, ref)).to.equal(true);
      }
      ok(unmap(handle));
      expect(hypervisor.grantEntries.isInUse(dom1, ref)).to.equal(false);
    });

    it('a batch is not atomic: element k fails, k + 1 does not', () => {
      const own = ok(hypervisor.pages.populate(dom2, dom2, 1));
      const batch: GnttabCopy[] = [0, 4096, 1].map((offset) => ({
        source: { domid: dom1, refOrFrame: ref, offset },
        dest: { domid: DOMID_SELF, refOrFrame: own, offset: 0 },
        len: 1,
        flags: gntcopy.sourceGref,
      }));
      hypervisor.grantTableOps.call(dom2, gnttabop.copy, batch);
      expect(batch.map(({ status }) => status)).to.deep.equal([gntst.okay, gntst.bad_copy_arg, gntst.okay]);
    });

    it('the version is 1 for good, and growth under way moves no entry', () => {
      const handle = ok(map());
      ok(hypervisor.grantEntries.setupTable(dom1, DOMID_SELF, 4));
      expect(hypervisor.grantEntries.endAccess(dom1, ref)).to.equal(false);
      expect(hypervisor.grantTableOps.call(dom1, gnttabop.get_version, [{ dom: DOMID_SELF }])).to.equal(0);
      ok(unmap(handle));
      expect(hypervisor.grantEntries.endAccess(dom1, ref)).to.equal(true);
    });
  });
});
