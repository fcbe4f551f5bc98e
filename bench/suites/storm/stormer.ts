import { filter, map, switchMap } from 'rxjs';
import type { Domain, EventChannel, EventChannels, Reporter, XenStore } from '../../../core/index.js';
import { EVENTS_PER_SECOND, ORDER, type Order, type Pace, type Raised } from './protocol.js';

/** Milliseconds that the thread sleeps at a time; what is due by then is raised one after another. */
const SLEEP = { bursts: 1, even: 0.02 } as const satisfies Readonly<Record<Pace, number>>;
/** Milliseconds after which the event loop has a turn. */
const TURN = 5;

/** Collects a domain's channels as they are opened, so that it can raise events that nobody waits for. */
export const channelsOf = (channels: EventChannels): EventChannel[] => {
  const opened: EventChannel[] = [];
  const allocUnbound = channels.allocUnbound.bind(channels);
  const bindInterdomain = channels.bindInterdomain.bind(channels);
  const kept = (channel: EventChannel): EventChannel => {
    opened.push(channel);
    return channel;
  };
  channels.allocUnbound = (remote) => kept(allocUnbound(remote));
  channels.bindInterdomain = (remote, port) => kept(bindInterdomain(remote, port));
  return opened;
};

/** Raises {@link EVENTS_PER_SECOND} on a channel for so long, whether there is anything to tell or not. */
const storm = async (channel: EventChannel, pace: Pace, ms: number): Promise<Raised> => {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const start = performance.now();
  let raised = 0;
  for (let turn = start; ; ) {
    const now = performance.now();
    if (now - start >= ms) return { raised, ms: now - start };
    for (const due = ((now - start) * EVENTS_PER_SECOND) / 1000; raised < due; raised++) channel.notify();
    if (now - turn > TURN) {
      await new Promise((resolve) => setImmediate(resolve));
      turn = performance.now();
    } else Atomics.wait(pause, 0, 0, SLEEP[pace]);
  }
};

/** Storms whenever it is told to. @param channel where, when it is told */
export const stormOnDemand = (
  domain: Domain,
  channels: EventChannels,
  store: XenStore,
  reporter: Reporter,
  channel: () => EventChannel | undefined,
): void => {
  const decoy = channels.allocUnbound(domain.domid);
  domain.subscription.add(
    store
      .watch$(ORDER)
      .pipe(
        switchMap(() => store.read(ORDER)),
        filter((text) => text !== undefined),
        map((text) => JSON.parse(text) as Order),
      )
      .subscribe(({ weather, pace, ms }) => {
        const at = weather === 'decoy' ? decoy : channel();
        if (at === undefined) throw new Error('there is no channel to storm on yet');
        void storm(at, pace, ms).then((raised) => reporter.report(raised));
      }),
  );
};
