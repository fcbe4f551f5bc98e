import type { Domid, Pirq } from '../abi/units.js';

/** How a host's interrupt is named to {@link Physdev.mapPirq} (physdev.h `MAP_PIRQ_TYPE_*`). */
export interface PirqSource {
  /** `gsi`: a line, of the caller's own number; `msi`: a message, of the host's. */
  readonly type: 'gsi' | 'msi';
  readonly index: number;
  /** The number that the domain is to know it by; any free one without it. */
  readonly pirq?: Pirq;
}

/** What of an interrupt its domain should know (physdev.h `XENIRQSTAT_*`). */
export interface IrqStatus {
  /** Whether each must be ended by {@link Physdev.eoi}. */
  readonly needsEoi: boolean;
  /** Whether other domains have it too. */
  readonly shared: boolean;
}

/** The calls about physical interrupts (physdev.h), for domains that have devices. */
export abstract class Physdev {
  /**
   * Gives a domain an interrupt of the host's, and returns the number that the domain knows it by (PHYSDEVOP_map_pirq): what
   * `EventChannels.bindPirq` takes. @throws XenError EPERM without privilege; ESRCH; EINVAL no such interrupt; EEXIST the domain has it, or
   * another, under this number; EBUSY it was taken away, and its channel is still open; ENODEV no such device; ENOSPC
   */
  abstract mapPirq(domid: Domid, source: PirqSource): Pirq;
  /**
   * Takes an interrupt from a domain; a channel of it stays, and is silent (PHYSDEVOP_unmap_pirq). @throws XenError EPERM without
   * privilege; ESRCH; EINVAL the domain has no such interrupt
   */
  abstract unmapPirq(domid: Domid, pirq: Pirq): void;
  /**
   * Tells that this domain has handled an interrupt (PHYSDEVOP_eoi). A line that is still up comes again, once all domains that share it
   * have told. @throws XenError EINVAL no interrupt of this domain's
   */
  abstract eoi(pirq: Pirq): void;
  /** What this domain should know of an interrupt (PHYSDEVOP_irq_status_query). @throws XenError EINVAL out of range */
  abstract irqStatusQuery(pirq: Pirq): IrqStatus;
}
