import { Observable } from 'rxjs';
import type { PortStatus } from '../abi/port-status.js';
import type { Domid, Pirq, Port } from '../abi/units.js';
import type { VcpuVirq, Virq } from '../abi/virq.js';
import { XenError } from '../errors.js';

/** What a platform that lacks an operation answers. */
const lacks = (operation: string): XenError =>
  new XenError('ENOSYS', `${operation}, which this platform does not offer to a domain`);

/**
 * One end of an event channel: an Observable of its upcalls.
 *
 * Subscribing unmasks the port, which delivers what was pending; the last unsubscription masks it; disposing closes it and
 * completes the subscribers. Events coalesce: an upcall says "look now", never how often. Nothing is delivered inside the call
 * that caused it.
 *
 * Death completes nothing. When the domain at the other end dies or closes its port, this one is unbound and silent, as on Xen; that is told
 * by the store. When the channel's own domain crashes or is destroyed, its subscribers hear no more: a `firstValueFrom` of a channel that
 * completes rejects, and one that none of its code waits for any more would end the process of all domains as an unhandled rejection.
 */
export abstract class EventChannel extends Observable<void> implements Disposable {
  /** This end's port. */
  abstract readonly port: Port;
  /**
   * Raises the event at the other end, or an IPI (EVTCHNOP_send); while nobody is bound there it is lost, as on Xen.
   * @throws XenError EINVAL for a channel that is closed, or bound to an interrupt: only Xen raises that
   */
  abstract notify(): void;
  /**
   * Makes this end pending itself, so that its upcall comes once more: for a handler that stops before all is done, to let others have
   * their turn (Linux' `irq_retrigger` of an event channel sets the bit in the domain's own shared_info).
   */
  abstract retrigger(): void;
  /**
   * Looks out for what `isThere` tells of before the other end is asked for an event, where that pays: when the other end runs on
   * another processor, and answers sooner than this one could sleep and be woken. Says whether to look once more.
   */
  linger(_isThere: () => boolean): boolean {
    return false;
  }
  /**
   * Until {@link release}, in the same call, other domains that sleep are not woken for what this one raises: for what raises more than one
   * event, so that who is woken finds all of it. A platform may wake them at once all the same.
   */
  hold(): void {}
  /** Ends what {@link hold} began. */
  release(): void {}
  /**
   * Has the channel notify another vCPU, from its next event on (EVTCHNOP_bind_vcpu). @throws XenError ENOENT no such vCPU; EINVAL closed,
   * or one that stays where it was bound: an IPI, a VIRQ that is per vCPU; ENOSYS on a platform without
   */
  bindVcpu(vcpu: number): void {
    throw lacks(`EVTCHNOP_bind_vcpu of port ${this.port} to vCPU ${vcpu}`);
  }
  /** Closes this end (EVTCHNOP_close); the other falls back to unbound. A second time does nothing. */
  abstract [Symbol.dispose](): void;
}

/** A domain's own event channels (event_channel.h). */
export abstract class EventChannels {
  /** A port that `remote`, and nobody else, may bind (EVTCHNOP_alloc_unbound). @throws XenError ENOSPC, ENOMEM */
  abstract allocUnbound(remote: Domid): EventChannel;
  /**
   * Binds a port that `remote` has allocated for this domain (EVTCHNOP_bind_interdomain); its first upcall comes
   * unconditionally. @throws XenError ESRCH, ENOSPC, EINVAL
   */
  abstract bindInterdomain(remote: Domid, port: Port): EventChannel;

  /**
   * A channel of a virtual interrupt, which Xen raises (EVTCHNOP_bind_virq); what it raises before is lost. @throws XenError ENOENT no such
   * vCPU; EINVAL one that is not per vCPU on another than vCPU 0; EBUSY a global one that another domain owns; EEXIST bound already;
   * ENOSPC, ENOMEM; ENOSYS on a platform without
   * @param vcpu whose interrupt, and notified of it; 0 without it
   */
  bindVirq(virq: VcpuVirq, vcpu?: number): EventChannel;
  bindVirq(virq: Virq): EventChannel;
  bindVirq(virq: Virq, vcpu = 0): EventChannel {
    throw lacks(`EVTCHNOP_bind_virq of VIRQ ${virq} on vCPU ${vcpu}`);
  }

  /**
   * A channel to a vCPU of the domain's own, which its own {@link EventChannel.notify} raises (EVTCHNOP_bind_ipi). @throws XenError ENOENT
   * no such vCPU; ENOSPC, ENOMEM; ENOSYS on a platform without
   */
  bindIpi(vcpu: number): EventChannel {
    throw lacks(`EVTCHNOP_bind_ipi to vCPU ${vcpu}`);
  }

  /**
   * A channel of a physical interrupt that the domain was given (EVTCHNOP_bind_pirq). One that is triggered by its level is held until
   * `Physdev.eoi`. @throws XenError EINVAL no such interrupt; EPERM not given to the domain; EEXIST bound already; EBUSY another domain has
   * it, and one of them does not share; ENOSPC, ENOMEM; ENOSYS on a platform without
   * @param options.willShare whether other domains may have it too (BIND_PIRQ__WILL_SHARE); false without it
   */
  bindPirq(pirq: Pirq, _options: { readonly willShare?: boolean } = {}): EventChannel {
    throw lacks(`EVTCHNOP_bind_pirq of interrupt ${pirq}`);
  }

  /** What a port of the domain's own is bound to (EVTCHNOP_status). @throws XenError EINVAL out of range; ENOSYS on a platform without */
  status(port: Port): PortStatus {
    throw lacks(`EVTCHNOP_status of port ${port}`);
  }

  /**
   * Closes every channel of the domain, the store's among them, as a kernel does that starts anew (EVTCHNOP_reset); their subscribers
   * complete. @throws XenError EBUSY while another does it; EAGAIN ports were opened for the domain meanwhile; ENOSYS on a platform without
   */
  reset(): void {
    throw lacks('EVTCHNOP_reset');
  }
}
