// Long, since it lists every call that changes a table.
import { expect } from 'chai';
import { DOMID_SELF, type Domid, type Port } from '../../../core/abi/units.js';
import { CopyList } from '../../../core/hypervisor/copy-list.js';
import { gntcopy } from '../../../core/hypervisor/grant-copy.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import { gnttabop } from '../../../core/hypervisor/grant-table-ops.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { header } from '../../../core/hypervisor/layout.js';
import { interruptScenes } from './interrupt-scenes.js';
import { addDomain, bytesOf, connect, deliver, dom0, dom1, dom2, dom3, grant, ok } from './machine.js';
import { Mortal } from './mortal.js';
import type { Scene } from './scene.js';

const { hostMap, deviceMap, readonly } = gntmap;

/** A domain with a thread of its own, where a scene makes it. */
export const dom4 = 4 as Domid;

/** A page of `owner` that `mapper` maps. */
export const mapped = (hypervisor: Hypervisor, mapper: Domid, owner: Domid, flags: number = hostMap) => {
  const granted = grant(hypervisor, owner, mapper);
  return { ...granted, handle: ok(hypervisor.grantMap.map(mapper, owner, granted.ref, flags)) };
};

/** Ties a domain to others in every way. */
const entangle = (h: Hypervisor, domid: Domid): void => {
  connect(h, domid, dom2);
  connect(h, dom1, domid);
  mapped(h, domid, dom2);
  mapped(h, dom2, domid);
  mapped(h, domid, domid);
  grant(h, domid, dom1);
};

