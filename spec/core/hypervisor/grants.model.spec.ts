import { expect } from 'chai';
import fc from 'fast-check';
import { gntst } from '../../../core/abi/gntst.js';
import { DOMID_SELF, type Domid, type GrantRef } from '../../../core/abi/units.js';
import { CopyList } from '../../../core/hypervisor/copy-list.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import { gntcopy } from '../../../core/hypervisor/grant-copy.js';
import { gtf } from '../../../core/hypervisor/grant-entries.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { expectSound } from './invariants.js';
import { bytesOf } from './machine.js';

const { hostMap, deviceMap, readonly } = gntmap;
type Kind = 'hostRead' | 'hostWrite' | 'deviceRead' | 'deviceWrite';

/** Grants as grant_table.h and grant_table.c tell them. Pages are named by their domain and a number, and hold one byte. */
interface ModelEntry {
  flags: number;
  peer: number;
  page: string;
  user: number;
  frozen: string;
  readonly uses: Record<Kind, number>;
}
interface ModelMapping {
  readonly dom: number;
  readonly entry: ModelEntry;
  flags: number;
  readonly page: string;
}

const kindsOf = (flags: number): readonly Kind[] => [
  ...((flags & hostMap) !== 0 ? [(flags & readonly) !== 0 ? ('hostRead' as const) : ('hostWrite' as const)] : []),
  ...((flags & deviceMap) !== 0 ? [(flags & readonly) !== 0 ? ('deviceRead' as const) : ('deviceWrite' as const)] : []),
];
const used = (entry: ModelEntry): number => Object.values(entry.uses).reduce((a, b) => a + b, 0);
const written = (entry: ModelEntry): boolean => entry.uses.hostWrite + entry.uses.deviceWrite > 0;

class Model {
  readonly entries = new Map<string, ModelEntry>();
  readonly pages = new Map<string, number>();
  readonly mappings = new Map<string, ModelMapping>();

  entry(dom: number, ref: number): ModelEntry {
    const key = `${dom}/${ref}`;
    let entry = this.entries.get(key);
    if (entry === undefined) {
      const uses = { hostRead: 0, hostWrite: 0, deviceRead: 0, deviceWrite: 0 };
      entry = { flags: 0, peer: 0, page: '', user: 0, frozen: '', uses };
      this.entries.set(key, entry);
    }
    return entry;
  }

  #pin(caller: number, dom: number, ref: number, flags: number, copy: boolean): ModelEntry | number {
    const entry = this.entry(dom, ref);
    const kinds = kindsOf(flags);
    if (used(entry) > 0 && (entry.user !== caller || kinds.some((kind) => entry.uses[kind] >= 128)))
      return gntst.general_error;
    const writes = (flags & readonly) === 0;
    if (used(entry) === 0 || (writes && !written(entry))) {
      if (used(entry) === 0) {
        const type = entry.flags & (copy ? 3 : 3 | gtf.subPage);
        if (type !== gtf.permitAccess || entry.peer !== caller) return gntst.general_error;
      }
      if (writes && (entry.flags & gtf.readonly) !== 0) return gntst.general_error;
      if (used(entry) === 0) {
        if (!this.pages.has(entry.page) || !entry.page.startsWith(`${dom}:`)) return gntst.bad_page;
        entry.user = caller;
        entry.frozen = entry.page;
      } else if (copy && entry.page !== entry.frozen) return gntst.general_error;
    }
    for (const kind of kinds) entry.uses[kind]++;
    return entry;
  }

  map(caller: number, dom: number, ref: number, flags: number): ModelMapping | number {
    if ((flags & (hostMap | deviceMap)) === 0) return gntst.bad_gntref;
    if (dom > 3) return gntst.bad_domain;
    if (ref >= 512) return gntst.bad_gntref;
    const entry = this.#pin(caller, dom, ref, flags, false);
    return typeof entry === 'number' ? entry : { dom, entry, flags, page: entry.frozen };
  }

  unmap(key: string, halves: number): number {
    const mapping = this.mappings.get(key);
    if (mapping === undefined) return gntst.bad_handle;
    const ending = mapping.flags & halves;
    for (const kind of kindsOf(ending | (mapping.flags & readonly))) mapping.entry.uses[kind]--;
    mapping.flags &= ~ending;
    if ((mapping.flags & (hostMap | deviceMap)) === 0) this.mappings.delete(key);
    return gntst.okay;
  }

  copy(caller: number, own: string, dom: number, ref: number, toPeer: boolean): number {
    if (dom > 3) return gntst.bad_domain;
    if (toPeer && !this.#owns(caller, own)) return gntst.bad_page;
    if (ref >= 512) return gntst.bad_gntref;
    const entry = this.#pin(caller, dom, ref, toPeer ? hostMap : hostMap | readonly, true);
    if (typeof entry === 'number') return entry;
    entry.uses[toPeer ? 'hostWrite' : 'hostRead']--;
    if (!this.#owns(caller, own)) return gntst.bad_page;
    const [from, to] = toPeer ? [own, entry.frozen] : [entry.frozen, own];
    this.pages.set(to, this.pages.get(from) as number);
    return gntst.okay;
  }

  #owns(caller: number, page: string): boolean {
    return this.pages.has(page) && page.startsWith(`${caller}:`);
  }
}

