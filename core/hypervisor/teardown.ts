import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import { virq } from '../abi/virq.js';
import type { Domains } from './domains.js';
import type { EventChannelOps } from './event-channels.js';
import type { GrantEntries } from './grant-entries.js';
import type { GrantMap } from './grant-map.js';
import { control, life } from './layout.js';
import type { Lock } from './lock.js';
import type { Maptrack } from './maptrack.js';
import type { MachineMemory } from './memory.js';
import type { Pages } from './pages.js';
import type { Ports } from './ports.js';
import type { Virqs } from './virqs.js';

/** How far a domain's end has come: the step, and where in it. */
interface Progress {
  step: number;
  next: number;
}

/** What is done of a step before others get the lock: some tens of microseconds' work. */
const CHUNK = { ports: 256, grants: 2048, mappings: 512, frames: 8192 } as const;

/** The end of a domain (domain.c `domain_kill`). */
export class Teardown {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #lock: Lock;
  readonly #domains: Domains;
  readonly #ports: Ports;
  readonly #events: EventChannelOps;
  readonly #entries: GrantEntries;
  readonly #map: GrantMap;
  readonly #maptrack: Maptrack;
  readonly #pages: Pages;
  readonly #virqs: Virqs;

  constructor(
    memory: MachineMemory,
    lock: Lock,
    domains: Domains,
    ports: Ports,
    events: EventChannelOps,
    entries: GrantEntries,
    map: GrantMap,
    maptrack: Maptrack,
    pages: Pages,
    virqs: Virqs,
  ) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#lock = lock;
    this.#domains = domains;
    this.#ports = ports;
    this.#events = events;
    this.#entries = entries;
    this.#map = map;
    this.#maptrack = maptrack;
    this.#pages = pages;
    this.#virqs = virqs;
  }

  /**
   * Destroys a domain: its ports close, so that peers wait for it again; its mappings end; its grants are void; its pages are
   * freed, but for those that others map, with which it stays a zombie until the last is let go. Where a thread of its own may
   * still run, its mappings and pages last, and their granters see them in use, until {@link Audit.recover}. Others' calls come
   * between the parts of a long end (XSA-380): to them the domain is dying (XEN_DOMCTL_destroydomain). In the end VIRQ_DOM_EXC tells who
   * owns that. -EPERM unless the caller is privileged,
   * -EINVAL itself, -ESRCH.
   */
  destroy(caller: Domid, domid: Domid): number {
    if (!this.#domains.isPrivileged(caller)) return -errno.EPERM;
    if (caller === domid) return -errno.EINVAL;
    this.#lock.acquire(caller);
    const slot = this.#memory.slotOf(domid);
    const ends = slot >= 0 && this.#domains.lifeIn(slot) !== life.zombie;
    if (ends) {
      const incarnation = this.#words[this.#memory.control(slot) + control.incarnation];
      const progress = this.#begin(slot);
      while (this.#advance(slot, progress)) {
        this.#lock.release();
        this.#lock.acquire(caller);
        // Who has meanwhile recovered another's death has brought this one to its end, too.
        const now = this.#words[this.#memory.control(slot) + control.incarnation];
        if (this.#domains.lifeIn(slot) !== life.dying || now !== incarnation) break;
      }
    }
    this.#lock.release();
    // Others may have shared an interrupt with the domain, and wait for it no longer.
    this.#events.raiseDue();
    if (ends) this.announce();
    return slot < 0 ? -errno.ESRCH : 0;
  }

  /** Tells who owns VIRQ_DOM_EXC that a domain is no more (`domain_kill`). The lock is free. */
  announce(): void {
    this.#virqs.raiseGlobal(virq.domExc);
  }

  /** Does the work of {@link destroy}, or the rest of it: where a caller died midway, or a thread has ended. The lock is held. */
  tearDown(slot: number): void {
    const progress = this.#begin(slot);
    while (this.#advance(slot, progress));
  }

  #begin(slot: number): Progress {
    Atomics.store(this.#words, this.#memory.control(slot) + control.life, life.dying);
    return { step: 0, next: 0 };
  }

  /** Does one part more; false when it was the last. Each part may be done again. The lock is held. */
  #advance(slot: number, progress: Progress): boolean {
    // A thread cannot be paused: what it has views of must not become another's as long as it may write there.
    const threadRuns = this.#domains.hasThread(slot);
    const from = progress.next;
    switch (progress.step) {
      case 0: {
        const end = Math.min(from + CHUNK.ports, this.#ports.valid(slot));
        for (let port = Math.max(from, 1); port < end; port++) this.#events.closeIn(slot, port, false);
        return this.#proceed(progress, CHUNK.ports, this.#ports.valid(slot));
      }
      case 1:
        this.#virqs.disown(this.#domains.domid(slot));
        this.#entries.voidSome(slot, from, from + CHUNK.grants, threadRuns);
        return this.#proceed(progress, CHUNK.grants, this.#entries.count(slot));
      case 2:
        if (!threadRuns) this.#map.releaseSome(slot, from, from + CHUNK.mappings);
        return this.#proceed(progress, CHUNK.mappings, threadRuns ? 0 : this.#maptrack.count(slot));
      case 3:
        if (!threadRuns) this.#pages.releaseSome(slot, from, from + CHUNK.frames);
        return this.#proceed(progress, CHUNK.frames, threadRuns ? 0 : this.#memory.frames);
      default: {
        const at = this.#memory.control(slot);
        if (this.#words[at + control.pages] === 0 && !threadRuns) this.#domains.vacate(slot);
        else Atomics.store(this.#words, at + control.life, life.zombie);
        return false;
      }
    }
  }

  #proceed(progress: Progress, chunk: number, end: number): true {
    progress.next += chunk;
    if (progress.next >= end) {
      progress.step++;
      progress.next = 0;
    }
    return true;
  }
}
