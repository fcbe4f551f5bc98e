import { Subscription } from 'rxjs';
import { Cleanup } from '../domain/cleanup.js';
import type { Clock } from '../domain/clock.js';
import { PeerFault } from '../errors.js';
import { BackRings } from './back-rings.js';
import type { DeviceInfo } from './device-info.js';
import type { HandshakeEnvironment } from './handshake.js';
import type { AnyValues } from './key-values.js';
import { PeerGrants } from './peer-grants.js';
import type { AnyProtocol } from './protocol.js';
import { prefixOf } from './wires.js';

/** A frontend's rings, mapped, and its event channels, bound. */
export interface MappedRings {
  /** One for each queue, one for all rings of a class without queues. */
  readonly queues: readonly BackRings[];
  readonly grants: PeerGrants;
}

/** What a backend holds of one life of its device, from its offer until the frontend is Closed. */
export class BackLife {
  readonly toolstack: AnyValues;
  readonly takesUp: boolean;
  /** Offered and published values; the same object for as long as the life lasts. */
  readonly own: Record<string, unknown> = {};
  /** The driver's. */
  readonly subscription = new Subscription();
  /** What the driver made of the link; undone when Connected is left. */
  readonly link = new Cleanup();
  /** Whether `publish` has said something that is not in the store yet. */
  unpublished = false;
  readonly #mapped = new Cleanup();
  #upcalls = new Subscription();
  #queues: readonly BackRings[] = [];
  #quiet = false;

  /** @param takesUp whether it goes on with rings that an earlier life of this end has left, instead of an offer */
  constructor(toolstack: AnyValues, { takesUp = false }: { readonly takesUp?: boolean } = {}) {
    this.toolstack = toolstack;
    this.takesUp = takesUp;
  }

  /** Whether the link has ended: nothing more is handed to the driver. */
  get quiet(): boolean {
    return this.#quiet;
  }

  /** Requests that the driver has not answered. */
  get pending(): number {
    let pending = 0;
    for (const { pumps } of this.#queues) for (const pump of pumps) pending += pump.pending;
    return pending;
  }

  /**
   * How many queues a frontend has chosen.
   * @throws PeerFault for none, or more than were offered (CVE-2026-45890)
   */
  queuesOf({ otherendPath }: DeviceInfo, { queues }: AnyProtocol, peer: AnyValues): number {
    if (queues === undefined) return 1;
    const chosen = Number(peer[queues.chosen]);
    if (!(chosen >= 1 && chosen <= Number(this.own[queues.offered])))
      throw new PeerFault(`${otherendPath}/${queues.chosen}`, `${chosen}, with ${this.own[queues.offered]} offered`);
    return chosen;
  }

  /**
   * Maps the rings and binds the channels that the frontend's keys name.
   * @throws PeerFault when they cannot be: what the frontend wrote is at fault
   */
  map(
    environment: HandshakeEnvironment,
    device: DeviceInfo,
    protocol: AnyProtocol,
    keys: AnyValues,
    queues: number,
    onError: (error: unknown) => void,
  ): MappedRings {
    const mapped: BackRings[] = [];
    this.#queues = mapped;
    for (let queue = 0; queue < queues; queue++) {
      const prefix = prefixOf(queue, queues);
      const options = { prefix, takesUp: this.takesUp, onError };
      mapped.push(this.#mapped.use(new BackRings(environment, device, protocol, keys, options)));
    }
    return { queues: mapped, grants: this.#mapped.use(new PeerGrants(environment.grants, device.otherend)) };
  }

  /** Hands what comes on the rings to the driver, at once and at every upcall. @param lied hears what ends the link */
  listen({ queues }: MappedRings, clock: Clock, lied: (error: unknown) => void): void {
    for (const rings of queues) this.#upcalls.add(rings.listen(clock, lied));
  }

  /** No more upcalls; what the driver made of the link is disposed of. */
  stop(): void {
    this.#upcalls.unsubscribe();
    this.link[Symbol.dispose]();
  }

  /** Resolves when the driver owes no more answers. */
  async idle(): Promise<void> {
    await Promise.all(this.#queues.flatMap(({ pumps }) => pumps.map((pump) => pump.idle?.())));
  }

  /** Ends the link: answers that come from now on are dropped. */
  end(): void {
    this.#quiet = true;
    for (const rings of this.#queues) rings.abandon();
    this.subscription.unsubscribe();
  }

  /** Unmaps the rings and unbinds the channels. */
  unmap(): void {
    this.#mapped[Symbol.dispose]();
  }
}