export const scenes: readonly Scene[] = [
  ...interruptScenes,
  {
    name: 'alloc_unbound',
    caller: dom1,
    prepare: (h) => () => ok(h.eventChannels.allocUnbound(dom1, DOMID_SELF, dom2)),
  },
  {
    name: 'alloc_unbound that makes the table grow by a frame',
    caller: dom1,
    prepare: (h) => {
      for (let port = 1; port < 512; port++) ok(h.eventChannels.allocUnbound(dom1, dom1, dom2));
      return () => ok(h.eventChannels.allocUnbound(dom1, dom1, dom2));
    },
  },
  {
    name: 'alloc_unbound for another domain, by a privileged one',
    caller: dom0,
    prepare: (h) => {
      for (let port = 1; port < 512; port++) ok(h.eventChannels.allocUnbound(dom1, dom1, dom2));
      return () => ok(h.eventChannels.allocUnbound(dom0, dom1, dom0));
    },
  },
  {
    name: 'the first set_trap_table of a vCPU, which takes its frames',
    caller: dom1,
    prepare: (h) => () => ok(h.traps.setTrapTable(dom1, 0, [{ vector: 3, flags: 0, cs: 0xe033, address: 0x10n }])),
  },
  {
    name: 'bind_interdomain',
    caller: dom1,
    prepare: (h) => {
      const port = ok<Port>(h.eventChannels.allocUnbound(dom2, dom2, dom1));
      return () => ok(h.eventChannels.bindInterdomain(dom1, dom2, port));
    },
  },
  {
    name: 'bind_interdomain to oneself',
    caller: dom1,
    prepare: (h) => {
      const port = ok<Port>(h.eventChannels.allocUnbound(dom1, dom1, dom1));
      return () => ok(h.eventChannels.bindInterdomain(dom1, dom1, port));
    },
  },
  {
    name: 'close of the end that bound',
    caller: dom1,
    prepare: (h) => {
      const [, port] = connect(h, dom2, dom1);
      return () => ok(h.eventChannels.close(dom1, port));
    },
  },
  {
    name: 'close of a port whose peer has an event pending',
    caller: dom1,
    prepare: (h) => {
      const [port] = connect(h, dom1, dom2);
      ok(h.eventChannels.send(dom1, port));
      return () => ok(h.eventChannels.close(dom1, port));
    },
  },
  {
    name: 'send',
    caller: dom1,
    prepare: (h) => {
      const [port] = connect(h, dom1, dom2);
      return () => ok(h.eventChannels.send(dom1, port));
    },
  },
  {
    name: 'unmask and mask',
    caller: dom1,
    prepare: (h) => {
      const [port, peer] = connect(h, dom1, dom2);
      h.eventChannels.mask(dom1, port);
      ok(h.eventChannels.send(dom2, peer));
      return () => {
        ok(h.eventChannels.unmask(dom1, port));
        h.eventChannels.mask(dom1, port);
      };
    },
  },
  {
    name: 'the scan for events',
    caller: dom1,
    prepare: (h) => {
      for (let i = 0; i < 3; i++) ok(h.eventChannels.send(dom2, connect(h, dom1, dom2)[1]));
      return () => deliver(h, dom1, 2);
    },
  },
  {
    name: 'populating and releasing pages',
    caller: dom1,
    prepare: (h) => () => ok(h.pages.release(dom1, ok(h.pages.populate(dom1, dom1, 3)), 3)),
  },
  {
    name: 'releasing a page that another maps',
    caller: dom1,
    prepare: (h) => {
      const { frame } = mapped(h, dom2, dom1);
      return () => ok(h.pages.release(dom1, frame, 1));
    },
  },
  {
    name: 'growing the grant table by two frames',
    caller: dom1,
    prepare: (h) => () => ok(h.grantEntries.setupTable(dom1, dom1, 3)),
  },
  {
    name: 'growing another’s grant table',
    caller: dom0,
    prepare: (h) => () => ok(h.grantEntries.setupTable(dom0, dom1, 2)),
  },
  {
    name: 'granting and revoking',
    caller: dom1,
    prepare: (h) => () => {
      const { ref } = grant(h, dom1, dom2);
      h.grantEntries.endAccess(dom1, ref);
      h.grantEntries.freeRef(dom1, ref);
    },
  },
  {
    name: 'the first mapping of a domain and of a grant',
    caller: dom1,
    prepare: (h) => {
      const { ref } = grant(h, dom2, dom1);
      return () => ok(h.grantMap.map(dom1, dom2, ref, hostMap | deviceMap));
    },
  },
  {
    name: 'a mapping beside another',
    caller: dom1,
    prepare: (h) => {
      const { ref } = mapped(h, dom1, dom2, hostMap | readonly);
      return () => ok(h.grantMap.map(dom1, dom2, ref, hostMap));
    },
  },
  {
    name: 'a mapping that fails for its page',
    caller: dom1,
    prepare: (h) => {
      const { ref, frame } = grant(h, dom2, dom1);
      ok(h.pages.release(dom2, frame, 1));
      return () => h.grantMap.map(dom1, dom2, ref, hostMap);
    },
  },
  {
    name: 'unmapping one half, then the other',
    caller: dom1,
    prepare: (h) => {
      const { handle, frame } = mapped(h, dom1, dom2, hostMap | deviceMap);
      return () => {
        ok(h.grantMap.unmap(dom1, handle, frame * 4096, 0));
        ok(h.grantMap.unmap(dom1, handle, 0, frame * 4096));
      };
    },
  },
  {
    name: 'unmapping a page that its domain has released',
    caller: dom1,
    prepare: (h) => {
      const { handle, frame } = mapped(h, dom1, dom2);
      ok(h.pages.release(dom2, frame, 1));
      return () => ok(h.grantMap.unmap(dom1, handle, frame * 4096, 0));
    },
  },
  {
    name: 'unmapping the last page of a zombie',
    caller: dom1,
    prepare: (h) => {
      const { handle, frame } = mapped(h, dom1, dom3);
      connect(h, dom3, dom2);
      ok(h.destroyDomain(dom0, dom3));
      return () => ok(h.grantMap.unmap(dom1, handle, frame * 4096, 0));
    },
  },
  {
    name: 'a copy from reference to reference',
    caller: dom1,
    prepare: (h) => {
      const [from, to] = [grant(h, dom2, dom1), grant(h, dom3, dom1)];
      return () =>
        ok(h.grantCopy.copy(dom1, dom2, from.ref, 0, dom3, to.ref, 0, 64, gntcopy.sourceGref | gntcopy.destGref));
    },
  },
  {
    name: 'a copy beside a mapping',
    caller: dom1,
    prepare: (h) => {
      const { ref } = mapped(h, dom1, dom2, hostMap | readonly);
      const own = ok(h.pages.populate(dom1, dom1, 1));
      return () => ok(h.grantCopy.copy(dom1, DOMID_SELF, own, 0, dom2, ref, 0, 64, gntcopy.destGref));
    },
  },
  {
    name: 'swapping two references',
    caller: dom1,
    prepare: (h) => {
      const [one, two] = [grant(h, dom1, dom2), grant(h, dom1, dom3, true)];
      return () => ok(h.grantTableOps.call(dom1, gnttabop.swap_grant_ref, [{ refA: one.ref, refB: two.ref }]));
    },
  },
  ...[false, true].map((observed) => ({
    name: `a list of copies, of which some fail and some are beside mappings${observed ? ', with another thread attached' : ''}`,
    caller: dom1,
    prepare: (h: Hypervisor) => {
      if (observed) new Hypervisor(h.memory);
      const own = ok(h.pages.populate(dom1, dom1, 1));
      const refs = [
        grant(h, dom2, dom1).ref,
        mapped(h, dom1, dom2, hostMap | readonly).ref,
        512,
        grant(h, dom2, dom3).ref,
        mapped(h, dom1, dom2).ref,
        grant(h, dom2, dom1).ref,
      ];
      const list = new CopyList();
      for (const ref of refs) list.add(ref, 0, own, 0, 64);
      return () => {
        expect(h.grantCopy.copyList(dom1, dom2, list, true)).to.equal(2);
        expect(h.grantCopy.copyList(dom1, dom2, list, false)).to.equal(2);
      };
    },
  })),
  ...[false, true].map((observed) => ({
    name: `a list of copies from reference to reference, of which some fail${observed ? ', with another thread attached' : ''}`,
    caller: dom1,
    prepare: (h: Hypervisor) => {
      if (observed) new Hypervisor(h.memory);
      const source = grant(h, dom2, dom1, true).ref;
      const dest = grant(h, dom3, dom1).ref;
      const tight = grant(h, dom3, dom1, true).ref;
      const list = new CopyList();
      for (const [from, to] of [
        [source, dest],
        [512, dest],
        [source, tight],
        [source, dest],
      ] as const)
        list.add(from, 0, to, 0, 64);
      return () => expect(h.grantCopy.forwardList(dom1, dom2, dom3, list)).to.equal(1);
    },
  })),
  {
    name: 'creating a domain',
    caller: dom0,
    prepare: (h) => () => addDomainAs(h, dom0, 9 as Domid),
  },
  {
    name: 'destroying a domain',
    caller: dom0,
    prepare: (h) => {
      entangle(h, dom3);
      return () => ok(h.destroyDomain(dom0, dom3));
    },
  },
  {
    name: 'destroying the last mapper of a zombie',
    caller: dom0,
    prepare: (h) => {
      mapped(h, dom2, dom3);
      ok(h.destroyDomain(dom0, dom3));
      return () => ok(h.destroyDomain(dom0, dom2));
    },
  },
  {
    name: 'destroying a domain whose thread still runs',
    caller: dom0,
    prepare: (h) => {
      addDomain(h, dom4, { ownThread: true });
      entangle(h, dom4);
      return () => ok(h.destroyDomain(dom0, dom4));
    },
  },
  {
    name: 'finishing the end of a domain whose thread has ended',
    caller: dom0,
    prepare: (h) => {
      addDomain(h, dom4, { ownThread: true });
      entangle(h, dom4);
      ok(h.destroyDomain(dom0, dom4));
      return () => h.recover(dom0, dom4);
    },
  },
  {
    name: 'a call that finds the lock with a dead domain',
    caller: dom0,
    prepare: (h) => {
      mapped(h, dom1, dom2);
      connect(h, dom1, dom2);
      h.memory.words[header.lock] = dom1 + 1;
      return () => {
        ok(h.pages.release(dom0, ok(h.pages.populate(dom0, dom0, 1)), 1));
        ok(h.destroyDomain(dom0, dom1));
      };
    },
  },
  {
    name: 'repairing what another left',
    caller: dom0,
    prepare: (h) => {
      mapped(h, dom1, dom2);
      connect(h, dom1, dom2);
      return () => {
        h.recover(dom0, dom1);
        ok(h.destroyDomain(dom0, dom1));
      };
    },
  },
];

