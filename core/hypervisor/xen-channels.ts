import { errno } from '../abi/errno.js';
import type { Domid, Port } from '../abi/units.js';
import { DOMID_XEN } from './domains.js';
import type { EventChannelOps } from './event-channels.js';
import type { Lock } from './lock.js';
import type { MachineMemory } from './memory.js';
import { type Ports, peerPortOf, peerSlotOf, portState, stateOf, unboundPort, XEN_CONSUMER } from './ports.js';
import type { Vcpus } from './vcpus.js';

/**
 * Channels whose one end Xen itself has, in a domain's table: a device model's, or a monitor's. The domain can neither send on such a
 * port, nor close it, nor have it notify another vCPU.
 */
export class XenChannels {
  readonly #memory: MachineMemory;
  readonly #lock: Lock;
  readonly #ports: Ports;
  readonly #vcpus: Vcpus;
  readonly #events: EventChannelOps;

  constructor(memory: MachineMemory, lock: Lock, ports: Ports, vcpus: Vcpus, events: EventChannelOps) {
    this.#memory = memory;
    this.#lock = lock;
    this.#ports = ports;
    this.#vcpus = vcpus;
    this.#events = events;
  }

  /**
   * A port of `domid` that `remote` may bind and whose events wake the domain where it waits in Xen (`alloc_unbound_xen_event_channel`).
   * -ESRCH, -ENOENT no such vCPU, -ENOSPC, -ENOMEM.
   */
  allocUnbound(domid: Domid, vcpu: number, remote: Domid): Port | number {
    this.#lock.acquire(DOMID_XEN);
    const slot = this.#memory.slotOf(domid);
    let port = slot < 0 ? -errno.ESRCH : this.#vcpus.has(slot, vcpu) ? 0 : -errno.ENOENT;
    if (port === 0) port = this.#ports.lowestFree(slot);
    if (port > 0) this.#ports.bind(slot, port, unboundPort(remote) | XEN_CONSUMER, vcpu);
    this.#lock.release();
    return port;
  }

  /** Raises the event at the other end of a port that Xen has; lost while that is unbound (`notify_via_xen_event_channel`). -EINVAL. */
  notify(domid: Domid, port: Port): number {
    const slot = this.#memory.callerOf(domid);
    if (slot < 0) return -errno.ESRCH;
    const word = this.#ports.get(slot, port);
    if ((word & XEN_CONSUMER) === 0) return -errno.EINVAL;
    if (stateOf(word) === portState.interdomain) this.#events.raise(peerSlotOf(word), peerPortOf(word));
    return 0;
  }

  /** Closes a port that Xen has (`free_xen_event_channel`). -EINVAL for any other. */
  free(domid: Domid, port: Port): number {
    this.#lock.acquire(DOMID_XEN);
    const slot = this.#memory.callerOf(domid);
    const isXens = slot >= 0 && (this.#ports.get(slot, port) & XEN_CONSUMER) !== 0;
    const result = slot < 0 ? -errno.ESRCH : isXens ? this.#events.closeIn(slot, port, false) : -errno.EINVAL;
    this.#lock.release();
    return result;
  }
}
