import type { Observable } from 'rxjs';
import { virq } from '../../core/abi/virq.js';
import type { EventChannel } from '../../core/domain/event-channels.js';
import { type Vcpu, Vcpus } from '../../core/domain/vcpus.js';
import { XenError } from '../../core/errors.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import type { Domid } from '../../core/index.js';
import type { HypervisorEventChannels } from './event-channels.js';
import type { GuestEntry } from './guest-entry.js';
import { OwnDomain } from './own-domain.js';
import { HypervisorVcpu, type Spend, virtualTimer$ } from './vcpu.js';

/** The vCPUs of a domain of our Xen. */
export class HypervisorVcpus extends Vcpus {
  readonly #own: OwnDomain;
  readonly #entry: GuestEntry;
  readonly #vcpus: readonly HypervisorVcpu[];

  constructor(
    hypervisor: Hypervisor,
    domid: Domid,
    channels: HypervisorEventChannels,
    entry: GuestEntry,
    spend: Spend,
  ) {
    super();
    const own = new OwnDomain(hypervisor, domid);
    const bind = (vcpu: number): EventChannel => channels.bindVirq(virq.timer, vcpu);
    this.#own = own;
    this.#entry = entry;
    this.#vcpus = Array.from({ length: entry.vcpus }, (_, id) => new HypervisorVcpu(own, entry, id, bind, spend));
  }

  override get count(): number {
    return this.#vcpus.length;
  }

  override get current(): Vcpu {
    return this.vcpu(this.#entry.current);
  }

  override vcpu(id: number): Vcpu {
    const found = this.#vcpus[id];
    if (found === undefined) {
      throw new XenError('ENOENT', `domain ${this.#own.domid} has no vCPU ${id}: it has ${this.count}, from 0`);
    }
    return found;
  }

  override wallclock(): number {
    const { hypervisor, domid } = this.#own.alive;
    const boot = hypervisor.timePages.wallclock(hypervisor.memory.slotOf(domid));
    return boot + this.current.systemTime() / 1e6;
  }

  override virtualTimer$(ms: number): Observable<void> {
    return virtualTimer$(this.#entry, undefined, ms);
  }
}
