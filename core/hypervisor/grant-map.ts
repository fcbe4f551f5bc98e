import { gntst } from '../abi/gntst.js';
import { type Domid, type GrantRef, PAGE_SIZE } from '../abi/units.js';
import type { Domains } from './domains.js';
import type { Frames } from './frames.js';
import { type GrantPins, pinOf } from './grant-pins.js';
import type { Lock } from './lock.js';
import { flagsOf, granterOf, type Maptrack, mapping } from './maptrack.js';
import type { MachineMemory } from './memory.js';

/** Flags of a mapping (grant_table.h `GNTMAP_*`). */
export const gntmap = { deviceMap: 1, hostMap: 2, readonly: 4, applicationMap: 8, containsPte: 16 } as const;

/** A number that names a mapping of its domain (grant_table.h `grant_handle_t`). */
export type GrantHandle = number;

/** One element of GNTTABOP_map_grant_ref (grant_table.h `gnttab_map_grant_ref`). */
export interface MapGrantRef {
  readonly dom: Domid;
  readonly ref: GrantRef;
  readonly flags: number;
  /** Out: a status of `gntst`. */
  status?: number;
  /** Out, when okay. */
  handle?: GrantHandle;
  /** Out, when okay: the page's address in bytes. All memory is one, so it is the host's address too. */
  devBusAddr?: number;
}

/** One element of GNTTABOP_unmap_grant_ref (grant_table.h `gnttab_unmap_grant_ref`). Addresses are bytes; 0 leaves that half mapped. */
export interface UnmapGrantRef {
  readonly handle: GrantHandle;
  readonly hostAddr: number;
  readonly devBusAddr: number;
  /** Out: a status of `gntst`. */
  status?: number;
}

/** One element of GNTTABOP_unmap_and_replace (grant_table.h `gnttab_unmap_and_replace`). Addresses are bytes. */
export interface UnmapAndReplace {
  readonly handle: GrantHandle;
  readonly hostAddr: number;
  /** What comes into the page's place; 0 for nothing. */
  readonly newAddr: number;
  /** Out: a status of `gntst`. */
  status?: number;
}

const HALVES = gntmap.deviceMap | gntmap.hostMap;

/**
 * Mapping and unmapping of granted pages. All memory is one, so a mapping changes no page table: it is the right to use a frame,
 * with everything that Xen checks before and counts after. Our domains are paravirtualized ones: both halves may be mapped.
 */
export class GrantMap {
  readonly #memory: MachineMemory;
  readonly #words: Int32Array;
  readonly #lock: Lock;
  readonly #domains: Domains;
  readonly #frames: Frames;
  readonly #pins: GrantPins;
  readonly #maptrack: Maptrack;

  constructor(
    memory: MachineMemory,
    lock: Lock,
    domains: Domains,
    frames: Frames,
    pins: GrantPins,
    maptrack: Maptrack,
  ) {
    this.#memory = memory;
    this.#words = memory.words;
    this.#lock = lock;
    this.#domains = domains;
    this.#frames = frames;
    this.#pins = pins;
    this.#maptrack = maptrack;
  }

  /** Maps each element for itself: one that fails stops no other (GNTTABOP_map_grant_ref). */
  mapGrantRefs(caller: Domid, elements: readonly MapGrantRef[]): void {
    for (const element of elements) {
      const handle = this.map(caller, element.dom, element.ref, element.flags);
      element.status = handle < 0 ? handle : gntst.okay;
      if (handle < 0) continue;
      element.handle = handle;
      element.devBusAddr = this.frameOf(caller, handle) * PAGE_SIZE;
    }
  }

  /** Unmaps each element for itself (GNTTABOP_unmap_grant_ref). */
  unmapGrantRefs(caller: Domid, elements: readonly UnmapGrantRef[]): void {
    for (const element of elements) {
      element.status = this.unmap(caller, element.handle, element.hostAddr, element.devBusAddr);
    }
  }

  /** Unmaps the host half of each element for itself (GNTTABOP_unmap_and_replace). */
  unmapAndReplaceRefs(caller: Domid, elements: readonly UnmapAndReplace[]): void {
    for (const element of elements) {
      element.status = this.unmapAndReplace(caller, element.handle, element.hostAddr, element.newAddr);
    }
  }

  /**
   * Maps one granted page: its handle, or bad_gntref (no half asked for), general_error (needs page tables), bad_domain,
   * no_space, bad_gntref, general_error (revoked, another's, write to read-only, used too often), bad_page, checked in this order.
   */
  map(caller: Domid, dom: Domid, ref: GrantRef, flags: number): GrantHandle {
    if ((flags & HALVES) === 0) return gntst.bad_gntref;
    if ((flags & (gntmap.applicationMap | gntmap.containsPte)) !== 0) return gntst.general_error;
    this.#lock.acquire(caller);
    const result = this.#map(caller, dom, ref, flags);
    this.#lock.release();
    return result;
  }

