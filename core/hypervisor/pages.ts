import { errno } from '../abi/errno.js';
import { DOMID_SELF, type Domid } from '../abi/units.js';
import type { Domains } from './domains.js';
import { type FrameKind, type Frames, frameKind } from './frames.js';
import { control, life } from './layout.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';

/** A domain's own pages (memory.h `XENMEM_populate_physmap`, `XENMEM_decrease_reservation`). */
export class Pages {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #lock: Lock;
  readonly #domains: Domains;
  readonly #frames: Frames;

  constructor(memory: MachineMemory, lock: Lock, domains: Domains, frames: Frames) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#lock = lock;
    this.#domains = domains;
    this.#frames = frames;
  }

  /**
   * Gives `dom` zeroed pages side by side; the first one's frame. -ESRCH, -EPERM another's `dom` without privilege, -EINVAL it is
   * dying, -ENOMEM no such run is free. @throws RangeError unless `count` is a whole number above 0
   */
  populate(caller: Domid, dom: Domid, count: number): number {
    if (!Number.isInteger(count) || count < 1) throw new RangeError(`a domain takes 1 page or more, not ${count}`);
    const domid = dom === DOMID_SELF ? caller : dom;
    this.#lock.acquire(caller);
    const slot = this.#memory.slotOf(domid);
    let frame: number;
    if (slot < 0) frame = -errno.ESRCH;
    else if (caller !== domid && !this.#domains.isPrivileged(caller)) frame = -errno.EPERM;
    else if (this.#domains.lifeIn(slot) !== life.alive) frame = -errno.EINVAL;
    else frame = this.#frames.take(domid, frameKind.page, count);
    if (frame > 0) {
      const pages = this.#memory.control(slot) + control.pages;
      this.#words[pages] = (this.#words[pages] as number) + count;
    }
    // Another's pages are zeroed under the lock: without it that domain could be destroyed meanwhile, and they be somebody else's.
    if (frame > 0 && caller !== domid) this.#memory.zero(frame, count);
    this.#lock.release();
    // Nobody else knows one's own frames yet, and they stay one's own as long as one's thread runs.
    if (frame > 0 && caller === domid) this.#memory.zero(frame, count);
    return frame;
  }

  /** Takes pages away from their domain; one that others map is free when the last of them lets go. -ESRCH, -EINVAL not its pages. */
  release(caller: Domid, first: number, count: number): number {
    this.#lock.acquire(caller);
    const slot = this.#memory.callerOf(caller);
    const result = slot < 0 ? -errno.ESRCH : this.#release(slot, caller, first, count);
    this.#lock.release();
    return result;
  }

  /** Releases every page of a slot among frames `from` to before `to`; the lock is held. */
  releaseSome(slot: number, from: number, to: number): void {
    const domid = this.#domains.domid(slot);
    const release = (frame: number, owner: Domid, kind: FrameKind): void => {
      if (owner === domid && kind === frameKind.page && this.#frames.release(frame, domid)) this.#uncount(slot);
    };
    this.#frames.each(release, Math.max(from, this.#memory.firstFrame), Math.min(to, this.#memory.frames));
  }

  #release(slot: number, domid: Domid, first: number, count: number): number {
    for (let frame = first; frame < first + count; frame++) {
      if (!this.#frames.isPage(frame, domid)) return -errno.EINVAL;
    }
    for (let frame = first; frame < first + count; frame++) {
      if (this.#frames.release(frame, domid)) this.#uncount(slot);
    }
    return 0;
  }

  #uncount(slot: number): void {
    const pages = this.#memory.control(slot) + control.pages;
    this.#words[pages] = (this.#words[pages] as number) - 1;
  }
}
