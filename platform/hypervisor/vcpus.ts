import type { Observable } from 'rxjs';
import type { Port } from '../../core/abi/units.js';
import { virq } from '../../core/abi/virq.js';
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
    const bind = (vcpu: number) => {
      const port = hypervisor.virqs.bind(domid, virq.timer, vcpu);
      if (port < 0) throw new XenError(-port, `EVTCHNOP_bind_virq of VIRQ_TIMER on vCPU ${vcpu} of domain ${domid}`);
      return channels.adopt(port as Port);
    };
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
    const { hypervisor, domid } = this.#own;
    const boot = hypervisor.timePages.wallclock(hypervisor.memory.slotOf(domid));
    return boot + this.current.systemTime() / 1e6;
  }

  override virtualTimer$(ms: number): Observable<void> {
    return virtualTimer$(this.#entry, undefined, ms);
  }
}
