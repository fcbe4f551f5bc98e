import { Subscription } from 'rxjs';
import { BackRing } from '../abi/back-ring.js';
import { gntst } from '../abi/gntst.js';
import { type Abi, abis } from '../abi/layout.js';
import { asGrantRef, asPort, type GrantRef, type Port } from '../abi/units.js';
import { Cleanup } from '../domain/cleanup.js';
import type { Clock } from '../domain/clock.js';
import type { EventChannel } from '../domain/event-channels.js';
import type { Page } from '../domain/grant-table.js';
import { subscribeLateEoi } from '../domain/late-eoi.js';
import { GrantError, PeerFault, XenError } from '../errors.js';
import type { DeviceInfo } from './device-info.js';
import type { HandshakeEnvironment } from './handshake.js';
import type { AnyValues } from './key-values.js';
import { oneOf, uint } from './keys.js';
import { PeerGrants } from './peer-grants.js';
import type { AnyProtocol } from './protocol.js';
import { Responses } from './responses.js';

/** What every frontend with one ring writes. */
export const ringKeys = {
  'ring-ref': uint<GrantRef>({ max: 0xffffffff }),
  'event-channel': uint<Port>({ min: 1, max: 0xffffffff }),
  protocol: oneOf(abis, { default: 'x86_64-abi' }),
} as const;

type AnyResponses = Responses<AnyProtocol['ring']['request'], AnyProtocol['ring']['response']>;

/** A frontend's ring, mapped, and its event channel, bound. */
export interface MappedRing {
  readonly channel: EventChannel;
  readonly responses: AnyResponses;
  readonly grants: PeerGrants;
}

/** What a backend holds of one life of its device, from its offer until the frontend is Closed. */
export class BackLife {
  readonly toolstack: AnyValues;
  /** Offered and published values; the same object for as long as the life lasts. */
  readonly own: Record<string, unknown> = {};
  /** The driver's. */
  readonly subscription = new Subscription();
  /** What the driver made of the link; undone when Connected is left. */
  readonly link = new Cleanup();
  /** Whether `publish` has said something that is not in the store yet. */
  unpublished = false;
  readonly #mapped = new Cleanup();
  #upcalls = Subscription.EMPTY;
  #responses: AnyResponses | undefined;
  #quiet = false;

  constructor(toolstack: AnyValues) {
    this.toolstack = toolstack;
  }

  /** Whether the link has ended: nothing more is handed to the driver. */
  get quiet(): boolean {
    return this.#quiet;
  }

  /** Requests that the driver has not answered. */
  get pending(): number {
    return this.#responses?.pending ?? 0;
  }

  /**
   * Maps the ring and binds the channel that the frontend's keys name.
   * @throws PeerFault when they cannot be: what the frontend wrote is at fault
   */
  map(
    { grants, channels }: HandshakeEnvironment,
    { otherend, otherendPath }: DeviceInfo,
    { ring, refuse, repeatable }: AnyProtocol,
    keys: AnyValues,
    onError: (error: unknown) => void,
  ): MappedRing {
    const [ref, port] = [Number(keys['ring-ref']), Number(keys['event-channel'])];
    const page = this.#mapped.use(
      ofPeer(`${otherendPath}/ring-ref`, ref, (): Page => grants.map(otherend, [asGrantRef(ref)])),
    );
    const channel = this.#mapped.use(
      ofPeer(`${otherendPath}/event-channel`, port, () => channels.bindInterdomain(otherend, asPort(port))),
    );
    const abi: Abi = abis.find((known) => known === keys.protocol) ?? 'x86_64-abi';
    const responses: AnyResponses = new Responses(new BackRing(page.words, ring, { abi, journal: repeatable }), {
      notify: () => channel.notify(),
      again: () => channel.retrigger(),
      linger: (isThere) => channel.linger(isThere),
      refuse,
      onError,
    });
    this.#responses = responses;
    return { channel, responses, grants: this.#mapped.use(new PeerGrants(grants, otherend)) };
  }

  /** Hands the ring's requests to the driver, at once and at every upcall. @param lied hears what ends the link */
  listen({ channel, responses }: MappedRing, clock: Clock, lied: (error: unknown) => void): void {
    // What a backend that died had answered, and not said.
    responses.push();
    this.#upcalls = subscribeLateEoi(channel, clock, () => {
      try {
        return responses.upcall() > 0 || responses.left > 0;
      } catch (error) {
        lied(error);
        return true;
      }
    });
  }

  /** No more upcalls; what the driver made of the link is disposed of. */
  stop(): void {
    this.#upcalls.unsubscribe();
    this.link[Symbol.dispose]();
  }

  /** Resolves when the driver owes no more answers. */
  async idle(): Promise<void> {
    await this.#responses?.idle();
  }

  /** Ends the link: answers that come from now on are dropped. */
  end(): void {
    this.#quiet = true;
    this.#responses?.abandon();
    this.subscription.unsubscribe();
  }

  /** Unmaps the ring and unbinds the channel. */
  unmap(): void {
    this.#mapped[Symbol.dispose]();
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
