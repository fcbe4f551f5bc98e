// Long, since every grant-table operation is a command.
import { expect } from 'chai';
import fc from 'fast-check';
import { DOMID_SELF, type Domid, type GrantRef } from '../../../core/abi/units.js';
import { CopyList } from '../../../core/hypervisor/copy-list.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import type { GnttabCopy } from '../../../core/hypervisor/grant-copy.js';
import type { MapGrantRef, UnmapAndReplace, UnmapGrantRef } from '../../../core/hypervisor/grant-map.js';
import type { SwapGrantRef } from '../../../core/hypervisor/grant-swap.js';
import { gnttabop, type QuerySize, type SetupTable } from '../../../core/hypervisor/grant-table-ops.js';
import type { GetStatusFrames, GetVersion } from '../../../core/hypervisor/grant-version.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { GrantModel, type ModelDomain, type ModelEnd, type ModelMapping } from './grant-model.js';
import { expectSound } from './invariants.js';

const PAGE = 4096;

/** Domain 0 is privileged, and may map nothing; domain 3 may map little and grant little. */
const limits = [
  { maxGrantFrames: 4, maxMaptrackFrames: 0 },
  { maxGrantFrames: 3, maxMaptrackFrames: 2 },
  { maxGrantFrames: 3, maxMaptrackFrames: 2 },
  { maxGrantFrames: 2, maxMaptrackFrames: 1 },
] as const;

/** The machine, and the handles that the model's names stand for. */
class Real {
  readonly hypervisor = Hypervisor.create({ bytes: 2 ** 20, domains: 5 });
  readonly handles = new Map<string, { readonly handle: number; readonly address: number }>();
  #names = 0;

  nextName(dom: number): string {
    return `${dom}#${this.#names++}`;
  }

  create(dom: number): void {
    const { maxGrantFrames, maxMaptrackFrames } = limits[dom] as (typeof limits)[number];
    const options = { domid: dom as Domid, privileged: dom === 0, maxGrantFrames, maxMaptrackFrames };
    expect(this.hypervisor.domains.create(DOMID_XEN, options)).to.equal(0);
  }

  bytes(frame: number): Uint8Array {
    return this.hypervisor.memory.bytes.subarray(frame * PAGE, (frame + 1) * PAGE);
  }

  /** The words of an entry, through the frames of the table, as its guest sees them. */
  entry(dom: number, ref: number): Int32Array {
    const frame = this.hypervisor.grantEntries.tableFrames(dom as Domid)[ref >>> 9] as number;
    return this.hypervisor.memory.words.subarray(frame * 1024 + (ref & 511) * 2, frame * 1024 + (ref & 511) * 2 + 2);
  }
}

const compare = (model: GrantModel, real: Real): void => {
  const { hypervisor } = real;
  const held = new Map<number, { pages: number; heldPages: number }>();
  for (const [frame, { owner, released, bytes }] of model.pages) {
    expect(Buffer.compare(real.bytes(frame), bytes), `the bytes of frame ${frame}`).to.equal(0);
    const counts = held.get(owner.id) ?? { pages: 0, heldPages: 0 };
    counts[released ? 'heldPages' : 'pages']++;
    held.set(owner.id, counts);
  }
  for (let dom = 0; dom < limits.length; dom++) {
    const domain = model.domains.get(dom);
    const life = domain === undefined ? 'none' : domain.alive ? 'alive' : 'zombie';
    expect(hypervisor.domains.lifeOf(dom as Domid), `domain ${dom}`).to.equal(life);
    if (domain === undefined) continue;
    const entries = [...domain.entries];
    for (const [ref, entry] of entries) {
      const [word, frame] = real.entry(dom, ref) as unknown as [number, number];
      expect(word, `grant ${dom}/${ref}`).to.equal(entry.flags | entry.bits | (entry.peer << 16));
      expect(frame, `the frame of grant ${dom}/${ref}`).to.equal(entry.frame);
    }
    const { ports: _, refs: __, ...ledger } = hypervisor.ledger(dom as Domid);
    expect(ledger, `the ledger of domain ${dom}`).to.deep.equal({
      grants: entries.filter(([, { flags }]) => (flags & 3) !== 0).length,
      grantsInUse: entries.filter(([, { bits }]) => bits !== 0).length,
      mappings: domain.mappings.size,
      ...(held.get(dom) ?? { pages: 0, heldPages: 0 }),
    });
  }
};

