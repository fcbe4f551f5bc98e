import { expect } from 'chai';
import { DOMID_SELF, type Domid, type GrantRef, type Port } from '../../../core/abi/units.js';
import { DOMID_XEN, type DomainOptions } from '../../../core/hypervisor/domains.js';
import { blocked, parked } from '../../../core/hypervisor/doorbell.js';
import type { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { control, header, PAGE_WORDS, SLOT_PAGES, slotPage } from '../../../core/hypervisor/layout.js';
import { expectSound } from './invariants.js';
import { addDomain, connect, deliver, dom0, dom1, dom2, dom3, grant, ok } from './machine.js';
import { Mortal } from './mortal.js';
import { preempt } from './preempt.js';
import { mapped } from './scenes.js';

const heir = 8 as Domid;
const abis = ['x86_64-abi', 'x86_32-abi', 'arm-abi'] as const satisfies readonly DomainOptions['abi'][];

const begin = (guests: Omit<DomainOptions, 'domid'> = {}) => {
  const rung: Domid[] = [];
  const mortal = new Mortal({ bytes: 2 ** 20, domains: 5 }, (domid) => rung.push(domid));
  const { hypervisor, bystander } = mortal;
  addDomain(bystander, dom0, { privileged: true });
  addDomain(bystander, dom1, { maxEventChannels: 4095, ...guests });
  addDomain(bystander, dom2, { maxEventChannels: 4095 });
  // No slot but those of the dead is free, so that it is used again.
  for (const domid of [dom3, 4 as Domid]) addDomain(bystander, domid);
  return { mortal, hypervisor, bystander, rung };
};

/** Gives another domain whatever is free: a slot, if there is one, and all frames. */
const inherit = (h: Hypervisor, abi: DomainOptions['abi']): Domid => {
  const born = h.domains.create(DOMID_XEN, { domid: heir, ...(abi && { abi }) }) === 0;
  const domid = born ? heir : dom3;
  while (h.pages.populate(domid, DOMID_SELF, 1) > 0);
  return domid;
};

/** The words that have changed since, but for those that `mayChange`. */
const changed = (h: Hypervisor, before: Int32Array, mayChange: (word: number) => boolean): readonly string[] => {
  const { words } = h.memory;
  const found: string[] = [];
  for (let i = 0; i < words.length; i++) {
    if (words[i] !== before[i] && !mayChange(i)) found.push(`word ${i}: ${before[i]} became ${words[i]}`);
  }
  return found;
};

/** What raising an event may touch in a slot: PENDING, selectors, the upcall, the doorbell; and the page of the other ABI. */
const hints = (h: Hypervisor, slot: number): ((word: number) => boolean) => {
  const at = h.memory.control(slot);
  const page = h.sharedInfo.at(slot);
  const arm = at + slotPage.sharedInfoArm - PAGE_WORDS;
  const areas = [
    [at + slotPage.sharedInfo, PAGE_WORDS],
    [at + slotPage.sharedInfo32, PAGE_WORDS],
    [arm, 2 * PAGE_WORDS],
  ] as const;
  const others = areas.filter(([first, words]) => page < first || page >= first + words);
  const pending = h.sharedInfo.isAbi32(slot) ? 32 : 128;
  return (word) =>
    word === at + control.state ||
    word === at + control.wake ||
    (word >= page && word < page + 4) ||
    (word >= page + 512 && word < page + 512 + pending) ||
    others.some(([first, words]) => word >= first && word < first + words);
};

describe('what takes no lock', () => {
  for (const before of abis) {
    for (const after of abis) {
      it(`touches no more than hints of who gets a slot next: send, ${before} then ${after}`, () => {
        let at = 0;
        for (let overtaken = true; overtaken; at++) {
          const { mortal, hypervisor, bystander, rung } = begin({ abi: before });
          // A high port: its bit of PENDING lies where the other ABI has its mask.
          while (ok<Port>(bystander.eventChannels.allocUnbound(dom1, dom1, dom2)) < 1000);
          if (before !== 'x86_32-abi') while (ok(bystander.eventChannels.allocUnbound(dom1, dom1, dom2)) < 1500);
          const [, port] = connect(bystander, dom1, dom2);
          let image = new Int32Array();
          overtaken = mortal.overtake(
            at,
            () => {
              ok(bystander.destroyDomain(dom0, dom1));
              expect(inherit(bystander, after)).to.equal(heir);
              bystander.doorbell.rest(heir, parked);
              image = bystander.memory.words.slice();
              rung.length = 0;
            },
            () => ok(hypervisor.eventChannels.send(dom2, port)),
          );
          if (!overtaken) break;
          const slot = bystander.memory.slotOf(heir);
          const wrong = changed(bystander, image, hints(bystander, slot));
          expect(wrong, `overtaken at access ${at}`).to.deep.equal([]);
          expectSound(bystander, `overtaken at access ${at}`);
          const sleeps = bystander.memory.words[bystander.memory.control(slot) + control.state] === parked;
          const knows = sleeps ? !bystander.doorbell.hasUpcall(heir) : rung.includes(heir);
          expect(knows, `the new domain is not left asleep, overtaken at access ${at}`).to.equal(true);
        }
        expect(at).to.be.above(8);
      });
    }
  }

  /** What a domain's thread may be at when it is destroyed. */
  const works: Readonly<Record<string, (h: Hypervisor) => (on: Hypervisor) => unknown>> = {
    send: (h) => {
      const [, port] = connect(h, dom2, dom1);
      return (on) => on.eventChannels.send(dom1, port);
    },
    'unmask and mask': (h) => {
      const [port, theirs] = connect(h, dom1, dom2);
      h.eventChannels.mask(dom1, port);
      ok(h.eventChannels.send(dom2, theirs));
      return (on) => {
        on.eventChannels.unmask(dom1, port);
        on.eventChannels.mask(dom1, port);
        on.eventChannels.maskAll(dom1);
      };
    },
    'the scan for events': (h) => {
      for (let i = 0; i < 3; i++) ok(h.eventChannels.send(dom2, connect(h, dom1, dom2)[1]));
      return (on) => deliver(on, dom1, 2);
    },
    'going to rest, and waking up': () => (on) => {
      on.doorbell.rest(dom1, parked);
      on.doorbell.wake(dom1);
      on.doorbell.rest(dom1, blocked);
      on.doorbell.wait(dom1, on.doorbell.wakes(dom1), 0);
    },
    'granting and revoking': (h) => {
      const frame = ok(h.pages.populate(dom1, dom1, 1));
      return (on) => {
        const ref = on.grantEntries.allocRef(dom1);
        if (ref < 0) return;
        on.grantEntries.grantAccess(dom1, ref as GrantRef, dom2, frame, false);
        on.grantEntries.isInUse(dom1, ref as GrantRef);
        if (on.grantEntries.endAccess(dom1, ref as GrantRef)) on.grantEntries.freeRef(dom1, ref as GrantRef);
      };
    },
    'revoking what was granted': (h) => {
      const { ref } = grant(h, dom1, dom2);
      return (on) => {
        if (on.grantEntries.endAccess(dom1, ref)) on.grantEntries.freeRef(dom1, ref);
      };
    },
    'writing to own pages, and to others’ through views': (h) => {
      const own = grant(h, dom1, dom2).frame;
      const { frame } = mapped(h, dom1, dom2);
      return (on) => {
        on.memory.words[own * PAGE_WORDS] = 7;
        on.memory.words[frame * PAGE_WORDS] = 7;
      };
    },
  };

  for (const [name, prepare] of Object.entries(works)) {
    it(`touches nothing of anybody else’s, when its domain is destroyed with its thread at: ${name}`, () => {
      let at = 0;
      for (let overtaken = true; overtaken; at++) {
        const { mortal, hypervisor, bystander } = begin({ ownThread: true });
        const work = prepare(bystander);
        const slot = bystander.memory.slotOf(dom1);
        const peers = hints(bystander, bystander.memory.slotOf(dom2));
        let image = new Int32Array();
        overtaken = mortal.overtake(
          at,
          () => {
            ok(bystander.destroyDomain(dom0, dom1));
            expect(inherit(bystander, 'x86_64-abi'), 'the slot is kept').to.equal(dom3);
            image = bystander.memory.words.slice();
          },
          () => work(hypervisor),
        );
        if (!overtaken) break;
        const own = new Set<number>();
        bystander.frames.each((frame, owner) => {
          if (owner === dom1) own.add(frame);
        });
        bystander.frames.each((frame, owner) => {
          if (owner === dom2 && bystander.frames.mappings(frame) > 0) own.add(frame);
        });
        const at0 = bystander.memory.control(slot);
        const mayChange = (word: number): boolean =>
          own.has(Math.floor(word / PAGE_WORDS)) ||
          (word >= at0 && word < at0 + SLOT_PAGES * PAGE_WORDS) ||
          (name === 'send' && peers(word));
        expect(changed(bystander, image, mayChange), `overtaken at access ${at}`).to.deep.equal([]);
        expect(bystander.domains.lifeOf(dom1)).to.equal('zombie');
        bystander.recover(dom0, dom1);
        expectSound(bystander, `overtaken at access ${at}`);
        expect(bystander.domains.lifeOf(dom1)).to.equal('none');
        addDomain(bystander, dom1);
      }
      expect(at).to.be.above(1);
    });
  }

  it('includes no zeroing of another’s new pages: they may be somebody else’s by then', () => {
    for (let at = 0; ; at++) {
      const { bystander } = begin();
      const { words } = bystander.memory;
      let free = 0;
      const destroy = (): void => {
        if (words[header.lock] !== 0) return;
        ok(bystander.destroyDomain(DOMID_XEN, dom1));
        for (let frame = bystander.pages.populate(dom2, dom2, 1); frame > 0; free++) {
          words.fill(9, frame * PAGE_WORDS, (frame + 1) * PAGE_WORDS);
          frame = bystander.pages.populate(dom2, dom2, 1);
        }
      };
      let frame = 0;
      const overtaken = preempt(at, destroy, () => {
        frame = bystander.pages.populate(dom0, dom1, 1);
      });
      if (!overtaken) break;
      if (free === 0 || frame < 0) continue;
      expect(bystander.frames.isPage(frame, dom2), 'the page has become another’s').to.equal(true);
      expect(words[frame * PAGE_WORDS], `overtaken at moment ${at}`).to.equal(9);
    }
  });
});
