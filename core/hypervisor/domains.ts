import { errno } from '../abi/errno.js';
import type { Domid } from '../abi/units.js';
import type { Frames } from './frames.js';
import { type GrantEntries, RESERVED_REFS } from './grant-entries.js';
import {
  control,
  domainFlag,
  GRANT_FRAMES_LIMIT,
  header,
  life,
  MAPTRACK_FRAMES_LIMIT,
  MAX_VCPUS,
  PAGE_WORDS,
  SLOT_PAGES,
  slotPage,
} from './layout.js';
import type { Lock } from './lock.js';
import { type MachineMemory, namesDomain } from './memory.js';
import type { Ports } from './ports.js';

/** The machine itself as a caller, outside of all domains (xen.h `DOMID_XEN`). */
export const DOMID_XEN = 0x7ff2 as Domid;

/** What a domain is created with (domctl.h `xen_domctl_createdomain`). */
export interface DomainOptions {
  readonly domid: Domid;
  /** Whether it may create and destroy domains, and act on others' tables. Default false. */
  readonly privileged?: boolean;
  /** Which layout of shared_info its kernel uses. Default x86_64-abi. */
  readonly abi?: 'x86_64-abi' | 'x86_32-abi' | 'arm-abi';
  /** Virtual processors, 1 … 32. Default 1. */
  readonly vcpus?: number;
  /** The highest port number; the ABI may allow less. Default 1023. */
  readonly maxEventChannels?: number;
  /** Frames to which the grant table may grow, 1 … 64. Default 64. */
  readonly maxGrantFrames?: number;
  /** Frames of mappings, 256 mappings in each, 0 … 1024. Default 1024. */
  readonly maxMaptrackFrames?: number;
  /**
   * Whether another thread than the toolstack's makes its calls. Such a domain, when it is destroyed, keeps its slot, its pages
   * and what it maps until {@link Hypervisor.recover} is told that the thread is gone: Xen pauses a domain before it takes its
   * memory away, but a thread goes on writing wherever it has a view. Default false.
   */
  readonly ownThread?: boolean;
}

/** What {@link Domains.lifeOf} tells of a domain. */
export type DomainLife = 'none' | 'alive' | 'dying' | 'zombie';