  /**
   * Unmaps the halves of a mapping whose address is given: bad_handle, bad_dev_addr, general_error (another page's host address).
   * An address of a half that is not mapped is ignored.
   */
  unmap(caller: Domid, handle: GrantHandle, hostAddr: number, devBusAddr: number): number {
    this.#lock.acquire(caller);
    const slot = this.#memory.callerOf(caller);
    const status = slot < 0 ? gntst.bad_handle : this.#unmap(slot, handle, hostAddr, devBusAddr, 0);
    this.#lock.release();
    return status;
  }

  /**
   * Unmaps the host half of a mapping if its address is given: bad_handle; general_error for a `newAddr`, which without page tables
   * nothing can be put in place of (as `replace_grant_p2m_mapping`), and for another page's host address.
   */
  unmapAndReplace(caller: Domid, handle: GrantHandle, hostAddr: number, newAddr: number): number {
    this.#lock.acquire(caller);
    const slot = this.#memory.callerOf(caller);
    const status = slot < 0 ? gntst.bad_handle : this.#unmap(slot, handle, hostAddr, 0, newAddr);
    this.#lock.release();
    return status;
  }

  /** The frame that a caller's handle maps, or 0. */
  frameOf(caller: Domid, handle: GrantHandle): number {
    const slot = this.#memory.slotOf(caller);
    const entry = slot < 0 ? 0 : this.#maptrack.find(slot, handle);
    return entry === 0 ? 0 : (this.#words[entry + mapping.frame] as number);
  }

  /** Ends a slot's mappings from handle `from` to before `to`; the lock is held (`gnttab_release_mappings`). */
  releaseSome(slot: number, from: number, to: number): void {
    const end = Math.min(to, this.#maptrack.count(slot));
    for (let handle = from; handle < end; handle++) {
      const entry = this.#maptrack.find(slot, handle);
      if (entry !== 0) this.#end(slot, handle, entry, HALVES);
    }
  }

  /** The pins that a mapping of these halves counts. */
  pinsOf(flags: number, halves: number): number {
    const readonly = (flags & gntmap.readonly) !== 0;
    let pins = 0;
    if ((halves & gntmap.hostMap) !== 0) pins += readonly ? pinOf.hostRead : pinOf.hostWrite;
    if ((halves & gntmap.deviceMap) !== 0) pins += readonly ? pinOf.deviceRead : pinOf.deviceWrite;
    return pins;
  }

  #map(caller: Domid, dom: Domid, ref: GrantRef, flags: number): number {
    const slot = this.#memory.callerOf(caller);
    const granter = this.#memory.slotOf(dom);
    if (slot < 0 || granter < 0) return gntst.bad_domain;
    if (!this.#maptrack.reserve(slot)) return gntst.no_space;
    const readonly = (flags & gntmap.readonly) !== 0;
    const frame = this.#pins.pin(granter, ref, caller, this.pinsOf(flags, flags), readonly, 'map');
    if (frame < 0) return frame;
    this.#frames.hold(frame);
    return this.#maptrack.add(slot, flags, granter, ref, frame);
  }

  #unmap(slot: number, handle: GrantHandle, hostAddr: number, devBusAddr: number, newAddr: number): number {
    const entry = this.#maptrack.find(slot, handle);
    if (entry === 0) return gntst.bad_handle;
    const flags = flagsOf(this.#words[entry] as number);
    const address = (this.#words[entry + mapping.frame] as number) * PAGE_SIZE;
    const device = devBusAddr !== 0 && (flags & gntmap.deviceMap) !== 0;
    const host = hostAddr !== 0 && (flags & gntmap.hostMap) !== 0;
    if (device && devBusAddr !== address) return gntst.bad_dev_addr;
    if (host && (newAddr !== 0 || hostAddr !== address)) return gntst.general_error;
    const halves = (device ? gntmap.deviceMap : 0) | (host ? gntmap.hostMap : 0);
    if (halves !== 0) this.#end(slot, handle, entry, halves);
    return gntst.okay;
  }

  #end(slot: number, handle: GrantHandle, entry: number, halves: number): void {
    const word = this.#words[entry] as number;
    const flags = flagsOf(word);
    const granter = granterOf(word);
    const frame = this.#words[entry + mapping.frame] as number;
    const left = flags & ~halves;
    const mapped = (left & HALVES) !== 0;
    if (mapped) this.#maptrack.keep(entry, left);
    else this.#maptrack.remove(slot, handle, entry);
    this.#pins.unpin(granter, this.#words[entry + mapping.ref] as number, this.pinsOf(flags, flags & halves));
    if (!mapped && this.#frames.drop(frame)) this.#domains.pageFreed(granter);
  }
}
