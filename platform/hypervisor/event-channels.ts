import type { PortStatus } from '../../core/abi/port-status.js';
import type { Domid, Pirq, Port } from '../../core/abi/units.js';
import { type VcpuVirq, type Virq, virqName } from '../../core/abi/virq.js';
import { type EventChannel, EventChannels } from '../../core/domain/event-channels.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { BIND_PIRQ_WILL_SHARE } from '../../core/hypervisor/pirqs.js';
import type { Deliver } from '../../core/hypervisor/upcalls.js';
import { brokenRule, type Refused } from './broken-rules.js';
import { HypervisorEventChannel, type Linger, type OnSubscriberError } from './event-channel.js';
import { OwnDomain } from './own-domain.js';

/** The event channels of a domain of our Xen. Upcalls are delivered when the platform enters the domain, and only then. */
export class HypervisorEventChannels extends EventChannels {
  readonly #own: OwnDomain;
  readonly #onError: OnSubscriberError;
  readonly #byPort: (HypervisorEventChannel | undefined)[] = [];
  readonly #deliver: Deliver;
  readonly #linger: Linger;
  #open = 0;

  /** Masks every port, as Linux does at boot. @throws RangeError when there is no such domain */
  constructor(hypervisor: Hypervisor, domid: Domid, onError: OnSubscriberError, linger: Linger = () => false) {
    super();
    this.#linger = linger;
    this.#own = new OwnDomain(hypervisor, domid);
    this.#onError = onError;
    this.#deliver = (port) => {
      try {
        this.#byPort[port]?.upcall();
      } catch (error) {
        onError(error, port);
      }
    };
    hypervisor.eventChannels.maskAll(domid);
  }

  override allocUnbound(remote: Domid): EventChannel {
    const { hypervisor, domid } = this.#own.alive;
    const result = hypervisor.eventChannels.allocUnbound(domid, domid, remote);
    return this.#channel('EVTCHNOP_alloc_unbound', result, () => `for domain ${remote} by domain ${domid}`);
  }

  override bindInterdomain(remote: Domid, remotePort: Port): EventChannel {
    const { hypervisor, domid } = this.#own.alive;
    const result = hypervisor.eventChannels.bindInterdomain(domid, remote, remotePort);
    const about = (): string => `to port ${remotePort} of domain ${remote} by domain ${domid}`;
    return this.#channel('EVTCHNOP_bind_interdomain', result, about);
  }

  override bindVirq(virq: VcpuVirq, vcpu?: number): EventChannel;
  override bindVirq(virq: Virq): EventChannel;
  override bindVirq(virq: Virq, vcpu = 0): EventChannel {
    const { hypervisor, domid } = this.#own.alive;
    const result = hypervisor.virqs.bind(domid, virq, vcpu);
    const about = (): string => `of ${virqName(virq)} on vCPU ${vcpu} by domain ${domid}`;
    return this.#channel('EVTCHNOP_bind_virq', result, about);
  }

  override bindIpi(vcpu: number): EventChannel {
    const { hypervisor, domid } = this.#own.alive;
    const result = hypervisor.eventChannels.bindIpi(domid, vcpu);
    return this.#channel('EVTCHNOP_bind_ipi', result, () => `to vCPU ${vcpu} by domain ${domid}`);
  }

  override bindPirq(pirq: Pirq, { willShare = false }: { readonly willShare?: boolean } = {}): EventChannel {
    const { hypervisor, domid } = this.#own.alive;
    const result = hypervisor.pirqs.bind(domid, pirq, willShare ? BIND_PIRQ_WILL_SHARE : 0);
    return this.#channel('EVTCHNOP_bind_pirq', result, () => `of interrupt ${pirq} by domain ${domid}`);
  }

  override status(port: Port): PortStatus {
    const { hypervisor, domid } = this.#own.alive;
    const found = hypervisor.eventChannels.status(domid, domid, port);
    if (typeof found === 'number') throw brokenRule('EVTCHNOP_status', found, `of port ${port} by domain ${domid}`);
    return found;
  }

  override reset(): void {
    const { hypervisor, domid } = this.#own.alive;
    for (const channel of [...this.#byPort]) channel?.[Symbol.dispose]();
    const result = hypervisor.eventChannels.reset(domid, domid);
    if (result < 0) throw brokenRule('EVTCHNOP_reset', result, `of domain ${domid}`);
  }

  /** A port that the toolstack made for this domain before it ran: the store's, the console's. */
  adopt(port: Port): EventChannel {
    return this.#byPort[port] ?? this.#channel('EVTCHNOP_alloc_unbound', port, () => `of port ${port}`);
  }

  /**
   * Enters a vCPU of the domain, the first without `vcpu`: delivers its pending events, at most `limit` of them, each to its
   * channel's subscribers; what is left stays pending, with the upcall. Returns how many were delivered.
   */
  enter(limit?: number, vcpu?: number): number {
    const { hypervisor, domid, isGone } = this.#own;
    return isGone ? 0 : hypervisor.upcalls.scan(domid, this.#deliver, limit, vcpu);
  }

  /** Channels that have not been disposed. */
  get open(): number {
    return this.#open;
  }

  #channel(call: Refused, port: Port | number, about: () => string): EventChannel {
    if (port < 0) throw brokenRule(call, port, about());
    const channel = new HypervisorEventChannel(
      this.#own,
      port as Port,
      this.#onError,
      () => {
        this.#byPort[port] = undefined;
        this.#open--;
      },
      this.#linger,
    );
    this.#byPort[port] = channel;
    this.#open++;
    return channel;
  }
}
