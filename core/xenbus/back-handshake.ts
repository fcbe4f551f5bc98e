import { from, map, race } from 'rxjs';
import type { StoreOperations } from '../domain/xenstore.js';
import { errorText } from '../errors.js';
import { BackLife, type MappedRings } from './back-life.js';
import type { BackLink } from './back-link.js';
import {
  type BackMemory,
  type BackStep,
  backAnswers,
  backBeginning,
  backDecision,
  backFailed,
  backSteps,
} from './back-table.js';
import type { DeviceInfo } from './device-info.js';
import { disposeOf } from './dispose-of.js';
import type { Backend } from './driver.js';
import { Handshake, type HandshakeEnvironment, type Look } from './handshake.js';
import { isPromise } from './is-promise.js';
import {
  type AnyValues,
  parseTexts,
  readKeys,
  readTexts,
  sameTexts,
  showKeys,
  showSome,
  withDefaults,
  writing,
} from './key-values.js';
import type { Keys } from './keys.js';
import type { AnyProtocol } from './protocol.js';
import type { Responses } from './responses.js';
import { readOtherState, readOwnState } from './state-nodes.js';
import type { Wait, XenbusState } from './states.js';
import { wireKeys } from './wires.js';

/** How long a backend that closes waits for answers that its driver still owes, in milliseconds (netback drains as long). */
export const DRAIN_TIMEOUT = 10_000;

type AnyResponses = Responses<AnyProtocol['ring']['request'], AnyProtocol['ring']['response'], string>;

/** Runs a backend's side of the handshake: one link for each time that the frontend connects. */
export class BackHandshake extends Handshake<BackStep> {
  readonly #protocol: AnyProtocol;
  readonly #driver: Backend<AnyProtocol>;
  /** Values that the domain was started with, over what the driver offers. */
  readonly #overrides: AnyValues;
  #memory: BackMemory = backBeginning;
  #life: BackLife | undefined;

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

