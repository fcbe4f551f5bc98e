import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import type { Domains } from './domains.js';
import type { EventChannelOps } from './event-channels.js';
import type { GrantEntries } from './grant-entries.js';
import type { GrantMap } from './grant-map.js';
import { control, life } from './layout.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';
import type { Pages } from './pages.js';
import type { Ports } from './ports.js';
import type { Virqs } from './virqs.js';

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
    this.#pages = pages;
    this.#virqs = virqs;
  }

  /**
   * Destroys a domain: its ports close, so that peers wait for it again; its mappings end; its grants are void; its pages are
   * freed, but for those that others map, with which it stays a zombie until the last is let go. Where a thread of its own may
   * still run, its mappings and pages last, and their granters see them in use, until {@link Audit.recover}. -EPERM unless the
   * caller is privileged, -EINVAL itself, -ESRCH.
   */
  destroy(caller: Domid, domid: Domid): number {
    if (!this.#domains.isPrivileged(caller)) return -errno.EPERM;
    if (caller === domid) return -errno.EINVAL;
    this.#lock.acquire(caller);
    const slot = this.#memory.slotOf(domid);
    if (slot >= 0 && this.#domains.lifeIn(slot) !== life.zombie) this.tearDown(slot);
    this.#lock.release();
    // Others may have shared an interrupt with the domain, and wait for it no longer.
    this.#events.raiseDue();
    return slot < 0 ? -errno.ESRCH : 0;
  }

  /** Does the work of {@link destroy}, or the rest of it: where a caller died midway, or a thread has ended. The lock is held. */
  tearDown(slot: number): void {
    const words = this.#words;
    const at = this.#memory.control(slot);
    Atomics.store(words, at + control.life, life.dying);
    for (let port = 1; port < this.#ports.valid(slot); port++) this.#events.closeIn(slot, port, false);
    this.#virqs.disown(this.#domains.domid(slot));
    // A thread cannot be paused: what it has views of must not become another's as long as it may write there.
    const threadRuns = this.#domains.hasThread(slot);
    this.#entries.voidAll(slot, threadRuns);
    if (!threadRuns) {
      this.#map.releaseMappings(slot);
      this.#pages.releaseAll(slot);
    }
    if (words[at + control.pages] === 0 && !threadRuns) this.#domains.vacate(slot);
    else Atomics.store(words, at + control.life, life.zombie);
  }
}
