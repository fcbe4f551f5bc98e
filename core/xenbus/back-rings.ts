import { Subscription } from 'rxjs';
import { BackRing } from '../abi/back-ring.js';
import { gntst } from '../abi/gntst.js';
import type { RingFormat } from '../abi/ring.js';
import { asGrantRef, asPort } from '../abi/units.js';
import { Cleanup } from '../domain/cleanup.js';
import type { Clock } from '../domain/clock.js';
import type { EventChannel } from '../domain/event-channels.js';
import type { Page } from '../domain/grant-table.js';
import { GrantError, PeerFault, XenError } from '../errors.js';
import { Credit } from './credit.js';
import type { DeviceInfo } from './device-info.js';
import type { HandshakeEnvironment } from './handshake.js';
import type { AnyValues } from './key-values.js';
import { PacketResponses } from './packet-responses.js';
import type { AnyProtocol } from './protocol.js';
import type { PumpOptions } from './pump-options.js';
import { Responses } from './responses.js';
import { listenTo, pumpOptionsOf } from './ring-channel.js';
import { abiOf, CHANNEL, type Wire, wiresOf } from './wires.js';

/** A backend's end of one ring. */
export interface BackPump {
  /** What its driver has taken and not answered. */
  readonly pending: number;
  /** What its driver has left on the ring, which is found again at each upcall. */
  readonly left?: number;
  upcall(): number;
  push?(): void;
  idle?(): Promise<void>;
  close(): void;
  abandon?(): void;
}

/** Where a queue's keys lie, and whether its rings are what an earlier life of this end has left. */
export interface BackRingsOptions {
  /** Below the frontend's directory. */
  readonly prefix: string;
  /** What was answered there, and not published, is published then (`Protocol.repeatable`). */
  readonly takesUp: boolean;
  /** Hears what callbacks throw that is no answer. */
  readonly onError: (error: unknown) => void;
}

/** The rings of a frontend's device, or of one of its queues, mapped, and their event channels, bound. */
export class BackRings implements Disposable {
  /** The ends that the driver is handed, by the names of their rings; the only ring of its class is `ring`. */
  readonly ends: Readonly<Record<string, BackPump>>;
  readonly #channels: { readonly channel: EventChannel; readonly pumps: readonly BackPump[] }[] = [];
  readonly #mapped = new Cleanup();
  #lied: (error: unknown) => void = () => {};

  /** @throws PeerFault when they cannot be: what the frontend wrote is at fault */
  constructor(
    { grants, channels }: HandshakeEnvironment,
    { otherend, otherendPath }: DeviceInfo,
    protocol: AnyProtocol,
    keys: AnyValues,
    { prefix, takesUp, onError }: BackRingsOptions,
  ) {
    const wires = wiresOf(protocol);
    const ends: Record<string, BackPump> = {};
    const split =
      protocol.rings !== undefined && wires.every(({ channel }) => Number(keys[`${prefix}${channel}`] ?? 0) !== 0);
    const groups = split ? wires.map((wire) => [wire]) : [wires];
    try {
      for (const group of groups) {
        const pages = group.map(({ ref }) => {
          const gref = Number(keys[`${prefix}${ref}`]);
          return this.#mapped.use(
            ofPeer(`${otherendPath}/${prefix}${ref}`, gref, (): Page => grants.map(otherend, [asGrantRef(gref)])),
          );
        });
        const name = `${prefix}${split ? group[0]?.channel : CHANNEL}`;
        const port = Number(keys[name] ?? 0);
        if (port === 0) throw new PeerFault(`${otherendPath}/${name} is missing`);
        const channel = this.#mapped.use(
          ofPeer(`${otherendPath}/${name}`, port, () => channels.bindInterdomain(otherend, asPort(port))),
        );
        const options = pumpOptionsOf(channel, group.length, onError);
        const pumps = group.map((wire, i) => {
          const pump = this.#pumpOf(wire, (pages[i] as Page).words, protocol, keys, takesUp, options);
          ends[wire.name ?? 'ring'] = pump;
          return pump;
        });
        this.#channels.push({ channel, pumps });
      }
    } catch (error) {
      this.#mapped[Symbol.dispose]();
      throw error;
    }
    this.ends = ends;
  }

  get pumps(): readonly BackPump[] {
    return this.#channels.flatMap(({ pumps }) => pumps);
  }

  /** Hands what comes to the driver, at once and at every upcall. @param lied hears what ends the link */
  listen(clock: Clock, lied: (error: unknown) => void): Subscription {
    this.#lied = lied;
    const upcalls = new Subscription();
    for (const { channel, pumps } of this.#channels) {
      // What a backend that died had answered, and not said.
      for (const pump of pumps) pump.push?.();
      upcalls.add(listenTo({ channel, pumps }, clock, lied));
    }
    return upcalls;
  }

  /** Answers that come from now on are dropped. */
  abandon(): void {
    for (const pump of this.pumps) {
      if (pump.abandon === undefined) pump.close();
      else pump.abandon();
    }
  }

  /** Unmaps the rings and unbinds the channels. */
  [Symbol.dispose](): void {
    this.#mapped[Symbol.dispose]();
  }

  #pumpOf(
    { format }: Wire,
    words: Int32Array,
    protocol: AnyProtocol,
    keys: AnyValues,
    takesUp: boolean,
    options: PumpOptions,
  ): BackPump {
    const abi = abiOf(keys);
    if (!('kind' in format)) {
      const ring = new BackRing(words, format as RingFormat<never, never, never>, {
        abi,
        ...(protocol.repeatable === true && { journal: takesUp ? 'takeUp' : 'begin' }),
      });
      return new Responses(ring, { ...options, refuse: protocol.refuse });
    }
    if (format.kind === 'packets') {
      const ring = new BackRing(words, format as RingFormat, { abi });
      return new PacketResponses(ring, format as RingFormat, format.packet, abi, options);
    }
    const unpaired = format as RingFormat as RingFormat<RingFormat['request'], RingFormat['response'], never>;
    return new Credit(new BackRing(words, unpaired, { abi }), { ...options, onLie: (error) => this.#lied(error) });
  }
}

/** Uses a number that the peer wrote. @throws PeerFault when it is the number that is wrong */
const ofPeer = <T>(what: string, found: number, use: () => T): T => {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof XenError) || isShortage(error)) throw error;
    throw new PeerFault(what, `${found} (${error.message})`);
  }
};

/** Whether this end ran out of something. */
const isShortage = (error: XenError): boolean =>
  error instanceof GrantError
    ? error.status === gntst.no_device_space || error.status === gntst.no_space
    : error.code === 'ENOMEM' || error.code === 'ENOSPC';