  protected override async decide({ own, other }: Look): Promise<BackStep | Wait | undefined> {
    // The toolstack made the device anew.
    if (own === 'Initialising') this.#release();
    // The toolstack writes Closing too.
    if (own === 'Closing' || own === 'Closed') await this.#quiesce();
    if (own === 'Connected' && this.#life?.unpublished === true) await this.#publishAgain(this.#life);
    const online = await this.#isOnline(this.environment.store);
    const { does, memory } = backDecision(this.#memory, own, other, online, this.#protocol.repeatable);
    this.#memory = memory;
    return does;
  }

  protected override async take(step: BackStep, look: Look): Promise<boolean> {
    switch (step) {
      case 'stay':
        return false;
      case 'offer':
        this.#release();
        await this.#offer(look);
        return true;
      case 'connect':
      case 'takeUp':
        try {
          if (step === 'takeUp' && !(await this.#prepare(look))) return true;
          await this.#connect(look);
        } catch (error) {
          if (await this.#stillBoth(look)) throw error;
          // Keys that the frontend no longer stands by: its program has begun anew.
          this.#release();
          this.report('warning', errorText(error));
        }
        return true;
      case 'close':
        await this.#quiesce();
        break;
      case 'withdraw':
      case 'disconnect':
        await this.#quiesce();
        this.#release();
        break;
    }
    await this.#move(step, look);
    return true;
  }

  protected override fail(_error: unknown, other: XenbusState | undefined): void {
    // Nothing that this frontend has said is relied on any longer, its ring least of all.
    this.#release();
    this.#memory = backFailed(other);
  }

  protected override abandon(): void {
    this.#release();
  }

  protected override busyWith(): string {
    const pending = this.#life?.pending ?? 0;
    return pending > 0 ? `its driver to answer ${pending} requests` : 'its driver, whose promise has not resolved';
  }

  /** Writes the state that a step leads to, if what the step answers still stands; whether it was written. */
  #move(
    step: BackStep,
    look: Look,
    also?: (store: StoreOperations) => Promise<void>,
    andStands: (store: StoreOperations) => Promise<boolean> = async () => true,
  ): Promise<boolean> {
    const to: XenbusState = backSteps[step] ?? look.own;
    const stands = async (store: StoreOperations): Promise<boolean> =>
      (!backAnswers.has(step) || (await readOtherState(store, this.device)) === look.other) && andStands(store);
    return this.switchState({ from: look.own, to, stands, also });
  }

  async #offer(look: Look): Promise<void> {
    const { path } = this.device;
    const { keys } = this.#protocol;
    const life = new BackLife(await readKeys(this.environment.store, path, keys.toolstack?.backend ?? {}));
    if (this.stopped) return;
    this.#life = life;
    const { toolstack, subscription } = life;
    const said = await this.#driverSays(
      this.#driver.offer?.({ toolstack, device: this.device, subscription }) ?? {},
      () => this.#stillOwn(look),
    );
    if (said === undefined || this.#life !== life) return this.#releaseOnly(life);
    const offerKeys = keys.backend?.InitWait ?? {};
    this.#checkOverrides();
    const values = { ...said.value, ...only(offerKeys, this.#overrides) };
    Object.assign(life.own, withDefaults(offerKeys, values));
    // The toolstack leaves the state of a device that is Closed alone when it takes it offline.
    const stands = (store: StoreOperations): Promise<boolean> => this.#isOnline(store);
    await this.#move('offer', look, writing(path, showKeys(path, offerKeys, values)), stands);
  }

  /** Has the driver ready for a ring that is there already; what an earlier life has written of it stands. Whether it is still wanted. */
  async #prepare(look: Look): Promise<boolean> {
    const { path } = this.device;
    const { toolstack: told, backend } = this.#protocol.keys;
    const keys = await readKeys(this.environment.store, path, told?.backend ?? {});
    const life = new BackLife(keys, { takesUp: true });
    Object.assign(
      life.own,
      await readKeys(this.environment.store, path, { ...backend?.InitWait, ...backend?.Connected }),
    );
    if (this.stopped) return false;
    this.#life = life;
    const { toolstack, subscription } = life;
    const offer = this.#driver.offer?.({ toolstack, device: this.device, subscription }) ?? {};
    const said = await this.#driverSays(offer, () => this.#stillOwn(look));
    if (said !== undefined && this.#life === life) return true;
    this.#releaseOnly(life);
    return false;
  }

  async #stillBoth(look: Look): Promise<boolean> {
    return (await this.#stillOwn(look)) && (await readOtherState(this.environment.store, this.device)) === look.other;
  }

  async #stillOwn({ own }: Look): Promise<boolean> {
    return (await readOwnState(this.environment.store, this.device)) === own;
  }

  async #isOnline(store: StoreOperations): Promise<boolean> {
    return (await store.read(`${this.device.path}/online`)) !== '0';
  }

  async #connect(look: Look): Promise<void> {
    const life = this.#life;
    if (life === undefined || life.quiet) {
      // An attempt to connect has come to nothing, and has taken the offer with it.
      this.#release();
      return this.#offer(look);
    }
    const { environment, device } = this;
    const keys: Keys = this.#protocol.keys.frontend?.Initialised ?? {};
    const queues = await this.#queues(life, keys);
    const named = wireKeys(this.#protocol, queues);
    const read = (store: StoreOperations) => readTexts(store, device.otherendPath, { ...named, ...keys });
    const texts = await read(environment.store);
    if (this.#life !== life) return;
    const peer = parseTexts(device.otherendPath, keys, texts);
    const names = parseTexts(device.otherendPath, named, texts);
    const rings = life.map(environment, device, this.#protocol, names, queues, (error) => this.reportError(error));
    const said = await this.#driverSays(this.#driver.connect(this.#link(life, rings, peer)), () =>
      this.#stillBoth(look),
    );
    if (said !== undefined) life.link.add(() => disposeOf(said.value));
    if (said === undefined || this.#life !== life) return this.#releaseOnly(life);
    // The frontend may have begun anew since its keys were read, with a ring that is not the one that is mapped.
    const stands = async (store: StoreOperations): Promise<boolean> => sameTexts(texts, await read(store));
    const written = await this.#move('connect', look, writing(device.path, this.#published(life)), stands);
    if (!written) return this.#releaseOnly(life);
    if (this.#life === life) life.listen(rings, environment.clock, (error) => this.#lied(error));
  }

  /** How many queues the frontend has chosen; what it says is read once more with all else. */
  async #queues(life: BackLife, keys: Keys): Promise<number> {
    const { device } = this;
    const chosen = this.#protocol.queues?.chosen;
    const key = chosen === undefined ? undefined : keys[chosen];
    if (chosen === undefined || key === undefined) return 1;
    const values = await readKeys(this.environment.store, device.otherendPath, { [chosen]: key });
    return life.queuesOf(device, this.#protocol, values);
  }

  #link(life: BackLife, { queues, grants }: MappedRings, peer: AnyValues): BackLink<AnyProtocol> {
    const { device } = this;
    const keys = this.#protocol.keys.backend?.Connected ?? {};
    const rings: Readonly<Record<string, unknown>> = queues[0]?.ends ?? {};
    // The only ring of a class that has one.
    const responses = rings.ring as AnyResponses;
    return {
      protocol: this.#protocol,
      serve: (handler) => responses.serve(handler),
      drain: (handler) => responses.drain(handler),
      ...(this.#protocol.rings !== undefined && rings),
      ...(this.#protocol.queues !== undefined && { queues: queues.map((queue) => queue.ends) }),
      grants,
      toolstack: life.toolstack,
      own: life.own,
      peer,
      publish: (changed) => {
        showSome(device.path, keys, changed);
        Object.assign(life.own, changed);
        life.unpublished = true;
        this.wake();
      },
      device,
      subscription: life.subscription,
    };
  }

  /** What a driver's hook returned, awaited only if it is a promise; undefined when it is no longer wanted before it resolves. */
  async #driverSays<T>(
    said: T | PromiseLike<T>,
    wanted: () => Promise<boolean>,
  ): Promise<{ readonly value: T } | undefined> {
    if (!isPromise(said)) return { value: said };
    const value = await this.whileWanted(said, wanted);
    // It learnt from its subscription that nobody waits; what it makes all the same is not kept.
    if (value === undefined) said.then(disposeOf, () => {});
    return value;
  }

  /** The peer broke the rules on the ring: it is unmapped at once, and the next look at the states closes the device. */
  #lied(error: unknown): void {
    this.#release();
    this.raise(error);
  }

  /** @throws TypeError when the domain was started with values of keys that its device class does not have */
  #checkOverrides(): void {
    const { InitWait, Connected } = this.#protocol.keys.backend ?? {};
    showSome(`the domain's offer for ${this.device.path}`, { ...InitWait, ...Connected }, this.#overrides);
  }

  /** The texts of the keys of Connected, as they are to be written now. */
  #published(life: BackLife): ReadonlyMap<string, string> {
    const keys = this.#protocol.keys.backend?.Connected ?? {};
    Object.assign(life.own, withDefaults(keys, { ...life.own, ...only(keys, this.#overrides) }));
    life.unpublished = false;
    return showKeys(this.device.path, keys, only(keys, life.own));
  }

  async #publishAgain(life: BackLife): Promise<void> {
    const also = writing(this.device.path, this.#published(life));
    await this.switchState({ from: 'Connected', to: 'Connected', also });
  }

  /** Leaves Connected: upcalls stop, answers that are owed are waited for, then the driver's link ends. */
  async #quiesce(): Promise<void> {
    const life = this.#life;
    if (life === undefined || life.quiet) return;
    this.guard(() => life.stop());
    if (life.pending > 0) {
      const answered$ = race(
        from(life.idle()).pipe(map(() => true)),
        this.environment.clock.timer$(DRAIN_TIMEOUT).pipe(map(() => false)),
      );
      if ((await this.untilStopped(answered$)) === false) {
        const text = `${life.pending} requests are still not answered after ${DRAIN_TIMEOUT} ms: they are given up`;
        this.report('warning', text);
      }
    }
    this.guard(() => life.end());
  }

  /** Gives back all of this life at once. */
  #release(): void {
    const life = this.#life;
    this.#life = undefined;
    if (life === undefined) return;
    this.guard(() => life.stop());
    this.guard(() => life.end());
    this.guard(() => life.unmap());
  }

  /** As {@link #release}, of an attempt that may have been given up already. */
  #releaseOnly(life: BackLife): void {
    if (this.#life === life) this.#release();
  }
}

/** The values that belong to some of the keys. */
const only = (keys: Keys, values: AnyValues): AnyValues =>
  Object.fromEntries(Object.entries(values).filter(([name]) => Object.hasOwn(keys, name)));
