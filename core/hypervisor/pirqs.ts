import { errno } from '../abi/errno.js';
import { DOMID_SELF, type Domid, type Port } from '../abi/units.js';
import type { Domains } from './domains.js';
import { DOMID_XEN } from './domains.js';
import type { EventChannelOps } from './event-channels.js';
import type { Frames } from './frames.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';
import { NR_IRQS, NR_IRQS_GSI, NR_PIRQS, type PirqTable } from './pirq-table.js';
import { type Ports, pirqPort } from './ports.js';
import { HARDWARE_DOMAIN } from './virqs.js';

/** Kinds of interrupt that map_pirq tells apart (physdev.h `MAP_PIRQ_TYPE_*`). */
export const mapPirqType = { msi: 0, gsi: 1, unknown: 2, msiSeg: 3, multiMsi: 4 } as const;

/** A flag of bind_pirq: others may have the interrupt too (event_channel.h `BIND_PIRQ__WILL_SHARE`). */
export const BIND_PIRQ_WILL_SHARE = 1;

/** Bits of what irq_status_query answers (physdev.h `XENIRQSTAT_*`). */
export const irqStatus = { needsEoi: 1, shared: 2 } as const;

/** Domains that an interrupt can be bound in (irq.c `irq_max_guests`). */
const MAX_GUESTS = 32;
/** The lowest number that map_pirq picks for a line: below lie those of the ISA bus. */
const FIRST_FREE = 16;
/** The host's interrupt that is Xen's own timer, and nobody's else (dom0_build.c `dom0_setup_permissions`). */
const TIMER_IRQ = 0;

/**
 * Physical interrupts: the host's, each given to one domain or more, under a number of the domain's own. One is raised whichever domain
 * runs, as one pending bit of the port that is bound to it, and handled when the domain is entered. A line that is triggered by its level
 * is looked at again when every domain that was told has ended the interrupt; an edge is told once. What nobody has bound is not kept.
 */
export class Pirqs {
  readonly #memory: MachineMemory;
  readonly #lock: Lock;
  readonly #frames: Frames;
  readonly #ports: Ports;
  readonly #table: PirqTable;
  readonly #domains: Domains;
  readonly #events: EventChannelOps;

  constructor(
    memory: MachineMemory,
    lock: Lock,
    frames: Frames,
    ports: Ports,
    table: PirqTable,
    domains: Domains,
    events: EventChannelOps,
  ) {
    this.#memory = memory;
    this.#lock = lock;
    this.#frames = frames;
    this.#ports = ports;
    this.#table = table;
    this.#domains = domains;
    this.#events = events;
  }

  /**
   * Binds a physical interrupt to a new port, and returns it (EVTCHNOP_bind_pirq). -EINVAL no such number; -EPERM one that is mapped to no
   * interrupt, whoever asks (`pirq_access_permitted`); -EEXIST bound already; -ENOSPC, -ENOMEM; -EBUSY bound elsewhere by one who does
   * not share, or too often.
   * @param pirq the caller's number, below {@link NR_PIRQS}
   * @param flags {@link BIND_PIRQ_WILL_SHARE} or 0
   */
  bind(caller: Domid, pirq: number, flags: number): Port | number {
    return this.#locked(caller, () => this.#bind(caller, pirq, (flags & BIND_PIRQ_WILL_SHARE) !== 0));
  }

