import { BehaviorSubject, Subscription } from 'rxjs';
import { Cleanup } from '../domain/cleanup.js';
import type { DeviceInfo } from './device-info.js';
import { disposeOf } from './dispose-of.js';
import type { FrontLink } from './front-link.js';
import { FrontRings } from './front-rings.js';
import type { HandshakeEnvironment } from './handshake.js';
import type { AnyValues } from './key-values.js';
import { LinkPages } from './link-pages.js';
import type { AnyProtocol } from './protocol.js';
import type { Requests } from './requests.js';
import { prefixOf, wiresOf } from './wires.js';

type AnyRequests = Requests<AnyProtocol['ring']['request'], AnyProtocol['ring']['response'], string>;

/** What a frontend has decided on before it shares its rings. */
export interface FrontChoice {
  readonly own: AnyValues;
  readonly toolstack: AnyValues;
  /** How many queues there are, each of which has all of the rings. */
  readonly queues: number;
  /** Whether each ring has an event channel of its own. */
  readonly split: boolean;
}

/** What a frontend holds of one life of its device, from sharing its rings until the backend has let go of them. */
export class FrontLife {
  readonly #environment: HandshakeEnvironment;
  readonly #device: DeviceInfo;
  readonly #protocol: AnyProtocol;
  readonly #own: AnyValues;
  readonly #toolstack: AnyValues;
  readonly #queues: FrontRings[] = [];
  /** What the backend wrote; the same object for as long as the life lasts. */
  readonly #peer: Record<string, unknown> = {};
  readonly #peer$ = new BehaviorSubject<AnyValues>({});
  /** What the driver shares besides the rings. */
  readonly #pages: LinkPages;
  /** What the driver made of the link; undone when Connected is left. */
  readonly #link = new Cleanup();
  /** Rings and channels; undone when the backend is Closed. */
  readonly #shared = new Cleanup();
  /** Whether the driver has been handed the link. */
  connected = false;

  /** Shares zeroed rings and allocates their channels. @throws XenError ENOMEM, ENOSPC */
  constructor(
    environment: HandshakeEnvironment,
    device: DeviceInfo,
    protocol: AnyProtocol,
    { own, toolstack, queues, split }: FrontChoice,
    onError: (error: unknown) => void,
  ) {
    this.#environment = environment;
    this.#device = device;
    this.#protocol = protocol;
    this.#own = own;
    this.#toolstack = toolstack;
    this.#pages = new LinkPages(environment.grants, device.otherend);
    const wires = wiresOf(protocol);
    try {
      for (let queue = 0; queue < queues; queue++) {
        const options = { prefix: prefixOf(queue, queues), split, onError };
        this.#queues.push(this.#shared.use(new FrontRings(environment, device.otherend, wires, options)));
      }
    } catch (error) {
      this.#shared[Symbol.dispose]();
      throw error;
    }
  }

  /** The texts of the keys that name rings and channels. A class with several rings lays them out alike in every ABI, as netif does. */
  get texts(): ReadonlyMap<string, string> {
    const named = this.#queues.flatMap(({ texts }) => [...texts]);
    return new Map(this.#protocol.rings === undefined ? [...named, ['protocol', this.#environment.abi]] : named);
  }

  /** What the driver is handed. */
  link(close: () => Promise<void>): FrontLink<AnyProtocol> {
    const subscription = new Subscription();
    this.#link.add(() => subscription.unsubscribe());
    const [ends = {}]: readonly Readonly<Record<string, unknown>>[] = this.#queues.map((queue) => queue.ends);
    return {
      protocol: this.#protocol,
      // The only ring of a class that has one.
      ring: ends.ring as AnyRequests,
      ...ends,
      ...(this.#protocol.queues !== undefined && { queues: this.#queues.map((queue) => queue.ends) }),
      grants: this.#pages,
      peer: this.#peer,
      peer$: this.#peer$.asObservable(),
      own: this.#own,
      toolstack: this.#toolstack,
      device: this.#device,
      subscription,
      close,
    };
  }

  /** Hands what comes on the rings to the driver, at once and at every upcall. @param lied hears what ends the link */
  listen(device: unknown, lied: (error: unknown) => void): void {
    this.#link.add(() => disposeOf(device));
    for (const queue of this.#queues) {
      const upcalls = queue.listen(this.#environment.clock, lied);
      this.#link.add(() => upcalls.unsubscribe());
    }
  }

  /** What the backend wrote; emitted only when something in it has changed. */
  peerSays(values: AnyValues): void {
    if (Object.entries(values).every(([name, value]) => this.#peer[name] === value)) return;
    Object.assign(this.#peer, values);
    this.#peer$.next(values);
  }

  /** Ends the link: what is outstanding is rejected first, then the driver's device and subscriptions end. */
  leave(why: Error): void {
    this.#pages.leave();
    for (const queue of this.#queues) queue.close(why);
    this.#link[Symbol.dispose]();
    this.#peer$.complete();
  }

  /** Ends the grants that still stand, the ring's last, and closes the channels. */
  release(): void {
    this.#pages.release();
    this.#shared[Symbol.dispose]();
  }
}
