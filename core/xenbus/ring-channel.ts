import type { Subscription } from 'rxjs';
import type { Clock } from '../domain/clock.js';
import type { EventChannel } from '../domain/event-channels.js';
import { subscribeLateEoi } from '../domain/late-eoi.js';
import type { PumpOptions } from './pump-options.js';

/** This end of an event channel, and this end of each ring that it tells of. */
export interface RingChannel {
  readonly channel: EventChannel;
  readonly pumps: readonly {
    /** Takes what has come; how much that was. */
    upcall(): number;
    /** What the driver has left on the ring, which is found again at each upcall. */
    readonly left?: number;
  }[];
}

/** What the pumps of a channel's rings work with. @param rings how many there are: only one that is alone is looked out for */
export const pumpOptionsOf = (
  channel: EventChannel,
  rings: number,
  onError: (error: unknown) => void,
): PumpOptions => ({
  notify: () => channel.notify(),
  again: () => channel.retrigger(),
  hold: () => channel.hold(),
  release: () => channel.release(),
  ...(rings === 1 && { linger: (isThere) => channel.linger(isThere) }),
  onError,
});

/** Has a channel's rings looked at, at once and at every upcall. @param lied hears what ends the link */
export const listenTo = ({ channel, pumps }: RingChannel, clock: Clock, lied: (error: unknown) => void): Subscription =>
  subscribeLateEoi(channel, clock, () => {
    try {
      let found = 0;
      for (const pump of pumps) found += pump.upcall() + (pump.left ?? 0);
      return found > 0;
    } catch (error) {
      lied(error);
      return true;
    }
  });
