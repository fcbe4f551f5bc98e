import { firstValueFrom, from, race, Subscription } from 'rxjs';
import { BackRing } from '../abi/back-ring.js';
import { abis } from '../abi/layout.js';
import { asGrantRef, asPort } from '../abi/units.js';
import { Cleanup } from '../domain/cleanup.js';
import type { EventChannel } from '../domain/event-channels.js';
import type { DeviceInfo } from './device-info.js';
import { disposeOf } from './dispose-of.js';
import type { Backend } from './driver.js';
import { Handshake, type HandshakeEnvironment } from './handshake.js';
import { type AnyValues, readKeys, showKeys, withDefaults } from './key-values.js';
import { oneOf, uint } from './keys.js';
import { PeerGrants } from './peer-grants.js';
import type { AnyProtocol } from './protocol.js';
import { Responses } from './responses.js';
import { type BackState, type BackStep, backendTable, type Wait, type XenbusState } from './states.js';

/** How long a backend that closes waits for answers that its driver still owes, in milliseconds (netback drains as long). */
export const DRAIN_TIMEOUT = 10_000;

const ringKeys = {
  'ring-ref': uint({ max: 0xffffffff }),
  'event-channel': uint({ min: 1, max: 0xffffffff }),
  protocol: oneOf(abis, { default: 'x86_64-abi' }),
} as const;

/** What a backend holds from its offer until the frontend is Closed. */
interface Life {
  readonly toolstack: AnyValues;
  /** Offered and published values. */
  own: AnyValues;
  /** The driver's; ended when Connected is left. */
  readonly subscription: Subscription;
  /** What the driver made of the link, and the upcalls; undone when Connected is left. */
  readonly link: Cleanup;
  responses: Responses<AnyProtocol['ring']['request'], AnyProtocol['ring']['response']> | undefined;
  /** Ring and channel; undone when the frontend is Closed, after the last answer. */
  readonly mapped: Cleanup;
  /** Whether `publish` has said something that is not in the store yet. */
  unpublished: boolean;
}

const isBackState = (state: XenbusState): state is BackState => Object.hasOwn(backendTable, state);

/** Runs a backend's side of the handshake: one link for each time that the frontend connects. */
export class BackHandshake extends Handshake<BackStep> {
  readonly #protocol: AnyProtocol;
  readonly #driver: Backend<AnyProtocol>;
  /** Values that the domain was started with, over what the driver offers. */
  readonly #overrides: AnyValues;
  #life: Life | undefined;
  #begun = false;
  #destroyed = false;
  /** The frontend's state when an offer failed: while it stands, another offer would fail alike, and at once. */
  #refusedIn: XenbusState | undefined;

  constructor(
    environment: HandshakeEnvironment,
    device: DeviceInfo,
    protocol: AnyProtocol,
    driver: Backend<AnyProtocol>,
    overrides: AnyValues = {},
  ) {
    super(environment, device);
    this.#protocol = protocol;
    this.#driver = driver;
    this.#overrides = overrides;
  }

