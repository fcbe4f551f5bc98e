import { Observable } from 'rxjs';
import type { Domid, Port } from '../abi/units.js';

/**
 * One end of an event channel: an Observable of its upcalls.
 *
 * Subscribing unmasks the port, which delivers what was pending; the last unsubscription masks it; disposing closes it and
 * completes the subscribers. Events coalesce: an upcall says "look now", never how often. Nothing is delivered inside the call
 * that caused it.
 */
export abstract class EventChannel extends Observable<void> implements Disposable {
  /** This end's port. */
  abstract readonly port: Port;
  /** Raises the event at the other end (EVTCHNOP_send); while nobody is bound there it is lost, as on Xen. */
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
}
