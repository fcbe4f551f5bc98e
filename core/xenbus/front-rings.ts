import { Subscription } from 'rxjs';
import { FrontRing } from '../abi/front-ring.js';
import type { RingFormat } from '../abi/ring.js';
import type { Domid } from '../abi/units.js';
import { Cleanup } from '../domain/cleanup.js';
import type { Clock } from '../domain/clock.js';
import type { EventChannel } from '../domain/event-channels.js';
import type { HandshakeEnvironment } from './handshake.js';
import { Posted } from './posted.js';
import type { PumpOptions } from './pump-options.js';
import { Requests } from './requests.js';
import { listenTo, pumpOptionsOf } from './ring-channel.js';
import { CHANNEL, type Wire } from './wires.js';

/** A frontend's end of one ring. */
interface FrontPump {
  upcall(): number;
  close(why: Error): void;
}

/** Where a queue's keys lie, and whether each ring has a channel of its own. */
export interface FrontRingsOptions {
  readonly prefix: string;
  readonly split: boolean;
  /** Hears what callbacks throw that is no answer. */
  readonly onError: (error: unknown) => void;
}

/** The rings of a frontend's device, or of one of its queues: shared, zeroed, with their event channels. */
export class FrontRings implements Disposable {
  /** The ends that the driver is handed, by the names of their rings; the only ring of its class is `ring`. */
  readonly ends: Readonly<Record<string, FrontPump>>;
  /** The texts of the keys that name rings and channels. */
  readonly texts: ReadonlyMap<string, string>;
  readonly #channels: { readonly channel: EventChannel; readonly pumps: readonly FrontPump[] }[] = [];
  readonly #shared = new Cleanup();

  /** @throws XenError ENOMEM, ENOSPC */
  constructor(
    environment: HandshakeEnvironment,
    otherend: Domid,
    wires: readonly Wire[],
    { prefix, split, onError }: FrontRingsOptions,
  ) {
    const { grants, channels, abi } = environment;
    const ends: Record<string, FrontPump> = {};
    const texts = new Map<string, string>();
    try {
      const groups = split ? wires.map((wire) => [wire]) : [wires];
      const pages = new Map(wires.map((wire) => [wire, this.#shared.use(grants.share(otherend))]));
      for (const group of groups) {
        const channel = this.#shared.use(channels.allocUnbound(otherend));
        const options = pumpOptionsOf(channel, group.length, onError);
        const pumps = group.map((wire) => {
          const page = pages.get(wire) as NonNullable<ReturnType<typeof pages.get>>;
          texts.set(`${prefix}${wire.ref}`, String(page.ref));
          const pump = pumpOf(wire, page.words, abi, options);
          ends[wire.name ?? 'ring'] = pump;
          return pump;
        });
        const [first] = group;
        texts.set(`${prefix}${split && first !== undefined ? first.channel : CHANNEL}`, String(channel.port));
        this.#channels.push({ channel, pumps });
      }
    } catch (error) {
      this.#shared[Symbol.dispose]();
      throw error;
    }
    this.ends = ends;
    this.texts = texts;
  }

  /** Hands what comes to the driver, at once and at every upcall. @param lied hears what ends the link */
  listen(clock: Clock, lied: (error: unknown) => void): Subscription {
    const upcalls = new Subscription();
    for (const channel of this.#channels) upcalls.add(listenTo(channel, clock, lied));
    return upcalls;
  }

  /** Nothing can be sent any more; who waits for an answer is told why. */
  close(why: Error): void {
    for (const { pumps } of this.#channels) for (const pump of pumps) pump.close(why);
  }

  /** Ends the grants, and closes the channels. */
  [Symbol.dispose](): void {
    this.#shared[Symbol.dispose]();
  }
}

const pumpOf = (
  { format }: Wire,
  words: Int32Array,
  abi: HandshakeEnvironment['abi'],
  options: PumpOptions,
): FrontPump => {
  const kind = 'kind' in format ? format.kind : undefined;
  if (!('kind' in format))
    return new Requests(new FrontRing(words, format as RingFormat<never, never, never>, { abi }), options);
  if (kind === 'packets' && format.kind === 'packets') {
    const { holdOff = 1, isExtra } = format;
    const ring = new FrontRing(words, format as RingFormat, { abi, holdOff });
    return new Requests(ring, { ...options, isExtra });
  }
  const unpaired = format as RingFormat as RingFormat<RingFormat['request'], RingFormat['response'], never>;
  return new Posted(new FrontRing(words, unpaired, { abi }), unpaired, format.packet, abi, options);
};
