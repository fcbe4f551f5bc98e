import { BehaviorSubject, filter, map, type Observable, Subject, Subscription } from 'rxjs';
import { FrontRing } from '../abi/front-ring.js';
import { asDomid } from '../abi/units.js';
import { Cleanup } from '../domain/cleanup.js';
import type { EventChannel } from '../domain/event-channels.js';
import { Disconnected, PeerFault } from '../errors.js';
import type { DeviceInfo } from './device-info.js';
import { disposeOf } from './dispose-of.js';
import type { Frontend } from './driver.js';
import {
  type FrontMemory,
  type FrontStep,
  frontAnswers,
  frontBeginning,
  frontDecision,
  frontSteps,
} from './front-table.js';
import { Handshake, type HandshakeEnvironment, type Look } from './handshake.js';
import { type AnyValues, readKeys, showKeys, withDefaults } from './key-values.js';
import { PeerGrants } from './peer-grants.js';
import type { AnyProtocol } from './protocol.js';
import { Requests } from './requests.js';
import type { Wait, XenbusState } from './states.js';

/** What a frontend holds from sharing its ring until the backend has let go of it. */
interface Life {
  readonly channel: EventChannel;
  readonly requests: Requests<AnyProtocol['ring']['request'], AnyProtocol['ring']['response']>;
  readonly own: AnyValues;
  readonly toolstack: AnyValues;
  /** What the backend wrote, once it is Connected. */
  readonly peer$: BehaviorSubject<AnyValues>;
  /** The link as the driver has it; undone when Connected is left. */
  readonly link: Cleanup;
  /** Ring and channel; undone when the backend is Closed. */
  readonly shared: Cleanup;
}

/** Runs a frontend's side of the handshake: one connection for each time that the backend connects. */
export class FrontHandshake<T> extends Handshake<FrontStep> {
  readonly #protocol: AnyProtocol;
  readonly #driver: Frontend<AnyProtocol, T>;
  readonly #connection$ = new BehaviorSubject<{ readonly device: T } | undefined>(undefined);
  readonly #failures$ = new Subject<Error>();
  #memory: FrontMemory = frontBeginning;
  #life: Life | undefined;

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

  /** Why the device stands closed without having been asked to; completes when the device ends. */
  get failures$(): Observable<Error> {
    return this.#failures$.asObservable();
  }

  override get closing(): boolean {
    return this.#memory.closing;
  }

  /** Closes the device for good: resolves when the backend has let go and all is given back. */
  close(): Promise<void> {
    this.#memory = { ...this.#memory, closing: true };
    this.wake();
    return this.ended;
  }

