import { BehaviorSubject, filter, map, type Observable, Subscription } from 'rxjs';
import { FrontRing } from '../abi/front-ring.js';
import { Cleanup } from '../domain/cleanup.js';
import type { EventChannel } from '../domain/event-channels.js';
import { Disconnected } from '../errors.js';
import type { DeviceInfo } from './device-info.js';
import { disposeOf } from './dispose-of.js';
import type { Frontend } from './driver.js';
import { Handshake, type HandshakeEnvironment } from './handshake.js';
import { type AnyValues, readKeys, showKeys, withDefaults } from './key-values.js';
import { PeerGrants } from './peer-grants.js';
import type { AnyProtocol } from './protocol.js';
import { Requests } from './requests.js';
import { type FrontState, type FrontStep, frontendTable, type Wait, type XenbusState } from './states.js';

/** What a frontend holds from sharing its ring until the backend has let go of it. */
interface Life {
  readonly channel: EventChannel;
  readonly requests: Requests<AnyProtocol['ring']['request'], AnyProtocol['ring']['response']>;
  readonly own: AnyValues;
  readonly toolstack: AnyValues;
  /** The link as the driver has it; undone when Connected is left. */
  readonly link: Cleanup;
  /** Ring and channel, and what the driver shares besides; undone when the backend is Closed. */
  readonly shared: Cleanup;
}

const isFrontState = (state: XenbusState): state is FrontState => Object.hasOwn(frontendTable, state);

/** Runs a frontend's side of the handshake: one connection for each time that the backend connects. */
export class FrontHandshake<T> extends Handshake<FrontStep> {
  readonly #protocol: AnyProtocol;
  readonly #driver: Frontend<AnyProtocol, T>;
  readonly #connection$ = new BehaviorSubject<{ readonly device: T } | undefined>(undefined);
  readonly #peer$ = new BehaviorSubject<AnyValues>({});
  #life: Life | undefined;
  #begun = false;
  #closing = false;
  /** This end closes only what an earlier life left, and goes on from there. */
  #comeBack = false;

  constructor(
    environment: HandshakeEnvironment,
    device: DeviceInfo,
    protocol: AnyProtocol,
    driver: Frontend<AnyProtocol, T>,
  ) {
    super(environment, device);
    this.#protocol = protocol;
    this.#driver = driver;
  }

