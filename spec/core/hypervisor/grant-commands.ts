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
import { GrantModel, inUseBits, type ModelEnd, type ModelMapping } from './grant-model.js';
import { expectSound } from './invariants.js';

const PAGE = 4096;

/** Domain 0 is privileged; domain 3 may map little and grant little. */
const limits = [
  { maxGrantFrames: 4, maxMaptrackFrames: 4 },
  { maxGrantFrames: 3, maxMaptrackFrames: 2 },
  { maxGrantFrames: 3, maxMaptrackFrames: 2 },
  { maxGrantFrames: 2, maxMaptrackFrames: 1 },
] as const;

/** The machine, and the handles that the model's names stand for. */
class Real {
  readonly hypervisor = Hypervisor.create({ bytes: 2 ** 20, domains: 5 });
  readonly handles = new Map<string, { readonly handle: number; readonly address: number }>();

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
      expect(word, `grant ${dom}/${ref}`).to.equal(entry.flags | inUseBits(entry) | (entry.peer << 16));
      expect(frame, `the frame of grant ${dom}/${ref}`).to.equal(entry.frame);
    }
    const { ports: _, refs: __, ...ledger } = hypervisor.ledger(dom as Domid);
    expect(ledger, `the ledger of domain ${dom}`).to.deep.equal({
      grants: entries.filter(([, { flags }]) => (flags & 3) !== 0).length,
      grantsInUse: entries.filter(([, entry]) => inUseBits(entry) !== 0).length,
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
const granter = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 0, max: 3 }) },
  fc.constantFrom(4, DOMID_SELF as number),
);
const anyDom = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constant(DOMID_SELF as number));
const ownRef = fc.constantFrom(0, 8, 9, 10, 511);
const anyRef = fc.oneof({ weight: 12, arbitrary: ownRef }, fc.constantFrom(512, 600, 1024, 0xffffffff));
/** A page, by its place among all that there ever were: by far not each is still there. */
const nth = fc.integer({ min: 0, max: 7 });
const frameOf = (model: GrantModel, place: number): number => model.seen[place % model.seen.length] as number;
const slotName = fc.integer({ min: 0, max: 4 });
const mapFlags = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(1, 2, 3, 5, 6, 7) },
  fc.constantFrom(0, 4, 2 | 8, 2 | 16, 2 | 0xffff0000, 6 | 32),
);
const entryFlags = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(1, 1, 5) },
  fc.constantFrom(0, 2, 3, 1 | 256, 1 | 32),
);
const offset = fc.constantFrom(0, 0, 1, 2048, 4095, 4096);
const length = fc.constantFrom(0, 1, 1, 2, 2048, 4096, 4097);
const end = fc.record({ dom: granter, ref: fc.boolean(), number: anyRef, place: nth, offset });

const modelEnd = (
  model: GrantModel,
  of: { dom: number; ref: boolean; number: number; place: number; offset: number },
) => {
  const { dom, ref, number, place } = of;
  return { dom, ref, number: ref ? number : frameOf(model, place), offset: of.offset } satisfies ModelEnd;
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
  fc.tuple(caller, nth).map(([dom, place]) =>
    command(dom, `release(${place})`, (model, { hypervisor }) => {
      const frame = frameOf(model, place);
      expect(hypervisor.pages.release(dom as Domid, frame, 1)).to.equal(model.release(dom, frame));
    }),
  ),
  fc.tuple(caller, nth, offset, fc.integer({ min: 1, max: 255 })).map(([dom, place, at, byte]) =>
    command(dom, `write(${place}, ${at}, ${byte})`, (model, real) => {
      const frame = frameOf(model, place);
      const page = model.pages.get(frame);
      if (page?.owner.id !== dom || page.released || at >= PAGE) return;
      real.bytes(frame)[at] = byte;
      page.bytes[at] = byte;
    }),
  ),
  // A guest may write anything into its table at any time; only what it leaves of the in-use bits is fair.
  fc.tuple(caller, ownRef, fc.integer({ min: 0, max: 3 }), nth, entryFlags).map(([dom, ref, peer, place, flags]) =>
    command(dom, `grant(${ref} to d${peer}: ${place}, flags ${flags})`, (model, real) => {
      const entry = model.entry(model.domains.get(dom) as never, ref);
      const frame = frameOf(model, place);
      const words = real.entry(dom, ref);
      Atomics.store(words, 1, frame);
      Atomics.store(words, 0, ((words[0] as number) & 24) | flags | (peer << 16));
      Object.assign(entry, { flags, peer, frame });
    }),
  ),
  fc.tuple(caller, ownRef).map(([dom, ref]) =>
    command(dom, `end(${ref})`, (model, { hypervisor }) => {
      const ended = hypervisor.grantEntries.endAccess(dom as Domid, ref as GrantRef);
      expect(ended).to.equal(model.endAccess(dom, ref));
    }),
  ),
];

const grantOfOwnPage = fc
  .tuple(caller, ownRef, fc.integer({ min: 0, max: 3 }), fc.constantFrom(1, 1, 1, 5))
  .map(([dom, ref, peer, flags]) =>
    command(dom, `share(${ref} with d${peer}, flags ${flags})`, (model, real) => {
      const found = [...model.pages].find(([, { owner, released }]) => owner.id === dom && !released);
      if (found === undefined) return;
      const words = real.entry(dom, ref);
      Atomics.store(words, 1, found[0]);
      Atomics.store(words, 0, ((words[0] as number) & 24) | flags | (peer << 16));
      Object.assign(model.entry(model.domains.get(dom) as never, ref), { flags, peer, frame: found[0] });
    }),
  );

