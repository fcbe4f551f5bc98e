import { expect } from 'chai';
import { DOMID_SELF, type Domid, type GrantRef, type Port } from '../../../core/abi/units.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import { parked } from '../../../core/hypervisor/doorbell.js';
import { gntcopy } from '../../../core/hypervisor/grant-copy.js';
import { gntmap } from '../../../core/hypervisor/grant-map.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { Random } from '../../../platform/local/random.js';
import { expectSound } from './invariants.js';
import { addDomain, connect, deliver, grant, ok } from './machine.js';
import { dom4, goOn, living, mapped, scenes, stage } from './scenes.js';

const dom5 = 5 as Domid;
const dom6 = 6 as Domid;
const dom7 = 7 as Domid;
const newcomer = 8 as Domid;
const { hostMap } = gntmap;

/** Picks where a survivor is overtaken. */
const seed = Number(process.env.SPLITRING_SEED || 1);

/** What a survivor does at the moment of a death: prepared before it, since it may be about what the dead was at. */
interface Errand {
  readonly name: string;
  readonly prepare: (hypervisor: Hypervisor, victim: Domid) => () => void;
}

/** Between two who live: all of these must succeed. */
const amongSurvivors: readonly Errand[] = [
  {
    name: 'send',
    prepare: (h) => {
      const [port, peer] = connect(h, dom5, dom6);
      return () => {
        ok(h.eventChannels.send(dom5, port));
        expect(deliver(h, dom6)).to.include(peer);
      };
    },
  },
  {
    name: 'map',
    prepare: (h) => {
      const { ref } = grant(h, dom5, dom6);
      return () => ok(h.grantMap.map(dom6, dom5, ref, hostMap));
    },
  },
  {
    name: 'unmap, and end the access',
    prepare: (h) => {
      const { ref, frame, handle } = mapped(h, dom6, dom5);
      return () => {
        ok(h.grantMap.unmap(dom6, handle, frame * 4096, 0));
        expect(h.grantEntries.endAccess(dom5, ref)).to.equal(true);
        h.grantEntries.freeRef(dom5, ref);
        ok(h.pages.release(dom5, frame, 1));
      };
    },
  },
  {
    name: 'copy',
    prepare: (h) => {
      const { ref } = grant(h, dom5, dom6);
      const own = ok(h.pages.populate(dom6, dom6, 1));
      return () => ok(h.grantCopy.copy(dom6, dom5, ref, 0, DOMID_SELF, own, 0, 8, gntcopy.sourceGref));
    },
  },
  {
    name: 'alloc_unbound and bind_interdomain',
    prepare: (h) => () => {
      connect(h, dom5, dom6);
    },
  },
  {
    name: 'close',
    prepare: (h) => {
      const [port] = connect(h, dom6, dom5);
      return () => ok(h.eventChannels.close(dom6, port));
    },
  },
];

/** With the dead: whatever is answered, nothing breaks. */
const withTheDead: readonly Errand[] = [
  {
    name: 'send to the dead',
    prepare: (h, victim) => {
      const [port] = connect(h, dom5, victim);
      return () => h.eventChannels.send(dom5, port);
    },
  },
  {
    name: 'close towards the dead',
    prepare: (h, victim) => {
      const [port] = connect(h, dom5, victim);
      return () => h.eventChannels.close(dom5, port);
    },
  },
  {
    name: 'bind to a port of the dead',
    prepare: (h, victim) => {
      const port = ok<Port>(h.eventChannels.allocUnbound(victim, victim, dom5));
      return () => h.eventChannels.bindInterdomain(dom5, victim, port);
    },
  },
  {
    name: 'map a page of the dead',
    prepare: (h, victim) => {
      const { ref } = grant(h, victim, dom5);
      return () => h.grantMap.map(dom5, victim, ref, hostMap);
    },
  },
  {
    name: 'unmap a page of the dead',
    prepare: (h, victim) => {
      const { handle, frame } = mapped(h, dom5, victim);
      return () => h.grantMap.unmap(dom5, handle, frame * 4096, 0);
    },
  },
  {
    name: 'copy from the dead to another',
    prepare: (h, victim) => {
      const [from, to] = [grant(h, victim, dom5), grant(h, dom6, dom5)];
      return () =>
        h.grantCopy.copy(dom5, victim, from.ref, 0, dom6, to.ref, 0, 8, gntcopy.sourceGref | gntcopy.destGref);
    },
  },
  {
    name: 'end an access that the dead has',
    prepare: (h, victim) => {
      const { ref } = mapped(h, victim, dom5);
      return () => {
        if (h.grantEntries.endAccess(dom5, ref)) h.grantEntries.freeRef(dom5, ref);
      };
    },
  },
  {
    name: 'release a page that the dead maps',
    prepare: (h, victim) => {
      const { frame } = mapped(h, victim, dom5);
      return () => h.pages.release(dom5, frame, 1);
    },
  },
  {
    name: 'destroy a third',
    prepare: (h, victim) => {
      connect(h, dom7, victim);
      mapped(h, dom7, victim);
      mapped(h, victim, dom7);
      return () => ok(h.destroyDomain(DOMID_XEN, dom7));
    },
  },
];