/** The machine, with the frames and handles that the model's names stand for. */
class Real {
  readonly hypervisor = Hypervisor.create({ bytes: 2 ** 20, domains: 5 });
  readonly frames = new Map<string, number>();
  readonly handles = new Map<string, { readonly handle: number; readonly address: number }>();

  frame(page: string): number {
    return this.frames.get(page) ?? 0;
  }
}

const compare = (model: Model, real: Real): void => {
  const { hypervisor } = real;
  for (const [key, entry] of model.entries) {
    const [dom, ref] = key.split('/').map(Number) as [number, number];
    const word = hypervisor.memory.words[hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom), ref)] as number;
    const inUse = (used(entry) > 0 ? gtf.reading : 0) | (written(entry) ? gtf.writing : 0);
    expect(word & (gtf.reading | gtf.writing), `in-use bits of grant ${key}`).to.equal(inUse);
  }
  for (const [page, byte] of model.pages) {
    expect(bytesOf(hypervisor, real.frame(page))[0], `the byte in page ${page}`).to.equal(byte);
  }
  expect(hypervisor.ledger().mappings).to.equal(model.mappings.size);
};

const command = (name: string, run: (model: Model, real: Real) => void): fc.Command<Model, Real> => ({
  check: () => true,
  run: (model, real) => {
    run(model, real);
    compare(model, real);
  },
  toString: () => name,
});

const domid = fc.integer({ min: 1, max: 3 });
const anyDomid = fc.oneof({ weight: 9, arbitrary: domid }, fc.constant(4));
const ref = fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 8, max: 11 }) }, fc.constantFrom(0, 511, 512));
const page = fc.integer({ min: 0, max: 2 });
const mapFlags = fc.constantFrom(
  0,
  hostMap,
  hostMap | readonly,
  deviceMap,
  deviceMap | hostMap,
  deviceMap | readonly,
  readonly,
);
const entryFlags = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(gtf.permitAccess, gtf.permitAccess | gtf.readonly) },
  fc.constantFrom(0, gtf.acceptTransfer, 3, gtf.permitAccess | gtf.subPage),
);
const slotName = fc.integer({ min: 0, max: 5 });