  protected override async decide(own: XenbusState, other: XenbusState): Promise<BackStep | Wait | undefined> {
    const begins = !this.#begun;
    this.#begun = true;
    if (!isBackState(own)) return undefined;
    if (own === 'Initialising') this.#destroyed = false;
    if (this.#destroyed) return undefined;
    // The toolstack writes Closing too.
    if (own === 'Closing' || own === 'Closed') await this.#quiesce();
    const online = (await this.environment.store.read(`${this.device.path}/online`)) !== '0';
    if (own === 'Closed' && !online) return 'destroy';
    // What an earlier life left in the store.
    if (begins && online && other !== 'Unknown') return 'offer';
    if (own === 'Connected' && this.#life?.unpublished === true) {
      await this.#publishAgain(this.#life);
      return undefined;
    }
    if (other !== this.#refusedIn) this.#refusedIn = undefined;
    else if (own === 'Closed') return undefined;
    return backendTable[own][other];
  }

  protected override async take(step: BackStep, own: XenbusState, other: XenbusState): Promise<boolean> {
    switch (step) {
      case 'offer':
        this.#release();
        try {
          return await this.#offer(own);
        } catch (error) {
          this.#refusedIn = other;
          throw error;
        }
      case 'connect':
        return this.#connect();
      case 'stay':
        return false;
      case 'close':
        await this.#quiesce();
        return this.switchState(own, 'Closing');
      case 'disconnect':
        await this.#quiesce();
        this.#release();
        return this.switchState(own, 'Closed');
      case 'destroy':
        await this.#quiesce();
        this.#release();
        this.#destroyed = true;
        if (own !== 'Closed') await this.switchState(own, 'Closed');
        return false;
    }
  }

  protected override async fail(error: unknown, own: XenbusState): Promise<void> {
    // Nothing that this frontend has said is relied on any longer, its ring least of all.
    this.#release();
    await this.writeError(error);
    if (own !== 'Closing' && own !== 'Closed') await this.switchState(own, 'Closing');
  }

  protected override abandon(): void {
    this.#release();
  }

  async #offer(own: XenbusState): Promise<boolean> {
    const { store } = this.environment;
    const { path } = this.device;
    const { keys } = this.#protocol;
    const toolstack = await readKeys(store, path, keys.toolstack?.backend ?? {});
    if (this.stopped) return false;
    const subscription = new Subscription();
    const life: Life = {
      toolstack,
      own: {},
      subscription,
      link: new Cleanup(),
      responses: undefined,
      mapped: new Cleanup(),
      unpublished: false,
    };
    this.#life = life;
    const offerKeys = keys.backend?.InitWait ?? {};
    const values = {
      ...(await this.#driver.offer?.({ toolstack, device: this.device, subscription })),
      ...this.#overrides,
    };
    life.own = withDefaults(offerKeys, values);
    const texts = showKeys(path, offerKeys, values);
    return this.switchState(own, 'InitWait', async (to) => {
      for (const [name, text] of texts) await to.write(`${path}/${name}`, text);
    });
  }

  async #connect(): Promise<boolean> {
    const { store, channels, grants } = this.environment;
    const { path, otherend, otherendPath } = this.device;
    const { keys, ring, refuse } = this.#protocol;
    const life = this.#life;
    if (life === undefined) return this.#offer('InitWait');
    const frontend = await readKeys(store, otherendPath, { ...ringKeys, ...keys.frontend?.Initialised });
    if (this.stopped) return false;
    const { 'ring-ref': ref, 'event-channel': port, protocol: name, ...peer } = frontend;
    const abi = abis.find((known) => known === name) ?? 'x86_64-abi';
    const page = life.mapped.use(grants.map(otherend, [asGrantRef(Number(ref))]));
    const channel = life.mapped.use(channels.bindInterdomain(otherend, asPort(Number(port))));
    const responses = new Responses(new BackRing(page.words, ring, { abi }), {
      notify: () => channel.notify(),
      refuse,
      onError: (error) => this.reportError(error),
    });
    life.responses = responses;
    const peerGrants = life.mapped.use(new PeerGrants(grants, otherend));
    const result: unknown = await this.#driver.connect({
      protocol: this.#protocol,
      serve: (handler) => responses.serve(handler),
      drain: (handler) => responses.drain(handler),
      grants: peerGrants,
      toolstack: life.toolstack,
      get own() {
        return life.own;
      },
      peer,
      publish: (values) => {
        life.own = { ...life.own, ...values };
        life.unpublished = true;
        this.wake();
      },
      device: this.device,
      subscription: life.subscription,
    });
    life.link.add(() => disposeOf(result));
    if (this.#life !== life) return true;
    const texts = this.#published(life);
    const written = await this.switchState('InitWait', 'Connected', async (to) => {
      for (const [name, text] of texts) await to.write(`${path}/${name}`, text);
    });
    if (written && this.#life === life) this.#listen(life, channel, responses);
    return true;
  }

  /** The link's data path: one call per upcall, and the only place where the peer's lies come up. */
  #listen(
    life: Life,
    channel: EventChannel,
    responses: Responses<AnyProtocol['ring']['request'], AnyProtocol['ring']['response']>,
  ): void {
    const upcalls = channel.subscribe(() => {
      try {
        responses.upcall();
      } catch (error) {
        this.#release();
        this.raise(error);
      }
    });
    life.link.add(() => upcalls.unsubscribe());
  }

  #published(life: Life): ReadonlyMap<string, string> {
    const connectedKeys = this.#protocol.keys.backend?.Connected ?? {};
    life.own = withDefaults(connectedKeys, life.own);
    life.unpublished = false;
    const values = Object.fromEntries(Object.entries(life.own).filter(([name]) => Object.hasOwn(connectedKeys, name)));
    return showKeys(this.device.path, connectedKeys, values);
  }

  async #publishAgain(life: Life): Promise<void> {
    const texts = this.#published(life);
    await this.switchState('Connected', 'Connected', async (to) => {
      for (const [name, text] of texts) await to.write(`${this.device.path}/${name}`, text);
    });
  }

  /** Leaves Connected: upcalls stop, answers that are owed are waited for, then the driver's link ends. */
  async #quiesce(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    this.guard(() => life.link[Symbol.dispose]());
    const { responses } = life;
    if (responses !== undefined && responses.pending > 0) {
      const idle = await firstValueFrom(
        race(from(responses.idle().then(() => true)), from(this.timeout(DRAIN_TIMEOUT).then(() => false))),
      );
      if (!idle)
        this.report(
          'warning',
          `${responses.pending} requests are still not answered after ${DRAIN_TIMEOUT} ms: they are given up`,
        );
    }
    responses?.close();
    this.guard(() => life.subscription.unsubscribe());
  }

  /** Gives back all of this life at once. */
  #release(): void {
    const life = this.#life;
    if (life === undefined) return;
    this.#life = undefined;
    this.guard(() => life.link[Symbol.dispose]());
    life.responses?.close();
    this.guard(() => life.subscription.unsubscribe());
    this.guard(() => life.mapped[Symbol.dispose]());
  }
}
