import type { Domid, Port } from '../../core/abi/units.js';
import { type EventChannel, EventChannels } from '../../core/domain/event-channels.js';
import { XenError } from '../../core/errors.js';
import type { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import type { Deliver } from '../../core/hypervisor/upcalls.js';
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
    const { hypervisor, domid } = this.#mine();
    const port = hypervisor.eventChannels.allocUnbound(domid, domid, remote);
    return this.#channel(port, () => `EVTCHNOP_alloc_unbound for domain ${remote}`);
  }

  override bindInterdomain(remote: Domid, remotePort: Port): EventChannel {
    const { hypervisor, domid } = this.#mine();
    const port = hypervisor.eventChannels.bindInterdomain(domid, remote, remotePort);
    return this.#channel(port, () => `EVTCHNOP_bind_interdomain to port ${remotePort} of domain ${remote}`);
  }

  /** A port that the toolstack made for this domain before it ran: the store's, the console's. */
  adopt(port: Port): EventChannel {
    return this.#byPort[port] ?? this.#channel(port, () => '');
  }

  /**
   * Enters a vCPU of the domain, the first without `vcpu`: delivers its pending events, at most `limit` of them, each to its channel's subscribers; what is left
   * stays pending, with the upcall. Returns how many were delivered.
   */
  enter(limit?: number, vcpu?: number): number {
    const { hypervisor, domid, isGone } = this.#own;
    return isGone ? 0 : hypervisor.upcalls.scan(domid, this.#deliver, limit, vcpu);
  }

  /** Channels that have not been disposed. */
  get open(): number {
    return this.#open;
  }

  #mine(): OwnDomain {
    if (this.#own.isGone) throw new XenError('ESRCH', `domain ${this.#own.domid} has been destroyed`);
    return this.#own;
  }

  #channel(port: Port | number, what: () => string): EventChannel {
    if (port < 0) throw new XenError(-port, what());
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