  protected override async decide({ own, other }: Look): Promise<FrontStep | Wait | undefined> {
    // The toolstack made the device anew, perhaps with a backend in another domain.
    if (own === 'Initialising' && (await this.#moved())) {
      this.#leave(new Disconnected(`${this.device.path} was made anew`));
      this.#release();
      return this.decide({ own, other: await this.otherState() });
    }
    const { does, memory } = frontDecision(this.#memory, own, other);
    this.#memory = memory;
    return does;
  }

  protected override async take(step: FrontStep, look: Look): Promise<boolean> {
    const { path } = this.device;
    switch (step) {
      case 'share':
        return this.#share(look);
      case 'connect':
        return this.#connect();
      case 'stay':
        await this.#readAgain();
        return false;
      case 'close':
        if (this.closing) this.#leave(new Disconnected(`${path} was closed`));
        else this.#closedByBackend();
        break;
      case 'reset':
        this.#leave(new Disconnected(`${path} closes what was left there`));
        break;
      case 'closed':
        if (look.own !== 'Closing') this.#closedByBackend();
        break;
      case 'release':
        this.#release();
        if (this.closing) this.finish();
        return false;
      case 'again':
        this.#release();
        break;
      case 'restart':
        this.#leave(new Disconnected(`${path}: its backend has gone`));
        this.#release();
        break;
    }
    return this.#move(step, look);
  }

  protected override fail(error: unknown): void {
    const reason = error instanceof Error ? error : new Error(String(error));
    this.#leave(reason);
    this.#failures$.next(reason);
  }

  protected override abandon(): void {
    this.#leave(new Disconnected(`${this.device.path} is gone`));
    this.#release();
    this.#connection$.complete();
    this.#failures$.complete();
  }

  protected override busyWith(): string {
    return 'the store to answer';
  }

  /** Whether the other end is not, or no longer, the one that this life was shared with. */
  async #moved(): Promise<boolean> {
    const { store } = this.environment;
    const { path, otherend, otherendPath } = this.device;
    const backend = await store.read(`${path}/backend`);
    const id = await store.read(`${path}/backend-id`);
    const moved = backend !== undefined && id !== undefined && (backend !== otherendPath || id !== String(otherend));
    if (moved) {
      if (!/^[0-9]{1,5}$/.test(id)) throw new PeerFault(`${path}/backend-id`, JSON.stringify(id));
      this.moveTo({ ...this.device, otherend: asDomid(Number(id)), otherendPath: backend });
    }
    return moved || this.#life !== undefined;
  }

  /** Writes the state that a step leads to; whether to look again at once. */
  async #move(
    step: FrontStep,
    look: Look,
    also?: Parameters<Handshake<FrontStep>['switchState']>[2],
  ): Promise<boolean> {
    const to: XenbusState | undefined = frontSteps[step];
    if (to === undefined) return false;
    await this.switchState(
      look.own,
      to,
      also,
      frontAnswers.has(step) ? async (store) => (await this.otherState(store)) === look.other : undefined,
    );
    return true;
  }

  async #share(look: Look): Promise<boolean> {
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
      const requests = new Requests(new FrontRing(page.words, ring, { abi }), {
        notify: () => channel.notify(),
        onError: (error) => this.reportError(error),
      });
      let written = false;
      await this.#move('share', look, async (to) => {
        await to.write(`${path}/ring-ref`, String(page.ref));
        await to.write(`${path}/event-channel`, String(channel.port));
        await to.write(`${path}/protocol`, abi);
        for (const [name, text] of texts) await to.write(`${path}/${name}`, text);
        written = true;
      });
      if (!written || this.stopped) {
        shared[Symbol.dispose]();
        return true;
      }
      const peer$ = new BehaviorSubject<AnyValues>({});
      const own = withDefaults(ownKeys, values);
      this.#life = { channel, requests, own, toolstack, peer$, link: new Cleanup(), shared };
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
    if (this.#life !== life) return true;
    const { channel, requests, own, toolstack, link, peer$ } = life;
    peer$.next(peer);
    const grants = link.use(new PeerGrants(this.environment.grants, this.device.otherend));
    const subscription = new Subscription();
    link.add(() => subscription.unsubscribe());
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
    const life = this.#life;
    if (life === undefined) return;
    const peer = await this.#readPeer();
    const known = life.peer$.value;
    if (this.#life === life && Object.entries(peer).some(([name, value]) => known[name] !== value))
      life.peer$.next(peer);
  }

  #readPeer(): Promise<AnyValues> {
    const { InitWait, Connected } = this.#protocol.keys.backend ?? {};
    return readKeys(this.environment.store, this.device.otherendPath, { ...InitWait, ...Connected });
  }

  #closedByBackend(): void {
    const why = new Disconnected(`${this.device.path} was closed by its backend, whose log says why`);
    this.#leave(why);
    this.#failures$.next(why);
  }

  /** Ends the link: what is outstanding is rejected first, then the driver's device and subscriptions end. */
  #leave(why: Error): void {
    const life = this.#life;
    if (life === undefined) return;
    this.guard(() => life.requests.close(why));
    this.guard(() => life.link[Symbol.dispose]());
    this.guard(() => life.peer$.complete());
    if (this.#connection$.value !== undefined) this.#connection$.next(undefined);
  }

  #release(): void {
    const life = this.#life;
    if (life === undefined) return;
    this.#leave(new Disconnected(`${this.device.path} is closed`));
    this.#life = undefined;
    this.guard(() => life.shared[Symbol.dispose]());
  }
}