/** A call that `caller` makes if it lives. */
const command = (caller: number, name: string, run: (model: GrantModel, real: Real) => void) => ({
  check: (model: Readonly<GrantModel>) => model.isAlive(caller),
  run: (model: GrantModel, real: Real) => {
    run(model, real);
    compare(model, real);
  },
  toString: () => `d${caller} ${name}`,
});

const caller = fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 3 }) }, fc.constant(0));
const anyDom = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constant(DOMID_SELF as number));
const ownRef = fc.constantFrom(0, 8, 9, 10, 511);
const anyRef = fc.oneof({ weight: 12, arbitrary: ownRef }, fc.constantFrom(512, 600, 1024, 0xffffffff));
/** Whether what is named is to make sense, where something there does. */
const aimed = fc.integer({ min: 0, max: 9 }).map((chance) => chance > 1);
/** A page, by its place among all that there ever were, or among one's own. */
const page = fc.record({ aimed, nth: fc.nat(7) });
type PageName = typeof page extends fc.Arbitrary<infer T> ? T : never;
const frameOf = (model: GrantModel, dom: number, { aimed: isOwn, nth }: PageName): number => {
  const own = [...model.pages].flatMap(([frame, { owner, released }]) =>
    owner.id === dom && !released ? [frame] : [],
  );
  const among = isOwn && own.length > 0 ? own : model.seen;
  return among[nth % among.length] as number;
};
/** A grant: one to the caller by its place among those, or any. */
const grant = fc.record({ aimed, nth: fc.nat(7), dom: anyDom, ref: anyRef });
type GrantName = typeof grant extends fc.Arbitrary<infer T> ? T : never;
const grantOf = (model: GrantModel, user: number, { aimed: isGranted, nth, dom, ref }: GrantName) => {
  const granted = [...model.domains.values()].flatMap(({ id, entries }) =>
    [...entries].flatMap(([of, { flags, peer }]) => ((flags & 3) === 1 && peer === user ? [{ dom: id, ref: of }] : [])),
  );
  return isGranted && granted.length > 0 ? (granted[nth % granted.length] as (typeof granted)[number]) : { dom, ref };
};
const mapFlags = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(1, 2, 3, 5, 6, 7) },
  fc.constantFrom(0, 4, 2 | 8, 2 | 16, 2 | 0xffff0000, 6 | 32),
);
const entryFlags = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(1, 1, 5) },
  fc.constantFrom(0, 2, 3, 1 | 256, 1 | 32),
);
const offset = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(0, 1, 2048) }, fc.constantFrom(4095, 4096));
const length = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(1, 2, 2048) }, fc.constantFrom(0, 4096, 4097));
const end = fc.record({ byRef: fc.boolean(), grant, page, dom: anyDom, aimed, offset });
type End = typeof end extends fc.Arbitrary<infer T> ? T : never;
const endOf = (model: GrantModel, user: number, of: End): ModelEnd => {
  if (of.byRef) {
    const { dom, ref } = grantOf(model, user, of.grant);
    return { dom, ref: true, number: ref, offset: of.offset };
  }
  return { dom: of.aimed ? DOMID_SELF : of.dom, ref: false, number: frameOf(model, user, of.page), offset: of.offset };
};

