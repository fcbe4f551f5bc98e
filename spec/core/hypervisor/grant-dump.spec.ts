import { expect } from 'chai';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { header } from '../../../core/hypervisor/layout.js';
import { dom0, dom1, dom2, dom3, grant, machine, ok } from './machine.js';

const { hostMap, deviceMap, readonly } = gntmap;

describe('debug key g (grant_table.c gnttab_usage_print_all)', () => {
  let hypervisor: Hypervisor;
  const hex = (frame: number, digits: number): string => `0x${frame.toString(16).padStart(digits, '0')}`;

  beforeEach(() => {
    ({ hypervisor } = machine({ maxGrantFrames: 32, maxMaptrackFrames: 16 }));
  });

  it('prints what Xen prints, with the names of owner and user behind each entry', () => {
    for (const domid of [dom0, dom2, dom3]) ok(hypervisor.destroyDomain(0x7ff2 as typeof dom0, domid));
    ok(hypervisor.domains.create(0x7ff2 as typeof dom0, { domid: dom2 }));
    const { ref, frame } = grant(hypervisor, dom1, dom2);
    grant(hypervisor, dom1, dom2);
    ok(hypervisor.grantMap.map(dom2, dom1, ref, hostMap));
    ok(hypervisor.grantMap.map(dom2, dom1, ref, hostMap | deviceMap | readonly));
    const names = new Map([
      [dom1, 'web'],
      [dom2, 'storage'],
    ]);
    expect(hypervisor.grantDump.text((domid) => names.get(domid)).split('\n')).to.deep.equal([
      "gnttab_usage_print_all [ key 'g' pressed",
      '      -------- active --------       -------- shared --------',
      '[ref] localdom mfn      pin          localdom gmfn     flags',
      'grant-table for remote d1 (v1)',
      '  1 frames (32 max), 0 maptrack frames (16 max)',
      `[0x008]      2 ${hex(frame, 5)} 0x01000101          2 ${hex(frame, 6)} 0x19  web -> storage`,
      '      -------- active --------       -------- shared --------',
      '[ref] localdom mfn      pin          localdom gmfn     flags',
      'grant-table for remote d2 (v1)',
      '  1 frames (64 max), 1 maptrack frames (1024 max)',
      'no active grant table entries',
      'gnttab_usage_print_all ] done',
      '',
    ]);
  });

  const entries = (): readonly string[] =>
    hypervisor.grantDump
      .text()
      .split('\n')
      .filter((line) => line.startsWith('[0x'));

  it('tells what the granter has made of an entry that is in use: whom it names, its frame, its flags', () => {
    const { ref, frame } = grant(hypervisor, dom1, dom2);
    ok(hypervisor.grantMap.map(dom2, dom1, ref, hostMap | readonly));
    const entry = hypervisor.grantEntries.entry(hypervisor.memory.slotOf(dom1), ref);
    hypervisor.memory.words[entry] = 1 | 4 | 8 | 32 | 128 | 256 | (0x7fef << 16);
    hypervisor.memory.words[entry + 1] = -1;
    expect(entries()).to.deep.equal([
      `[0x008]      2 ${hex(frame, 5)} 0x00000100      32751 0xffffffff 0x1ad  d1 -> d2`,
    ]);
  });

  it('prints pin counters that are full as C prints them, unsigned', () => {
    const { ref } = grant(hypervisor, dom1, dom2);
    for (let i = 0; i < 128; i++) ok(hypervisor.grantMap.map(dom2, dom1, ref, deviceMap | readonly));
    expect(entries()[0]).to.include(' 0x80000000 ');
  });

  it('goes through domains by their numbers, and prints a zombie’s too', () => {
    const { ref } = grant(hypervisor, dom3, dom2);
    const first = grant(hypervisor, dom2, dom3);
    ok(hypervisor.grantMap.map(dom2, dom3, ref, hostMap));
    ok(hypervisor.grantMap.map(dom3, dom2, first.ref, hostMap));
    ok(hypervisor.destroyDomain(dom0, dom1));
    ok(hypervisor.domains.create(dom0, { domid: dom1 }));
    ok(hypervisor.destroyDomain(dom0, dom3));
    const text = hypervisor.grantDump.text();
    expect(text.match(/remote d\d/g)).to.deep.equal(['remote d0', 'remote d1', 'remote d2', 'remote d3']);
    expect(entries()).to.have.length(1);
    expect(entries()[0]).to.include('d3 -> d2');
  });

  it('lets the lock go again and again in a large table, and asks for names without it', () => {
    ({ hypervisor } = machine({}, 8 * 2 ** 20));
    ok(hypervisor.grantEntries.setupTable(dom1, dom1, 64));
    const { ref } = grant(hypervisor, dom1, dom2);
    ok(hypervisor.grantMap.map(dom2, dom1, ref, hostMap));
    const { words } = hypervisor.memory;
    const { exchange } = Atomics;
    let released = 0;
    Atomics.exchange = ((...args: Parameters<typeof exchange>) => {
      released++;
      return exchange(...args);
    }) as typeof exchange;
    try {
      hypervisor.grantDump.text(() => {
        expect(words[header.lock]).to.equal(0);
        return undefined;
      });
    } finally {
      Atomics.exchange = exchange;
    }
    expect(released).to.equal((64 * 512) / 2048 + 3);
  });
});
