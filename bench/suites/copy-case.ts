import { DOMID_XEN } from '../../core/hypervisor/domains.js';
import { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { type Domid, type GrantRef, PAGE_SIZE, type SharedPage } from '../../core/index.js';
import { HypervisorGrantTable } from '../../platform/hypervisor/grant-table.js';
import { measureCase } from '../lib/measure-case.js';

// One case in a process: node copy-case.js CASE rate|alloc SCALE. A case is its name, bytes, segments a call, and threads attached.
const [, , name = '', mode = 'rate', scale = '1'] = process.argv;
const [what = '', bytes = '64', batch = '1', threads = '1'] = name.split('-');
const length = Number(bytes);
const perCall = Number(batch);

const PAGES = 256;
const [front, back] = [1 as Domid, 2 as Domid];
const hypervisor = Hypervisor.create({ bytes: 16 * 2 ** 20, domains: 4 });
for (let i = 1; i < Number(threads); i++) new Hypervisor(hypervisor.memory);
for (const domid of [front, back]) hypervisor.domains.create(DOMID_XEN, { domid });
const theirs = new HypervisorGrantTable(hypervisor, front);
const grants = new HypervisorGrantTable(hypervisor, back);
const shared: SharedPage[] = Array.from({ length: PAGES }, () => theirs.share(back));
const own = Array.from({ length: PAGES }, () => grants.alloc());
for (const [i, page] of shared.entries()) page.bytes.fill(i + 1);

const segments = shared.map(({ ref }, i) => ({
  ref,
  offset: 0,
  page: own[i] as (typeof own)[number],
  pageOffset: 0,
  length,
}));
const calls = Array.from({ length: PAGES / perCall }, (_, i) => segments.slice(i * perCall, (i + 1) * perCall));

/** Through the grant table, with every check; then looks whether the bytes are there. */
const granted = (n: number, toPeer: boolean): void => {
  for (let done = 0, call = 0; done < n; done += perCall) {
    const batched = calls[call] as (typeof calls)[number];
    if (toPeer) grants.copyTo(front, batched);
    else grants.copyFrom(front, batched);
    call = call + 1 === calls.length ? 0 : call + 1;
  }
  const last = own[PAGES - 1]?.bytes[length - 1];
  if (last !== (shared[PAGES - 1] as SharedPage).bytes[length - 1]) throw new Error('the copies did not arrive');
};

const cases: Readonly<Record<string, (n: number) => void>> = {
  from: (n) => granted(n, false),
  to: (n) => granted(n, true),
  /** What one would write without a grant table: no checks, and an object a copy. */
  set: (n) => {
    const memory = hypervisor.memory.bytes;
    const from = (shared[0] as SharedPage).bytes.byteOffset;
    const to = own[0]?.bytes.byteOffset ?? 0;
    for (let i = 0; i < n; i++) {
      const at = from + (i & (PAGES - 1)) * PAGE_SIZE;
      memory.set(memory.subarray(at, at + length), to + (i & (PAGES - 1)) * PAGE_SIZE);
    }
  },
  map: (n) => {
    const refs: readonly (readonly GrantRef[])[] = shared.map(({ refs }) => refs);
    for (let i = 0; i < n; i++) grants.map(front, refs[i & (PAGES - 1)] as readonly GrantRef[])[Symbol.dispose]();
  },
};

const run = cases[what];
if (run === undefined) throw new RangeError(`no case ${what}`);
measureCase(run, mode, Math.ceil(((1e10 / (length + 300)) * Number(scale)) / PAGES) * PAGES);