  /** One value for each handshake, the standing one at once; completes when the device ends. */
  get connections$(): Observable<T> {
    return this.#connection$.pipe(
      filter((connection) => connection !== undefined),
      map((connection) => connection.device),
    );
  }

  /** Closes the device for good: resolves when the backend has let go and all is given back. */
  close(): Promise<void> {
    this.#closing = true;
    this.wake();
    return this.ended;
  }

  protected override decide(own: XenbusState, other: XenbusState): FrontStep | Wait | undefined {
    const begins = !this.#begun;
    this.#begun = true;
    // What an earlier life left in the store, or nobody writes.
    if (!isFrontState(own) || (begins && own !== 'Initialising')) return 'restart';
    if (this.#closing && own !== 'Closing' && own !== 'Closed') return 'close';
    return frontendTable[own][other];
  }

  protected override async take(step: FrontStep, own: XenbusState, other: XenbusState): Promise<boolean> {
    switch (step) {
      case 'share':
        return this.#share();
      case 'connect':
        return this.#connect();
      case 'stay':
        await this.#readAgain();
        return false;
      case 'close':
        this.#comeBack = own === 'Initialising' && !this.#closing;
        this.#leave(new Disconnected(`${this.device.path} is closing`));
        return this.switchState(own, 'Closing');
      case 'closed':
        this.#leave(new Disconnected(`${this.device.path}: the backend closed`));
        return this.switchState(own, 'Closed');
      case 'release':
        this.#release();
        if (this.#closing) this.finish();
        // A backend that closed for its own reasons begins anew by itself, or not at all.
        if (this.#closing || (other === 'Closed' && !this.#comeBack)) return false;
        return this.switchState(own, 'Initialising');
      case 'restart':
        this.#leave(new Disconnected(`${this.device.path}: the backend vanished`));
        this.#release();
        return this.switchState(own, 'Initialising');
    }
  }

  protected override async fail(error: unknown, own: XenbusState): Promise<void> {
    this.#leave(error instanceof Error ? error : new Error(String(error)));
    await this.writeError(error);
    if (own !== 'Closing' && own !== 'Closed') await this.switchState(own, 'Closing');
  }

  protected override abandon(): void {
    this.#leave(new Disconnected(`${this.device.path} is gone`));
    this.#release();
    this.#connection$.complete();
    this.#peer$.complete();
  }

  async #share(): Promise<boolean> {
    const { store, channels, grants, abi } = this.environment;
    const { path, otherend, otherendPath } = this.device;
    const { keys, ring } = this.#protocol;
    const offered = await readKeys(store, otherendPath, keys.backend?.InitWait ?? {});
    const toolstack = await readKeys(store, path, keys.toolstack?.frontend ?? {});
    const ownKeys = keys.frontend?.Initialised ?? {};
    const values = this.#driver.negotiate?.({ offered, toolstack, device: this.device }) ?? {};
    const texts = showKeys(path, ownKeys, values);
    if (this.stopped) return false;
    const shared = new Cleanup();
    try {
      const page = shared.use(grants.share(otherend));
      const channel = shared.use(channels.allocUnbound(otherend));
      const written = await this.switchState('Initialising', 'Initialised', async (to) => {
        await to.write(`${path}/ring-ref`, String(page.ref));
        await to.write(`${path}/event-channel`, String(channel.port));
        await to.write(`${path}/protocol`, abi);
        for (const [name, text] of texts) await to.write(`${path}/${name}`, text);
      });
      if (!written || this.stopped) {
        shared[Symbol.dispose]();
        return written;
      }
      const requests = new Requests(new FrontRing(page.words, ring, { abi }), {
        notify: () => channel.notify(),
        onError: (error) => this.reportError(error),
      });
      this.#life = { channel, requests, own: withDefaults(ownKeys, values), toolstack, link: new Cleanup(), shared };
      return true;
    } catch (error) {
      shared[Symbol.dispose]();
      throw error;
    }
  }

  async #connect(): Promise<boolean> {
    const life = this.#life;
    if (life === undefined) return this.switchState('Initialised', 'Initialising');
    const peer = await this.#readPeer();
    if (this.stopped) return false;
    const { channel, requests, own, toolstack, link, shared } = life;
    const subscription = new Subscription();
    link.add(() => subscription.unsubscribe());
    const released = new Subscription();
    shared.add(() => released.unsubscribe());
    const grants = link.use(new PeerGrants(this.environment.grants, this.device.otherend));
    this.#peer$.next(peer);
    const peer$ = this.#peer$;
    const device = this.#driver.connect({
      protocol: this.#protocol,
      ring: requests,
      grants,
      get peer() {
        return peer$.value;
      },
      peer$: peer$.asObservable(),
      own,
      toolstack,
      device: this.device,
      subscription,
      released,
      close: () => this.close(),
    });
    link.add(() => disposeOf(device));
    const upcalls = channel.subscribe(() => {
      try {
        requests.upcall();
      } catch (error) {
        this.#leave(error instanceof Error ? error : new Error(String(error)));
        this.raise(error);
      }
    });
    link.add(() => upcalls.unsubscribe());
    if (!(await this.switchState('Initialised', 'Connected'))) return true;
    if (this.#life === life && !this.faulty) this.#connection$.next({ device });
    return true;
  }

  async #readAgain(): Promise<void> {
    if (this.#life === undefined) return;
    const peer = await this.#readPeer();
    const known = this.#peer$.value;
    if (Object.entries(peer).some(([name, value]) => known[name] !== value)) this.#peer$.next(peer);
  }

  #readPeer(): Promise<AnyValues> {
    const { InitWait, Connected } = this.#protocol.keys.backend ?? {};
    return readKeys(this.environment.store, this.device.otherendPath, { ...InitWait, ...Connected });
  }

  /** Ends the link: upcalls first, then what is outstanding, then the driver's device and subscriptions. */
  #leave(why: Error): void {
    if (this.#life === undefined) return;
    this.guard(() => this.#life?.link[Symbol.dispose]());
    this.#life.requests.close(why);
    if (this.#connection$.value !== undefined) this.#connection$.next(undefined);
  }

  #release(): void {
    const life = this.#life;
    this.#life = undefined;
    this.guard(() => life?.shared[Symbol.dispose]());
  }
}