  /**
   * Gives a domain an interrupt of the host's, and returns the number that the domain knows it by (PHYSDEVOP_map_pirq). -ESRCH, -EPERM
   * unless the caller is privileged, for its own domain too, and for Xen's own timer, interrupt 0; -EINVAL another type, a number
   * out of range, or an index that is none of the caller's own; -ENODEV a message's interrupt for a PCI device, of which there is
   * none; -EEXIST the domain has the interrupt under another number, or another interrupt under this one; -EBUSY it was taken
   * from the domain, which has not closed its port; -ENOSPC.
   * @param type {@link mapPirqType}: `gsi`, or `msi` for an interrupt from {@link NR_IRQS_GSI} on
   * @param index the caller's own number of a line, or the host's where the caller is the hardware domain; a message's: the host's
   * @param pirq the number to give, or -1 for any: the lowest free from 16 for a line, the highest for a message
   */
  map(caller: Domid, domid: Domid, type: number, index: number, pirq: number): number {
    return this.#locked(caller, () => {
      const slot = this.#memory.callerOf(domid === DOMID_SELF ? caller : domid);
      if (slot < 0) return -errno.ESRCH;
      if (!this.#domains.isPrivileged(caller)) return -errno.EPERM;
      const irq = this.#irqToMap(caller, type, index);
      return irq < 0 ? irq : this.#map(slot, irq, type, pirq);
    });
  }

  /**
   * Takes an interrupt from a domain (PHYSDEVOP_unmap_pirq). Where it is bound, the port stays, but is not raised any more. -ESRCH, -EPERM
   * unless the caller is privileged, -EINVAL a number that is mapped to nothing.
   */
  unmap(caller: Domid, domid: Domid, pirq: number): number {
    return this.#locked(caller, () => {
      const slot = this.#memory.callerOf(domid === DOMID_SELF ? caller : domid);
      if (slot < 0) return -errno.ESRCH;
      if (!this.#domains.isPrivileged(caller)) return -errno.EPERM;
      if (!isPirq(pirq) || this.#table.irq(slot, pirq) < 0) return -errno.EINVAL;
      this.#table.unmap(slot, pirq);
      return 0;
    });
  }

  /**
   * Tells that the caller has handled an interrupt (PHYSDEVOP_eoi): a line that is still asserted is raised again, once all who were told
   * have ended it. Where the caller has registered its bitmap by version 1, it also unmasks the port. -EINVAL no such number, or one that
   * stands for nothing.
   */
  eoi(caller: Domid, pirq: number): number {
    return this.#locked(caller, () => {
      const slot = this.#memory.callerOf(caller);
      if (slot < 0) return -errno.ESRCH;
      if (!isPirq(pirq) || !this.#table.isKnown(slot, pirq)) return -errno.EINVAL;
      const port = this.#table.port(slot, pirq);
      if (port !== 0 && this.#table.autoUnmasks(slot)) this.#events.unmask(caller, port as Port);
      this.#table.end(slot, pirq);
      return 0;
    });
  }

  /**
   * Whether an interrupt must be ended, and whether other domains have it too, as bits of {@link irqStatus} (PHYSDEVOP_irq_status_query).
   * Xen always asks for the end: who wants to know better registers a bitmap. -EINVAL no such number.
   */
  irqStatusQuery(caller: Domid, pirq: number): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    if (!isPirq(pirq)) return -errno.EINVAL;
    const irq = this.#table.irq(slot, pirq);
    return irqStatus.needsEoi | (irq >= 0 && this.#table.guests(irq) > 1 ? irqStatus.shared : 0);
  }

  /**
   * Registers a page of the caller's as bitmap of the interrupts that it must end, by its own numbers; written whenever one is bound
   * (PHYSDEVOP_pirq_eoi_gmfn_v1, PHYSDEVOP_pirq_eoi_gmfn_v2). Version 1 also has each {@link eoi} unmask the port. -EINVAL no
   * page of the caller's, -EBUSY a second time. Nothing more is written to a page that the caller gives back.
   */
  pirqEoiGmfn(caller: Domid, gmfn: number, version: 1 | 2): number {
    return this.#locked(caller, () => {
      const slot = this.#memory.callerOf(caller);
      if (slot < 0) return -errno.ESRCH;
      if (!this.#frames.isPage(gmfn, caller)) return -errno.EINVAL;
      if (this.#table.eoiFrame(slot) !== 0) return -errno.EBUSY;
      this.#table.setEoiFrame(slot, gmfn, version === 1);
      return 0;
    });
  }

  /** Says how a host interrupt is triggered. @throws RangeError for one that the host cannot have, and for a message that has a level */
  setTrigger(irq: number, trigger: 'edge' | 'level'): void {
    checkedIrq(irq);
    if (trigger === 'level' && irq >= NR_IRQS_GSI) {
      throw new RangeError(`host interrupt ${irq} is a message, which has no level; lines end at ${NR_IRQS_GSI - 1}`);
    }
    this.#locked(DOMID_XEN, () => {
      this.#table.setLevel(irq, trigger === 'level');
      return 0;
    });
  }

  /**
   * The host's interrupt goes up or down. An edge is told to all who have bound it; a level when it is up and nobody has yet to end it.
   * An edge that goes down tells nobody. @throws RangeError for an interrupt that the host cannot have
   */
  setLine(irq: number, asserted: boolean): void {
    checkedIrq(irq);
    this.#locked(DOMID_XEN, () => {
      if (this.#table.isLevel(irq)) this.#table.setAsserted(irq, asserted);
      else if (asserted) this.#table.edge(irq);
      return 0;
    });
  }

  #bind(caller: Domid, pirq: number, willShare: boolean): number {
    const slot = this.#memory.callerOf(caller);
    if (slot < 0) return -errno.ESRCH;
    if (!isPirq(pirq)) return -errno.EINVAL;
    const irq = this.#table.irq(slot, pirq);
    if (irq < 0) return -errno.EPERM;
    if (this.#table.port(slot, pirq) !== 0) return -errno.EEXIST;
    const port = this.#ports.lowestFree(slot);
    if (port < 0) return port;
    const guests = this.#table.guests(irq);
    if (guests > 0 && !(willShare && this.#table.isShareable(irq))) return -errno.EBUSY;
    if (guests >= MAX_GUESTS) return -errno.EBUSY;
    this.#ports.bind(slot, port, pirqPort(pirq), 0);
    this.#table.bind(slot, pirq, port, willShare);
    return port;
  }

  /** The host's interrupt that map_pirq names. */
  #irqToMap(caller: Domid, type: number, index: number): number {
    if (type === mapPirqType.gsi) {
      if (index >>> 0 !== index || index >= NR_IRQS_GSI) return -errno.EINVAL;
      const own = this.#memory.callerOf(caller);
      const irq = own < 0 ? -1 : this.#table.irq(own, index);
      if (irq > 0) return irq;
      if (caller !== HARDWARE_DOMAIN && caller !== DOMID_XEN) return -errno.EINVAL;
      return index === TIMER_IRQ ? -errno.EPERM : index;
    }
    if (type !== mapPirqType.msi) return -errno.EINVAL;
    if (index === -1) return -errno.ENODEV;
    return index >>> 0 === index && index >= NR_IRQS_GSI && index < NR_IRQS ? index : -errno.EINVAL;
  }

  #map(slot: number, irq: number, type: number, wanted: number): number {
    const has = this.#table.pirq(slot, irq);
    if (has >= 0 && this.#table.isForced(slot, has)) return wanted < 0 ? -errno.EBUSY : -errno.EEXIST;
    if (has >= 0) return wanted < 0 || wanted === has ? has : -errno.EEXIST;
    const pirq = wanted < 0 ? this.#freePirq(slot, type) : wanted;
    if (pirq < 0) return pirq;
    if (!isPirq(pirq)) return -errno.EINVAL;
    if (this.#table.isKnown(slot, pirq)) return -errno.EEXIST;
    this.#table.map(slot, pirq, irq);
    return pirq;
  }

  #freePirq(slot: number, type: number): number {
    if (type === mapPirqType.gsi) {
      for (let pirq = FIRST_FREE; pirq < NR_IRQS_GSI; pirq++) if (!this.#table.isKnown(slot, pirq)) return pirq;
    } else {
      for (let pirq = NR_PIRQS - 1; pirq >= NR_IRQS_GSI; pirq--) if (!this.#table.isKnown(slot, pirq)) return pirq;
    }
    return -errno.ENOSPC;
  }

  #locked(caller: Domid, call: () => number): number {
    this.#lock.acquire(caller);
    const result = call();
    this.#lock.release();
    this.#events.raiseDue();
    return result;
  }
}

const isPirq = (pirq: number): boolean => pirq >>> 0 === pirq && pirq < NR_PIRQS;

const checkedIrq = (irq: number): void => {
  if (irq >>> 0 !== irq || irq >= NR_IRQS) {
    throw new RangeError(`a host interrupt must be a whole number from 0 to ${NR_IRQS - 1}, not ${irq}`);
  }
};