const addDomainAs = (hypervisor: Hypervisor, caller: Domid, domid: Domid): void => {
  ok(hypervisor.domains.create(caller, { domid }));
};

/** Everything that two domains do with each other, from nothing to nothing. */
export const goOn = (hypervisor: Hypervisor, a: Domid, b: Domid): void => {
  const [one, two] = connect(hypervisor, a, b);
  ok(hypervisor.eventChannels.send(a, one));
  expect(deliver(hypervisor, b)).to.include(two);
  const { ref, frame, handle } = mapped(hypervisor, b, a);
  bytesOf(hypervisor, frame)[0] = 5;
  const own = ok(hypervisor.pages.populate(b, b, 1));
  ok(hypervisor.grantCopy.copy(b, a, ref, 0, DOMID_SELF, own, 0, 1, gntcopy.sourceGref));
  expect(bytesOf(hypervisor, own)[0]).to.equal(5);
  expect(hypervisor.grantEntries.endAccess(a, ref)).to.equal(false);
  ok(hypervisor.grantMap.unmap(b, handle, frame * 4096, 0));
  expect(hypervisor.grantEntries.endAccess(a, ref)).to.equal(true);
  hypervisor.grantEntries.freeRef(a, ref);
  ok(hypervisor.pages.release(a, frame, 1));
  ok(hypervisor.pages.release(b, own, 1));
  ok(hypervisor.eventChannels.close(a, one));
  ok(hypervisor.eventChannels.close(b, two));
};

/** A machine of three guests on which calls can be made to die. */
export const stage = () => {
  const rung: Domid[] = [];
  const dead = new Set<Domid>([dom1]);
  const mortal = new Mortal(
    { bytes: 2 ** 20, domains: 10 },
    (domid) => rung.push(domid),
    (owner) => dead.has(owner),
  );
  const { hypervisor, bystander } = mortal;
  const free = bystander.frames.freeCount;
  addDomain(bystander, dom0, { privileged: true });
  for (const domid of [dom1, dom2, dom3]) addDomain(bystander, domid, { maxEventChannels: 4095, vcpus: 2 });
  return { mortal, hypervisor, bystander, rung, free, dead };
};

const all = [dom0, dom1, dom2, dom3, dom4, 5 as Domid, 6 as Domid, 7 as Domid, 8 as Domid, 9 as Domid];
/** The domains that live. */
export const living = (hypervisor: Hypervisor): readonly Domid[] =>
  all.filter((domid) => hypervisor.domains.lifeOf(domid) === 'alive');
