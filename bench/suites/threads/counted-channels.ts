import type { EventChannel, EventChannels } from '../../../core/index.js';

/** Counts the events that a domain sends, by all channels that it opens from now on. */
export class SentEvents {
  count = 0;

  constructor(channels: EventChannels) {
    const counted = (channel: EventChannel): EventChannel => {
      const notify = channel.notify.bind(channel);
      channel.notify = () => {
        this.count++;
        notify();
      };
      return channel;
    };
    const allocUnbound = channels.allocUnbound.bind(channels);
    const bindInterdomain = channels.bindInterdomain.bind(channels);
    channels.allocUnbound = (remote) => counted(allocUnbound(remote));
    channels.bindInterdomain = (remote, port) => counted(bindInterdomain(remote, port));
  }
}