const own = [
  caller.map((dom) =>
    command(dom, 'populate', (model, { hypervisor }) => {
      if ([...model.pages.values()].filter(({ owner }) => owner.id === dom).length >= 8) return;
      const frame = hypervisor.pages.populate(dom as Domid, DOMID_SELF, 1);
      expect(frame).to.be.above(0);
      expect(model.pages.has(frame), `frame ${frame} is somebody’s`).to.equal(false);
      model.populate(dom, frame);
    }),
  ),
  fc.tuple(caller, page).map(([dom, place]) =>
    command(dom, `release(${JSON.stringify(place)})`, (model, { hypervisor }) => {
      const frame = frameOf(model, dom, place);
      expect(hypervisor.pages.release(dom as Domid, frame, 1)).to.equal(model.release(dom, frame));
    }),
  ),
  fc.tuple(caller, fc.nat(7), offset, fc.integer({ min: 1, max: 255 })).map(([dom, nth, at, byte]) =>
    command(dom, `write(${nth}, ${at}, ${byte})`, (model, real) => {
      const frame = frameOf(model, dom, { aimed: true, nth });
      const written = model.pages.get(frame);
      if (written?.owner.id !== dom || written.released || at >= PAGE) return;
      real.bytes(frame)[at] = byte;
      written.bytes[at] = byte;
    }),
  ),
  // A guest may write anything into its table at any time; a fair one leaves the in-use bits.
  fc.tuple(caller, ownRef, fc.integer({ min: 0, max: 3 }), page, entryFlags).map(([dom, ref, peer, place, flags]) =>
    command(dom, `grant(${ref} to d${peer}: ${JSON.stringify(place)}, flags ${flags})`, (model, real) => {
      const entry = model.entry(model.domains.get(dom) as ModelDomain, ref);
      const frame = frameOf(model, dom, place);
      const words = real.entry(dom, ref);
      Atomics.store(words, 1, frame);
      Atomics.store(words, 0, ((words[0] as number) & 24) | flags | (peer << 16));
      Object.assign(entry, { flags, peer, frame });
    }),
  ),
  // One that is not fair may take or give itself what it likes: it deceives nobody but itself.
  fc.tuple(caller, fc.nat(7), ownRef, fc.constantFrom(0, 0, 0, 8, 24), fc.nat(2)).map(([dom, nth, any, bits, chance]) =>
    command(dom, `forge(${nth} or ${any}, bits ${bits}, if ${chance} is 0)`, (model, real) => {
      if (chance !== 0) return;
      const domain = model.domains.get(dom) as ModelDomain;
      const used = [...domain.entries].filter(([, entry]) => entry.bits !== 0);
      const ref = used[nth % (used.length || 1)]?.[0] ?? any;
      const words = real.entry(dom, ref);
      Atomics.store(words, 0, ((words[0] as number) & ~24) | bits);
      model.entry(domain, ref).bits = bits;
      model.forged = true;
    }),
  ),
  fc.tuple(caller, ownRef).map(([dom, ref]) =>
    command(dom, `end(${ref})`, (model, { hypervisor }) => {
      const ended = hypervisor.grantEntries.endAccess(dom as Domid, ref as GrantRef);
      expect(ended).to.equal(model.endAccess(dom, ref));
    }),
  ),
];

