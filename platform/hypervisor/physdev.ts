import { asPirq, type Domid, type Pirq } from '../../core/abi/units.js';
import { type IrqStatus, Physdev, type PirqSource } from '../../core/domain/physdev.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { irqStatus, mapPirqType } from '../../core/hypervisor/pirqs.js';
import { brokenRule } from './broken-rules.js';
import { OwnDomain } from './own-domain.js';

/** The calls about physical interrupts of a domain of our Xen. */
export class HypervisorPhysdev extends Physdev {
  readonly #own: OwnDomain;

  /** @throws RangeError when there is no such domain */
  constructor(hypervisor: Hypervisor, domid: Domid) {
    super();
    this.#own = new OwnDomain(hypervisor, domid);
  }

  override mapPirq(domid: Domid, { type, index, pirq }: PirqSource): Pirq {
    const { hypervisor, domid: own } = this.#own.alive;
    const result = hypervisor.pirqs.map(own, domid, mapPirqType[type], index, pirq ?? -1);
    const number = pirq === undefined ? '' : ` as ${pirq}`;
    if (result < 0)
      throw brokenRule(
        'PHYSDEVOP_map_pirq',
        result,
        `of ${type} ${index}${number} for domain ${domid} by domain ${own}`,
      );
    return asPirq(result);
  }

  override unmapPirq(domid: Domid, pirq: Pirq): void {
    const { hypervisor, domid: own } = this.#own.alive;
    const result = hypervisor.pirqs.unmap(own, domid, pirq);
    if (result < 0)
      throw brokenRule('PHYSDEVOP_unmap_pirq', result, `of interrupt ${pirq} of domain ${domid} by domain ${own}`);
  }

  override eoi(pirq: Pirq): void {
    const { hypervisor, domid } = this.#own.alive;
    const result = hypervisor.pirqs.eoi(domid, pirq);
    if (result < 0) throw brokenRule('PHYSDEVOP_eoi', result, `of interrupt ${pirq} by domain ${domid}`);
  }

  override irqStatusQuery(pirq: Pirq): IrqStatus {
    const { hypervisor, domid } = this.#own.alive;
    const result = hypervisor.pirqs.irqStatusQuery(domid, pirq);
    if (result < 0) throw brokenRule('PHYSDEVOP_irq_status_query', result, `of interrupt ${pirq} by domain ${domid}`);
    return { needsEoi: (result & irqStatus.needsEoi) !== 0, shared: (result & irqStatus.shared) !== 0 };
  }
}
