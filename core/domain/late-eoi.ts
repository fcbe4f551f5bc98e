import { Subscription } from 'rxjs';
import type { Clock } from './clock.js';
import type { EventChannel } from './event-channels.js';

/**
 * Spurious events in a row that cost nothing yet: what a peer raised may have been found by the upcall before (xenbus.h
 * `spurious_threshold`).
 */
export const SPURIOUS_THRESHOLD = 1;
/** The longest that a channel stays masked, in ms: one second, as HZ ticks are. */
export const LONGEST_DELAY = 1000;

/**
 * Subscribes to a channel so that events without anything behind them cost whoever raises them, and nobody else (XSA-391, XSA-332). An
 * upcall that finds nothing is spurious; from the second in a row on the channel stays masked after it, for 1 ms, then 2, 4, and so on
 * up to a second, while events do no more than set a bit. What came meanwhile is delivered once at the end; an upcall that finds
 * something ends the count. It is what Linux does by a late EOI (events_base.c `xen_irq_lateeoi_locked`), whose ticks are 1 ms here.
 *
 * @param found handles an upcall; whether there was anything to handle. What it throws counts as something.
 */
export const subscribeLateEoi = (channel: EventChannel, clock: Clock, found: () => boolean): Subscription => {
  const subscription = new Subscription();
  let upcalls = Subscription.EMPTY;
  let spurious = 0;
  const listen = (): void => {
    upcalls = channel.subscribe({ next: upcall, complete: () => subscription.unsubscribe() });
  };
  const upcall = (): void => {
    if (found()) {
      spurious = 0;
      return;
    }
    if (1 << spurious < LONGEST_DELAY * 4) spurious++;
    if (spurious <= SPURIOUS_THRESHOLD || subscription.closed) return;
    upcalls.unsubscribe();
    const delay = Math.min(1 << (spurious - 1 - SPURIOUS_THRESHOLD), LONGEST_DELAY);
    subscription.add(clock.timer$(delay).subscribe(listen));
  };
  subscription.add(() => upcalls.unsubscribe());
  listen();
  return subscription;
};