const mapping = [
  fc
    .tuple(caller, fc.array(fc.tuple(grant, mapFlags), { minLength: 1, maxLength: 4 }), fc.nat(11))
    .map(([dom, elements, many]) =>
      command(dom, `map ${JSON.stringify(elements)} ${many === 0 ? '130 times' : 'once'}`, (model, real) => {
        const { mappings } = model.domains.get(dom) as ModelDomain;
        for (let time = many === 0 ? 130 : 1; time > 0; time--) {
          const batch: MapGrantRef[] = [];
          const expected: (ModelMapping | number)[] = [];
          for (const [of, flags] of elements) {
            const { dom: peer, ref } = grantOf(model, dom, of);
            batch.push({ dom: peer as Domid, ref: ref as GrantRef, flags });
            const mapped = model.map(dom, peer, ref, flags);
            expected.push(mapped);
            if (typeof mapped !== 'number') mappings.set(real.nextName(dom), mapped);
          }
          expect(real.hypervisor.grantTableOps.call(dom as Domid, gnttabop.map_grant_ref, batch)).to.equal(0);
          const statuses = expected.map((mapped) => (typeof mapped === 'number' ? mapped : 0));
          expect(batch.map(({ status }) => status)).to.deep.equal(statuses);
          for (const [name, mapped] of mappings) {
            const { handle = -1, devBusAddr = 0 } = batch[expected.indexOf(mapped)] ?? {};
            if (handle < 0) continue;
            expect(devBusAddr).to.equal(mapped.frame * PAGE);
            real.handles.set(name, { handle, address: devBusAddr });
          }
        }
      }),
    ),
  fc
    .tuple(caller, fc.nat(200), fc.constantFrom(0, 1, 2, 2, 3, 3), fc.nat(9), fc.nat(5), fc.nat(9))
    .map(([dom, nth, halves, wrong, replace, all]) =>
      command(dom, `unmap(${nth}, halves ${halves}, wrong ${wrong}, replace ${replace}, all ${all})`, (model, real) => {
        const { mappings } = model.domains.get(dom) as ModelDomain;
        const those = [...mappings.keys()];
        const names = all === 0 ? those : those.slice(nth % (those.length + 1), (nth % (those.length + 1)) + 1);
        if (names.length === 0) names.push('nothing');
        const batch = names.map((name) => {
          const { handle, address } = real.handles.get(name) ?? { handle: 0x7fffffff, address: PAGE };
          const given = wrong === 0 ? address + PAGE : address;
          const hostAddr = (halves & 2) !== 0 ? given : 0;
          const devBusAddr = (halves & 1) !== 0 ? given : 0;
          return { handle, hostAddr, devBusAddr, newAddr: replace === 0 ? PAGE : 0 };
        });
        const expected = batch.map(({ hostAddr, devBusAddr, newAddr }, i) =>
          replace <= 1
            ? model.unmap(dom, names[i] as string, hostAddr, 0, newAddr)
            : model.unmap(dom, names[i] as string, hostAddr, devBusAddr),
        );
        const { grantTableOps } = real.hypervisor;
        const result =
          replace <= 1
            ? grantTableOps.call(dom as Domid, gnttabop.unmap_and_replace, batch as UnmapAndReplace[])
            : grantTableOps.call(dom as Domid, gnttabop.unmap_grant_ref, batch as UnmapGrantRef[]);
        expect(result).to.equal(0);
        expect(batch.map((element: UnmapGrantRef) => element.status)).to.deep.equal(expected);
        for (const name of names) if (!mappings.has(name)) real.handles.delete(name);
      }),
    ),
];

/** More mappings, one after the other, than a domain has handles. */
const churn = fc.tuple(caller, grant, fc.nat(3)).map(([dom, of, chance]) =>
  command(dom, `map and unmap ${JSON.stringify(of)} again and again, if ${chance} is 0`, (model, { hypervisor }) => {
    if (chance !== 0) return;
    const { dom: peer, ref } = grantOf(model, dom, of);
    const { mappings } = model.domains.get(dom) as ModelDomain;
    for (let time = 0; time < 600; time++) {
      const mapped = model.map(dom, peer, ref, 6);
      const handle = hypervisor.grantMap.map(dom as Domid, peer as Domid, ref as GrantRef, 6);
      expect(Math.min(handle, 0)).to.equal(typeof mapped === 'number' ? mapped : 0);
      if (typeof mapped === 'number') return;
      mappings.set('churn', mapped);
      const at = mapped.frame * PAGE;
      expect(hypervisor.grantMap.unmap(dom as Domid, handle, at, 0)).to.equal(model.unmap(dom, 'churn', at, 0));
    }
  }),
);