const commands = [
  fc.tuple(domid, page, fc.integer({ min: 1, max: 255 })).map(([dom, number, byte]) =>
    command(`write(${dom}:${number}, ${byte})`, (model, real) => {
      const key = `${dom}:${number}`;
      if (!model.pages.has(key)) {
        const frame = real.hypervisor.pages.populate(dom as Domid, dom as Domid, 1);
        expect(frame).to.be.above(0);
        real.frames.set(key, frame);
      }
      bytesOf(real.hypervisor, real.frame(key))[0] = byte;
      model.pages.set(key, byte);
    }),
  ),
  // The granter may write anything into its table at any time; only what it leaves of the in-use bits is fair.
  fc
    .tuple(domid, fc.integer({ min: 8, max: 11 }), domid, domid, page, entryFlags)
    .map(([dom, of, peer, owner, number, flags]) =>
      command(`grant(${dom}/${of} to ${peer}: ${owner}:${number}, flags ${flags})`, (model, real) => {
        // A page that is not there yet has no frame: what is granted stays frame 0 when the page comes.
        const key = model.pages.has(`${owner}:${number}`) ? `${owner}:${number}` : '';
        const entry = model.entry(dom, of);
        const at = real.hypervisor.grantEntries.entry(real.hypervisor.memory.slotOf(dom), of);
        const { words } = real.hypervisor.memory;
        words[at + 1] = real.frame(key);
        words[at] = ((words[at] as number) & (gtf.reading | gtf.writing)) | flags | (peer << 16);
        Object.assign(entry, { flags, peer, page: key });
      }),
    ),
  fc.tuple(domid, fc.integer({ min: 8, max: 11 })).map(([dom, of]) =>
    command(`end(${dom}/${of})`, (model, real) => {
      const entry = model.entry(dom, of);
      const ended = real.hypervisor.grantEntries.endAccess(dom as Domid, of as GrantRef);
      expect(ended).to.equal(used(entry) === 0);
      if (ended) entry.flags = 0;
    }),
  ),
  fc
    .tuple(domid, anyDomid, ref, mapFlags, slotName, fc.constantFrom(1, 1, 1, 130))
    .map(([caller, dom, of, flags, name, times]) =>
      command(`map(${caller}, ${dom}/${of}, flags ${flags}, as ${name}, ${times} times)`, (model, real) => {
        for (let i = 0; i < times; i++) {
          const key = `${caller}#${name}.${i}`;
          if (model.mappings.has(key)) return;
          const expected = model.map(caller, dom, of, flags);
          const handle = real.hypervisor.grantMap.map(caller as Domid, dom as Domid, of as GrantRef, flags);
          if (typeof expected === 'number') {
            expect(handle).to.equal(expected);
            return;
          }
          expect(handle).to.be.at.least(0);
          const frame = real.hypervisor.grantMap.frameOf(caller as Domid, handle);
          expect(frame).to.equal(real.frame(expected.page));
          model.mappings.set(key, expected);
          real.handles.set(key, { handle, address: frame * 4096 });
        }
      }),
    ),
  fc.tuple(domid, slotName, fc.integer({ min: 1, max: 3 })).map(([caller, name, halves]) =>
    command(`unmap(${caller}, ${name}, halves ${halves})`, (model, real) => {
      for (let i = 0; i < 130; i++) {
        const key = `${caller}#${name}.${i}`;
        const at = real.handles.get(key);
        if (at === undefined) return;
        const host = (halves & hostMap) !== 0 ? at.address : 0;
        const device = (halves & deviceMap) !== 0 ? at.address : 0;
        const status = real.hypervisor.grantMap.unmap(caller as Domid, at.handle, host, device);
        expect(status).to.equal(model.unmap(key, halves));
        if (!model.mappings.has(key)) real.handles.delete(key);
      }
    }),
  ),
  fc.tuple(domid, page, anyDomid, ref, fc.boolean()).map(([caller, number, dom, of, toPeer]) =>
    command(`copy(${caller}:${number} ${toPeer ? 'to' : 'from'} ${dom}/${of})`, (model, real) => {
      const own = `${caller}:${number}`;
      const frame = real.frame(own);
      const { grantCopy } = real.hypervisor;
      const id = caller as Domid;
      const status = toPeer
        ? grantCopy.copy(id, DOMID_SELF, frame, 0, dom as Domid, of, 0, 1, gntcopy.destGref)
        : grantCopy.copy(id, dom as Domid, of, 0, DOMID_SELF, frame, 0, 1, gntcopy.sourceGref);
      expect(status).to.equal(model.copy(caller, own, dom, of, toPeer));
    }),
  ),
  fc
    .tuple(domid, anyDomid, fc.array(fc.tuple(page, ref), { minLength: 1, maxLength: 5 }), fc.boolean())
    .map(([caller, dom, elements, toPeer]) =>
      command(`copyList(${caller} ${toPeer ? 'to' : 'from'} ${dom}: ${elements.join(' ')})`, (model, real) => {
        const list = new CopyList();
        for (const [number, of] of elements) list.add(of, 0, real.frame(`${caller}:${number}`), 0, 1);
        const expected = elements.map(([number, of]) => model.copy(caller, `${caller}:${number}`, dom, of, toPeer));
        const failed = real.hypervisor.grantCopy.copyList(caller as Domid, dom as Domid, list, toPeer);
        expect(elements.map((_, i) => list.status(i))).to.deep.equal(expected);
        expect(failed).to.equal(expected.findIndex((status) => status !== gntst.okay));
      }),
    ),
];

describe('grants against a plain model (XSA-218, 224, 228, 230, 236)', () => {
  it('agree in every status, in-use bit, page and mapping, whatever three domains do', () => {
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 100 }), fc.boolean(), (plan, observed) => {
        const real = new Real();
        // With a second thread attached, copies mark entries as in use.
        if (observed) new Hypervisor(real.hypervisor.memory);
        for (const dom of [1, 2, 3]) real.hypervisor.domains.create(DOMID_XEN, { domid: dom as Domid });
        fc.modelRun(() => ({ model: new Model(), real }), plan);
        expectSound(real.hypervisor, 'at the end');
        for (const dom of [1, 2, 3]) real.hypervisor.destroyDomain(DOMID_XEN, dom as Domid);
        expect(real.hypervisor.domains.slots()).to.deep.equal([]);
        expectSound(real.hypervisor, 'after all have gone');
      }),
      { numRuns: 200 },
    );
  });
});