const mapping = [
  fc
    .tuple(caller, fc.array(fc.tuple(granter, anyRef, mapFlags, slotName), { minLength: 1, maxLength: 4 }), fc.nat(9))
    .map(([dom, elements, many]) =>
      command(
        dom,
        `map ${elements.map(([of, ref, flags, as]) => `d${of}/${ref}:${flags}#${as}`)} x${many}`,
        (model, real) => {
          const times = many === 0 ? 130 : 1;
          for (let time = 0; time < times; time++) {
            const wanted = elements.filter(([, , , as]) => !model.domains.get(dom)?.mappings.has(`${as}.${time}`));
            const batch: MapGrantRef[] = [];
            const expected: (ModelMapping | number)[] = [];
            const names = new Set<string>();
            for (const [of, ref, flags, as] of wanted) {
              const name = `${as}.${time}`;
              if (names.has(name)) continue;
              names.add(name);
              batch.push({ dom: of as Domid, ref: ref as GrantRef, flags });
              const mapped = model.map(dom, of, ref, flags);
              expected.push(mapped);
              if (typeof mapped !== 'number') model.domains.get(dom)?.mappings.set(name, mapped);
            }
            expect(real.hypervisor.grantTableOps.call(dom as Domid, gnttabop.map_grant_ref, batch)).to.equal(0);
            const statuses = expected.map((mapped) => (typeof mapped === 'number' ? mapped : 0));
            expect(batch.map(({ status }) => status)).to.deep.equal(statuses);
            [...names].forEach((name, i) => {
              const mapped = expected[i] as ModelMapping | number;
              if (typeof mapped === 'number') return;
              const { handle = -1, devBusAddr = 0 } = batch[i] as MapGrantRef;
              expect(devBusAddr).to.equal(mapped.frame * PAGE);
              real.handles.set(`${dom}#${name}`, { handle, address: devBusAddr });
            });
          }
        },
      ),
    ),
  fc
    .tuple(caller, slotName, fc.constantFrom(0, 1, 2, 2, 3, 3), fc.constantFrom(0, 0, 0, 0, PAGE), fc.nat(5))
    .map(([dom, as, halves, wrong, replace]) =>
      command(dom, `unmap(${as}, halves ${halves}, off by ${wrong}, ${replace})`, (model, real) => {
        const names = Array.from({ length: 130 }, (_, i) => `${as}.${i}`).filter((name) =>
          real.handles.has(`${dom}#${name}`),
        );
        if (names.length === 0) names.push('nothing');
        const batch = names.map((name) => {
          const { handle, address } = real.handles.get(`${dom}#${name}`) ?? { handle: 0x7fffffff, address: PAGE };
          const host = (halves & 2) !== 0 ? address + wrong : 0;
          const device = (halves & 1) !== 0 ? address + wrong : 0;
          return { handle, hostAddr: host, devBusAddr: device, newAddr: replace === 0 ? PAGE : 0 };
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
        const left = model.domains.get(dom)?.mappings;
        for (const name of names) if (left?.has(name) !== true) real.handles.delete(`${dom}#${name}`);
      }),
    ),
];

const copying = [
  fc
    .tuple(caller, fc.array(fc.record({ source: end, dest: end, len: length }), { minLength: 1, maxLength: 4 }))
    .map(([dom, elements]) =>
      command(dom, `copy ${JSON.stringify(elements)}`, (model, real) => {
        const batch: GnttabCopy[] = [];
        const expected: number[] = [];
        for (const { source, dest, len } of elements) {
          const [from, to] = [modelEnd(model, source), modelEnd(model, dest)];
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
  fc
    .tuple(
      caller,
      granter,
      fc.array(fc.tuple(anyRef, offset, nth, offset, length), { minLength: 1, maxLength: 6 }),
      fc.boolean(),
    )
    .map(([dom, peer, elements, toPeer]) =>
      command(dom, `copyList ${toPeer ? 'to' : 'from'} d${peer}: ${elements.join(' ')}`, (model, { hypervisor }) => {
        const list = new CopyList();
        const expected = elements.map(([ref, theirs, place, mine, len]) => {
          const frame = frameOf(model, place);
          list.add(ref, theirs, frame, mine, len);
          const granted = { dom: peer, ref: true, number: ref, offset: theirs };
          const page = { dom: DOMID_SELF, ref: false, number: frame, offset: mine };
          return toPeer ? model.copy(dom, page, granted, len) : model.copy(dom, granted, page, len);
        });
        const failed = hypervisor.grantCopy.copyList(dom as Domid, peer as Domid, list, toPeer);
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
  fc.tuple(caller, nth, offset, length, fc.constantFrom(0, 1, 2, 3, 4)).map(([dom, place, at, len, op]) =>
    command(dom, `cache_flush(${place}, ${at}, ${len}, ${op})`, (model, { hypervisor }) => {
      const frame = frameOf(model, place);
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
        for (const name of [...real.handles.keys()]) if (name.startsWith(`${dom}#`)) real.handles.delete(name);
        return;
      }
      real.create(dom);
      const { maxGrantFrames, maxMaptrackFrames } = limits[dom] as (typeof limits)[number];
      model.create(dom, false, maxGrantFrames, maxMaptrackFrames);
    }),
  ),
];

const commands = [
  ...own,
  ...own.slice(0, 1),
  grantOfOwnPage,
  grantOfOwnPage,
  ...mapping,
  ...mapping,
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
    });
    fc.modelRun(() => ({ model, real }), plan);
    expectSound(real.hypervisor, 'at the end');
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