const copying = [
  fc
    .tuple(caller, fc.array(fc.record({ source: end, dest: end, len: length }), { minLength: 1, maxLength: 4 }))
    .map(([dom, elements]) =>
      command(dom, `copy ${JSON.stringify(elements)}`, (model, real) => {
        const batch: GnttabCopy[] = [];
        const expected: number[] = [];
        for (const { source, dest, len } of elements) {
          const [from, to] = [endOf(model, dom, source), endOf(model, dom, dest)];
          expected.push(model.copy(dom, from, to, len));
          batch.push({
            source: { domid: from.dom as Domid, refOrFrame: from.number, offset: from.offset },
            dest: { domid: to.dom as Domid, refOrFrame: to.number, offset: to.offset },
            len,
            flags: (from.ref ? 1 : 0) | (to.ref ? 2 : 0),
          });
        }
        expect(real.hypervisor.grantTableOps.call(dom as Domid, gnttabop.copy, batch)).to.equal(0);
        expect(batch.map(({ status }) => status)).to.deep.equal(expected);
      }),
    ),
  // A list has one peer: that of its first element's grant.
  fc
    .tuple(
      caller,
      fc.array(fc.tuple(grant, offset, page, offset, length), { minLength: 1, maxLength: 6 }),
      fc.boolean(),
    )
    .map(([dom, elements, toPeer]) =>
      command(dom, `copyList ${toPeer ? 'to' : 'from'} ${JSON.stringify(elements)}`, (model, { hypervisor }) => {
        const list = new CopyList();
        const { dom: peer } = grantOf(model, dom, (elements[0] as (typeof elements)[number])[0]);
        const expected = elements.map(([of, theirs, place, mine, len]) => {
          const { ref } = grantOf(model, dom, of);
          const frame = frameOf(model, dom, place);
          list.add(ref, theirs, frame, mine, len);
          const granted = { dom: peer, ref: true, number: ref, offset: theirs };
          const ours = { dom: DOMID_SELF, ref: false, number: frame, offset: mine };
          return toPeer ? model.copy(dom, ours, granted, len) : model.copy(dom, granted, ours, len);
        });
        const failed = hypervisor.grantCopy.copyList(dom as Domid, peer as Domid, list, toPeer);
        expect(elements.map((_, i) => list.status(i))).to.deep.equal(expected);
        expect(failed).to.equal(expected.findIndex((status) => status !== 0));
      }),
    ),
  // One of references alone has two.
  fc
    .tuple(caller, fc.array(fc.tuple(grant, offset, grant, offset, length), { minLength: 1, maxLength: 6 }))
    .map(([dom, elements]) =>
      command(dom, `forwardList ${JSON.stringify(elements)}`, (model, { hypervisor }) => {
        const list = new CopyList();
        const [first] = elements as [(typeof elements)[number]];
        const [from, to] = [grantOf(model, dom, first[0]).dom, grantOf(model, dom, first[2]).dom];
        const expected = elements.map(([source, at, dest, toAt, len]) => {
          const [ref, other] = [grantOf(model, dom, source).ref, grantOf(model, dom, dest).ref];
          list.add(ref, at, other, toAt, len);
          const read = { dom: from, ref: true, number: ref, offset: at };
          const written = { dom: to, ref: true, number: other, offset: toAt };
          return model.copy(dom, read, written, len);
        });
        const failed = hypervisor.grantCopy.forwardList(dom as Domid, from as Domid, to as Domid, list);
        expect(elements.map((_, i) => list.status(i))).to.deep.equal(expected);
        expect(failed).to.equal(expected.findIndex((status) => status !== 0));
      }),
    ),
];