const limit = (what: string, value: number, min: number, max: number): number => {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${what} must be a whole number from ${min} to ${max}, not ${value}`);
  }
  return value;
};

/** Which domains there are. A domain has a slot from its creation until its thread is gone and the last of its pages let go. */
export class Domains {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #lock: Lock;
  readonly #frames: Frames;
  readonly #ports: Ports;
  readonly #grants: GrantEntries;
  readonly #begin: (slot: number) => void;

  /** @param begin readies the vCPUs and the time of a slot whose words are set; the lock is held */
  constructor(
    memory: MachineMemory,
    lock: Lock,
    frames: Frames,
    ports: Ports,
    grants: GrantEntries,
    begin: (slot: number) => void,
  ) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#lock = lock;
    this.#frames = frames;
    this.#ports = ports;
    this.#grants = grants;
    this.#begin = begin;
  }

  /**
   * Creates a domain without pages; its tables are empty (XEN_DOMCTL_createdomain). -EPERM unless the caller is privileged,
   * -EINVAL for a domid that names no domain, -EEXIST for one that is taken (also by a zombie), -ENOMEM when the machine has no
   * slot or no frame left.
   * @throws RangeError for a limit that cannot be
   */
  create(caller: Domid, options: DomainOptions): number {
    const flags =
      (options.privileged ? domainFlag.privileged : 0) |
      (options.abi === 'x86_32-abi' ? domainFlag.abi32 : 0) |
      (options.abi === 'arm-abi' ? domainFlag.arm : 0) |
      (options.ownThread ? domainFlag.ownThread : 0);
    const vcpus = limit('vcpus', options.vcpus ?? 1, 1, MAX_VCPUS);
    const maxPort = limit('maxEventChannels', options.maxEventChannels ?? 1023, 1, 131071);
    const maxGrantFrames = limit('maxGrantFrames', options.maxGrantFrames ?? GRANT_FRAMES_LIMIT, 1, GRANT_FRAMES_LIMIT);
    const maxMaptrackFrames = limit(
      'maxMaptrackFrames',
      options.maxMaptrackFrames ?? MAPTRACK_FRAMES_LIMIT,
      0,
      MAPTRACK_FRAMES_LIMIT,
    );
    this.#lock.acquire(caller);
    const slot = this.#reserve(caller, options.domid);
    let result = slot;
    if (slot >= 0) {
      const words = this.#words;
      const at = this.#memory.control(slot);
      words[at + control.flags] = flags;
      words[at + control.vcpus] = vcpus;
      words[at + control.maxPort] = maxPort;
      words[at + control.maxGrantFrames] = maxGrantFrames;
      words[at + control.maxMaptrackFrames] = maxMaptrackFrames;
      words[at + slotPage.refMap] = 2 ** RESERVED_REFS - 1;
      this.#begin(slot);
      if (this.#ports.init(slot) && this.#grants.grow(slot, 1)) {
        Atomics.store(words, at + control.life, life.alive);
        Atomics.store(words, this.#memory.domids + options.domid, slot + 1);
        result = 0;
      } else {
        this.vacate(slot);
        result = -errno.ENOMEM;
      }
    }
    this.#lock.release();
    return result;
  }

  /** How a domain is: a zombie has been destroyed, and others still map pages of it, or its own thread has not ended. */
  lifeOf(domid: Domid): DomainLife {
    const slot = this.#memory.slotOf(domid);
    const now = slot < 0 ? life.none : this.lifeIn(slot);
    return now === life.alive ? 'alive' : now === life.dying ? 'dying' : now === life.zombie ? 'zombie' : 'none';
  }

  /** A number that no other domain has or had, of the domain that now lives under this domid; 0 where none does. */
  incarnation(domid: Domid): number {
    const slot = this.#memory.callerOf(domid);
    return slot < 0 ? 0 : (this.#words[this.#memory.control(slot) + control.incarnation] as number);
  }

  /** The domid in a slot. */
  domid(slot: number): Domid {
    return this.#words[this.#memory.control(slot) + control.domid] as Domid;
  }

  isPrivileged(domid: Domid): boolean {
    if (domid === DOMID_XEN) return true;
    const slot = this.#memory.callerOf(domid);
    return (
      slot >= 0 && ((this.#words[this.#memory.control(slot) + control.flags] as number) & domainFlag.privileged) !== 0
    );
  }

  /** The slots that hold a domain in whatever life. */
  slots(): readonly number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.#memory.slots; slot++) if (this.lifeIn(slot) !== life.none) slots.push(slot);
    return slots;
  }

  lifeIn(slot: number): number {
    return Atomics.load(this.#words, this.#memory.control(slot) + control.life);
  }

  /** Whether a thread of its own may still run in a slot's domain. */
  hasThread(slot: number): boolean {
    return ((this.#words[this.#memory.control(slot) + control.flags] as number) & domainFlag.ownThread) !== 0;
  }

  /** Notes that no thread of a domain runs any more. The lock is held. */
  threadEnded(domid: Domid): void {
    const slot = this.#memory.slotOf(domid);
    if (slot >= 0) Atomics.and(this.#words, this.#memory.control(slot) + control.flags, ~domainFlag.ownThread);
  }

  /** One page less in a slot; a zombie goes with its last. The lock is held. */
  pageFreed(slot: number): void {
    const at = this.#memory.control(slot);
    const pages = (this.#words[at + control.pages] as number) - 1;
    this.#words[at + control.pages] = pages;
    if (pages === 0 && this.lifeIn(slot) === life.zombie && !this.hasThread(slot)) this.vacate(slot);
  }

  /**
   * Frees all that a slot without pages holds, then the slot. The lock is held. Death midway leaves it dying, and this can be
   * done again.
   */
  vacate(slot: number): void {
    const at = this.#memory.control(slot);
    const domid = this.domid(slot);
    Atomics.store(this.#words, at + control.life, life.dying);
    if (this.#memory.slotOf(domid) === slot) Atomics.store(this.#words, this.#memory.domids + domid, 0);
    this.#frames.each((frame, owner) => {
      if (owner === domid) this.#frames.free(frame);
    });
    Atomics.store(this.#words, at + control.life, life.none);
  }

  #reserve(caller: Domid, domid: Domid): number {
    if (!this.isPrivileged(caller)) return -errno.EPERM;
    if (!namesDomain(domid)) return -errno.EINVAL;
    if (this.#memory.slotOf(domid) >= 0) return -errno.EEXIST;
    const words = this.#words;
    for (let slot = 0; slot < this.#memory.slots; slot++) {
      if (this.lifeIn(slot) !== life.none) continue;
      const at = this.#memory.control(slot);
      this.#memory.zero(this.#memory.firstSlot / PAGE_WORDS + slot * SLOT_PAGES, SLOT_PAGES);
      words[at + control.domid] = domid;
      const incarnation = (words[header.created] as number) + 1;
      words[header.created] = incarnation;
      words[at + control.incarnation] = incarnation;
      Atomics.store(words, at + control.life, life.building);
      return slot;
    }
    return -errno.ENOMEM;
  }
}