/** What is done without the lock, and so can be anywhere when another dies. */
const lockFree: readonly Errand[] = [
  ...withTheDead.slice(0, 1),
  {
    name: 'send to a survivor',
    prepare: (h) => {
      const [port] = connect(h, dom5, dom6);
      return () => ok(h.eventChannels.send(dom5, port));
    },
  },
  {
    name: 'unmask a port of the dead’s, with an event',
    prepare: (h, victim) => {
      const [port, peer] = connect(h, dom5, victim);
      h.eventChannels.mask(dom5, port);
      ok(h.eventChannels.send(victim, peer));
      return () => ok(h.eventChannels.unmask(dom5, port));
    },
  },
  {
    name: 'scan',
    prepare: (h, victim) => {
      const ports = [connect(h, victim, dom5), connect(h, dom6, dom5)] as const;
      ok(h.eventChannels.send(victim, ports[0][0]));
      ok(h.eventChannels.send(dom6, ports[1][0]));
      return () => deliver(h, dom5);
    },
  },
  {
    name: 'grant to the dead',
    prepare: (h, victim) => {
      const frame = ok(h.pages.populate(dom5, dom5, 1));
      return () => h.grantEntries.grantAccess(dom5, ok<GrantRef>(h.grantEntries.allocRef(dom5)), victim, frame, false);
    },
  },
  ...withTheDead.filter(({ name }) => name === 'end an access that the dead has'),
  {
    name: 'rest',
    prepare: (h) => () => h.doorbell.rest(dom5, parked),
  },
];

const rotated = <T>(list: readonly T[], by: number): readonly T[] => [
  ...list.slice(by % list.length),
  ...list.slice(0, by % list.length),
];

describe('those who survive a death', () => {
  const begin = () => {
    const begun = stage();
    for (const domid of [dom5, dom6, dom7]) addDomain(begun.bystander, domid);
    return begun;
  };
  /** Sees the machine go on, then end with nothing left. */
  const end = (h: Hypervisor, free: number, when: string): void => {
    goOn(h, dom5, newcomer);
    goOn(h, newcomer, dom5);
    expectSound(h, `${when}, and the others went on`);
    for (const domid of living(h)) ok(h.destroyDomain(DOMID_XEN, domid));
    h.recover(DOMID_XEN, dom4);
    expect(h.frames.freeCount, when).to.equal(free);
    expect(h.domains.slots(), when).to.deep.equal([]);
  };

  for (const scene of scenes) {
    const { name, caller } = scene;

    it(`make any call at that moment, before anybody mends anything, at every write of ${name}`, () => {
      for (let writes = 0, died = true; died; writes++) {
        const { mortal, hypervisor, bystander, free, dead } = begin();
        // The one who contends for the lock first has it mended, so each is the first in turn.
        const errands = rotated([...amongSurvivors, ...withTheDead], writes);
        const when = `died after ${writes} writes, first: ${errands[0]?.name}`;
        let call = (): void => {};
        let calls: readonly (() => void)[] = [];
        mortal.live(() => {
          calls = errands.map(({ prepare }) => prepare(bystander, caller));
          call = scene.prepare(hypervisor);
        });
        died = mortal.die(writes, call);
        dead.add(caller);
        mortal.live(() => {
          for (const errand of calls) errand();
          bystander.recover(DOMID_XEN, caller);
          expectSound(bystander, when);
          ok(bystander.destroyDomain(DOMID_XEN, caller));
          expectSound(bystander, `${when}, and was destroyed`);
          addDomain(bystander, newcomer);
          end(bystander, free, when);
        });
      }
    });

    it(`are overtaken by it within what takes no lock, at every write of ${name}`, () => {
      const random = new Random(seed + caller + name.length);
      for (let writes = 0, died = true; died; writes++) {
        const { mortal, hypervisor, bystander, free, dead } = begin();
        const errand = lockFree[writes % lockFree.length] as Errand;
        const at = random.below(16);
        const when = `died after ${writes} writes, at access ${at} of: ${errand.name} (seed ${seed})`;
        let call = (): void => {};
        let run = (): void => {};
        mortal.live(() => {
          run = errand.prepare(hypervisor, caller);
          call = scene.prepare(hypervisor);
        });
        const die = (): void => {
          died = mortal.die(writes, call);
          dead.add(caller);
          mortal.live(() => {
            bystander.recover(DOMID_XEN, caller);
            ok(bystander.destroyDomain(DOMID_XEN, caller));
            addDomain(bystander, newcomer, { abi: writes % 2 === 0 ? 'x86_32-abi' : 'x86_64-abi' });
          });
        };
        if (!mortal.overtake(at, die, run)) die();
        mortal.live(() => {
          expectSound(bystander, when);
          end(bystander, free, when);
        });
      }
    });
  }
});