const tables = [
  fc.tuple(caller, fc.array(fc.tuple(anyRef, anyRef), { minLength: 1, maxLength: 3 })).map(([dom, pairs]) =>
    command(dom, `swap ${pairs.join(' ')}`, (model, { hypervisor }) => {
      const batch: SwapGrantRef[] = pairs.map(([a, b]) => ({ refA: a as GrantRef, refB: b as GrantRef }));
      const expected = pairs.map(([a, b]) => model.swap(dom, a, b));
      expect(hypervisor.grantTableOps.call(dom as Domid, gnttabop.swap_grant_ref, batch)).to.equal(0);
      expect(batch.map(({ status }) => status)).to.deep.equal(expected);
    }),
  ),
  fc.tuple(caller, anyDom, fc.nat(5)).map(([dom, of, frames]) =>
    command(dom, `setup_table(d${of}, ${frames})`, (model, { hypervisor }) => {
      const element: SetupTable = { dom: of as Domid, nrFrames: frames };
      expect(hypervisor.grantTableOps.call(dom as Domid, gnttabop.setup_table, [element])).to.equal(0);
      expect(element.status).to.equal(model.setupTable(dom, of, frames));
      expect(element.frameList?.length).to.equal(element.status === 0 ? frames : undefined);
    }),
  ),
  fc.tuple(caller, anyDom, fc.nat(3)).map(([dom, of, version]) =>
    command(dom, `query(d${of}, ${version})`, (model, { hypervisor }) => {
      const { grantTableOps } = hypervisor;
      const size: QuerySize = { dom: of as Domid };
      expect(grantTableOps.call(dom as Domid, gnttabop.query_size, [size])).to.equal(0);
      const expected = model.querySize(dom, of);
      expect(size.status).to.equal(expected.status);
      if (size.status === 0) expect(size).to.deep.equal({ dom: of, ...expected });
      const got: GetVersion = { dom: of as Domid };
      const answer = model.getVersion(dom, of);
      expect(grantTableOps.call(dom as Domid, gnttabop.get_version, [got])).to.equal(Math.min(answer, 0));
      expect(got.version).to.equal(answer < 0 ? undefined : answer);
      const wanted = { version };
      expect(grantTableOps.call(dom as Domid, gnttabop.set_version, [wanted])).to.equal(model.setVersion(version));
      expect(wanted.version).to.equal(1);
      const frames: GetStatusFrames = { dom: of as Domid, nrFrames: version };
      expect(grantTableOps.call(dom as Domid, gnttabop.get_status_frames, [frames])).to.equal(0);
      expect(frames.status).to.equal(model.statusFrames(dom, of, version));
    }),
  ),
  fc.tuple(caller, fc.nat(7), offset, length, fc.constantFrom(1, 1, 1, 3, 0, 2, 4)).map(([dom, nth, at, len, op]) =>
    command(dom, `cache_flush(${nth}, ${at}, ${len}, ${op})`, (model, { hypervisor }) => {
      const frame = frameOf(model, dom, { aimed: false, nth });
      const owner = hypervisor.frames.ownerOf(frame);
      // Grant frames and the like may have it by now: they are domains' too, and not the model's business.
      if (owner !== undefined && !model.pages.has(frame)) return;
      const element = { devBusAddr: frame * PAGE, offset: at, length: len, op };
      const result = hypervisor.grantTableOps.call(dom as Domid, gnttabop.cache_flush, [element]);
      expect(result).to.equal(model.cacheFlush(dom, frame, at, len, op));
    }),
  ),
  fc.tuple(fc.integer({ min: 1, max: 3 }), fc.nat(3)).map(([dom, patience]) =>
    command(0, `destroy(d${dom}) or create it, if ${patience} is 0`, (model, real) => {
      if (model.domains.has(dom)) {
        if (!model.isAlive(dom) || patience !== 0) return;
        expect(real.hypervisor.destroyDomain(0 as Domid, dom as Domid)).to.equal(0);
        model.destroy(dom);
        return;
      }
      real.create(dom);
      const { maxGrantFrames, maxMaptrackFrames } = limits[dom] as (typeof limits)[number];
      model.create(dom, false, maxGrantFrames, maxMaptrackFrames);
    }),
  ),
];

const often = (of: typeof own, from: number): typeof own => [
  ...of,
  ...of.slice(from, from + 1),
  ...of.slice(from, from + 1),
];
const commands = [
  ...often(own, 3),
  ...own.slice(0, 1),
  ...mapping,
  ...mapping,
  churn,
  ...copying,
  ...copying,
  ...tables,
];

/** What four domains do to each other, and whether a second thread is attached, for which copies mark what they use. */
const property = fc.property(
  fc.commands(commands, { maxCommands: 120, size: 'max' }),
  fc.boolean(),
  (plan, observed) => {
    const real = new Real();
    const model = new GrantModel();
    if (observed) new Hypervisor(real.hypervisor.memory);
    limits.forEach(({ maxGrantFrames, maxMaptrackFrames }, dom) => {
      real.create(dom);
      model.create(dom, dom === 0, maxGrantFrames, maxMaptrackFrames);
      for (let page = 0; page < 3; page++)
        model.populate(dom, real.hypervisor.pages.populate(dom as Domid, DOMID_SELF, 1));
    });
    fc.modelRun(() => ({ model, real }), plan);
    if (!model.forged) expectSound(real.hypervisor, 'at the end');
    for (let dom = 0; dom < limits.length; dom++) real.hypervisor.destroyDomain(DOMID_XEN, dom as Domid);
    expect(real.hypervisor.domains.slots()).to.deep.equal([]);
    expectSound(real.hypervisor, 'after all have gone');
  },
);

/** Runs `runs` random histories over the hypervisor and the model. @throws Error with the shortest that tells them apart, and the seed */
export const expectAgreement = (runs: number, seed: number): void => {
  fc.assert(property, { numRuns: runs, seed });
};

/** Whether some of `runs` random histories tells the hypervisor from the model. */
export const differs = (runs: number, seed: number): boolean =>
  fc.check(property, { numRuns: runs, seed, endOnFailure: true }).failed;
