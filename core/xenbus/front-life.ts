import { BehaviorSubject, Subscription } from 'rxjs';
import { FrontRing } from '../abi/front-ring.js';
import { Cleanup } from '../domain/cleanup.js';
import type { EventChannel } from '../domain/event-channels.js';
import type { SharedPage } from '../domain/grant-table.js';
import { subscribeLateEoi } from '../domain/late-eoi.js';
import type { DeviceInfo } from './device-info.js';
import { disposeOf } from './dispose-of.js';
import type { FrontLink } from './front-link.js';
import type { HandshakeEnvironment } from './handshake.js';
import type { AnyValues } from './key-values.js';
import { LinkPages } from './link-pages.js';
import type { AnyProtocol } from './protocol.js';
import { Requests } from './requests.js';

/** What a frontend holds of one life of its device, from sharing its ring until the backend has let go of it. */
export class FrontLife {
  readonly #environment: HandshakeEnvironment;
  readonly #device: DeviceInfo;
  readonly #protocol: AnyProtocol;
  readonly #own: AnyValues;
  readonly #toolstack: AnyValues;
  readonly #page: SharedPage;
  readonly #channel: EventChannel;
  readonly #requests: Requests<AnyProtocol['ring']['request'], AnyProtocol['ring']['response']>;
  /** What the backend wrote; the same object for as long as the life lasts. */
  readonly #peer: Record<string, unknown> = {};
  readonly #peer$ = new BehaviorSubject<AnyValues>({});
  /** What the driver shares besides the ring. */
  readonly #pages: LinkPages;
  /** What the driver made of the link; undone when Connected is left. */
  readonly #link = new Cleanup();
  /** Ring and channel; undone when the backend is Closed. */
  readonly #shared = new Cleanup();

  /** Shares a zeroed ring and allocates a channel. @throws XenError ENOMEM, ENOSPC */
  constructor(
    environment: HandshakeEnvironment,
    device: DeviceInfo,
    protocol: AnyProtocol,
    keys: { readonly own: AnyValues; readonly toolstack: AnyValues },
    onError: (error: unknown) => void,
  ) {
    this.#environment = environment;
    this.#device = device;
    this.#protocol = protocol;
    this.#own = keys.own;
    this.#toolstack = keys.toolstack;
    const { grants, channels, abi } = environment;
    this.#pages = new LinkPages(grants, device.otherend);
    this.#page = this.#shared.use(grants.share(device.otherend));
    try {
      this.#channel = this.#shared.use(channels.allocUnbound(device.otherend));
    } catch (error) {
      this.#shared[Symbol.dispose]();
      throw error;
    }
    const channel = this.#channel;
    this.#requests = new Requests(new FrontRing(this.#page.words, protocol.ring, { abi }), {
      notify: () => channel.notify(),
      again: () => channel.retrigger(),
      linger: (isThere) => channel.linger(isThere),
      onError,
    });
  }

  /** The texts of the keys that name ring and channel. */
  get texts(): ReadonlyMap<string, string> {
    return new Map([
      ['ring-ref', String(this.#page.ref)],
      ['event-channel', String(this.#channel.port)],
      ['protocol', this.#environment.abi],
    ]);
  }

  /** What the driver is handed. */
  link(close: () => Promise<void>): FrontLink<AnyProtocol> {
    const subscription = new Subscription();
    this.#link.add(() => subscription.unsubscribe());
    return {
      protocol: this.#protocol,
      ring: this.#requests,
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

  /** Hands the ring's responses out, at once and at every upcall. @param lied hears what ends the link */
  listen(device: unknown, lied: (error: unknown) => void): void {
    this.#link.add(() => disposeOf(device));
    const upcalls = subscribeLateEoi(this.#channel, this.#environment.clock, () => {
      try {
        return this.#requests.upcall() > 0;
      } catch (error) {
        lied(error);
        return true;
      }
    });
    this.#link.add(() => upcalls.unsubscribe());
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
    this.#requests.close(why);
    this.#link[Symbol.dispose]();
    this.#peer$.complete();
  }

  /** Ends the grants that still stand, the ring's last, and closes the channel. */
  release(): void {
    this.#pages.release();
    this.#shared[Symbol.dispose]();
  }
}
