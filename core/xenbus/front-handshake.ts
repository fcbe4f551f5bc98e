import { BehaviorSubject, filter, map, type Observable, Subject } from 'rxjs';
import { asDomid } from '../abi/units.js';
import type { StoreOperations } from '../domain/xenstore.js';
import { asError, Disconnected, PeerFault } from '../errors.js';
import type { DeviceInfo } from './device-info.js';
import type { Frontend } from './driver.js';
import { FrontLife } from './front-life.js';
import {
  type FrontMemory,
  type FrontStep,
  frontAnswers,
  frontBeginning,
  frontDecision,
  frontSteps,
} from './front-table.js';
import { Handshake, type HandshakeEnvironment, type Look } from './handshake.js';
import { isPromise } from './is-promise.js';
import { type AnyValues, readKeys, showKeys, withDefaults, writing } from './key-values.js';
import type { AnyProtocol } from './protocol.js';
import { quoted } from './quoted.js';
import { readOtherState } from './state-nodes.js';
import type { Wait, XenbusState } from './states.js';
import { wireKeys } from './wires.js';

const AT_ONCE = 'the device is there at once, what takes time is for its methods';

/** Runs a frontend's side of the handshake: one connection for each time that the backend connects. */
export class FrontHandshake<T> extends Handshake<FrontStep> {
  readonly #protocol: AnyProtocol;
  readonly #driver: Frontend<AnyProtocol, T>;
  readonly #connection$ = new BehaviorSubject<{ readonly device: T } | undefined>(undefined);
  readonly #failures$ = new Subject<Error>();
  #memory: FrontMemory = frontBeginning;
  #life: FrontLife | undefined;

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

  /** Closes the device for good: resolves when the backend has let go and all is given back. */
  close(): Promise<void> {
    this.#memory = { ...this.#memory, closing: true };
    this.wake();
    return this.ended;
  }

  protected override async decide({ own, other }: Look): Promise<FrontStep | Wait | undefined> {
    // The toolstack made the device anew, perhaps with a backend in another domain.
    if (own === 'Initialising' && (await this.#isNew())) {
      this.#leave(new Disconnected(`${this.device.path} was made anew`));
      this.#release();
      return this.decide({ own, other: await readOtherState(this.environment.store, this.device) });
    }
    const { does, memory } = frontDecision(this.#memory, this.#meaning(own), other);
    this.#memory = memory;
    return does;
  }

  protected override async take(step: FrontStep, look: Look): Promise<boolean> {
    const { path } = this.device;
    switch (step) {
      case 'share':
        return this.#share(look);
      case 'connect':
        return this.#connect(look);
      case 'stay':
        await this.#readAgain();
        return false;
      case 'close':
        if (this.#memory.closing) this.#leave(new Disconnected(`${path} was closed`));
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
        if (this.#memory.closing) this.finish('closed');
        return false;
      case 'again':
        this.#release();
        break;
      case 'restart':
        this.#leave(new Disconnected(`${path}: its backend has gone`));
        this.#release();
        break;
    }
    await this.#move(step, look);
    return true;
  }

  protected override fail(error: unknown): void {
    const why = asError(error);
    this.#leave(why);
    this.#failures$.next(why);
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

  /**
   * What this end's state means to the table. A class whose frontends go right to Connected says by it that the rings are shared; that the
   * backend has connected too it knows itself.
   */
  #meaning(own: XenbusState): XenbusState {
    const waits = this.#protocol.shared === 'Connected' && this.#memory.begun && this.#life?.connected !== true;
    return waits && own === 'Connected' ? 'Initialised' : own;
  }

  /** Whether the toolstack has made the directory anew since this end shared its ring, or for another backend. */
  async #isNew(): Promise<boolean> {
    const { store } = this.environment;
    const { path, otherend, otherendPath } = this.device;
    const backend = (await store.read(`${path}/backend`)) ?? otherendPath;
    const id = (await store.read(`${path}/backend-id`)) ?? String(otherend);
    const moved = backend !== otherendPath || id !== String(otherend);
    if (moved) {
      if (!/^[0-9]{1,5}$/.test(id)) throw new PeerFault(`${path}/backend-id`, quoted(id));
      this.moveTo({ ...this.device, otherend: asDomid(Number(id)), otherendPath: backend });
    }
    return moved || this.#life !== undefined;
  }

  /** Writes the state that a step leads to, if what the step answers still stands; whether it was written. */
  #move(step: FrontStep, { own, other }: Look, also?: (store: StoreOperations) => Promise<void>): Promise<boolean> {
    const to: XenbusState = (step === 'share' ? this.#protocol.shared : undefined) ?? frontSteps[step] ?? own;
    const stands = async (store: StoreOperations): Promise<boolean> =>
      !frontAnswers.has(step) || (await readOtherState(store, this.device)) === other;
    return this.switchState({ from: own, to, stands, also });
  }

  async #share(look: Look): Promise<boolean> {
    const { environment, device } = this;
    const { store } = environment;
    const { keys } = this.#protocol;
    const offered = await readKeys(store, device.otherendPath, keys.backend?.InitWait ?? {});
    const toolstack = await readKeys(store, device.path, keys.toolstack?.frontend ?? {});
    const ownKeys = keys.frontend?.Initialised ?? {};
    const values = this.#driver.negotiate?.({ offered, toolstack, device }) ?? {};
    const texts = showKeys(device.path, ownKeys, values);
    if (this.stopped) return false;
    const own = withDefaults(ownKeys, values);
    const { queues, split } = this.#protocol;
    const choice = {
      own,
      toolstack,
      queues: queues === undefined ? 1 : chosenQueues(device, own[queues.chosen], offered[queues.offered]),
      split: split !== undefined && offered[split] === true && this.#driver.splitChannels !== false,
    };
    const life = new FrontLife(environment, device, this.#protocol, choice, (error) => this.reportError(error));
    this.#life = life;
    const written = await this.#move('share', look, async (operations) => {
      if (this.#protocol.rings !== undefined) await forgetRings(operations, device.path, this.#protocol);
      await writing(device.path, new Map([...life.texts, ...texts]))(operations);
    });
    if (!written && this.#life === life) this.#release();
    return true;
  }

  async #connect(look: Look): Promise<boolean> {
    const life = this.#life;
    // Somebody else has written this end's state.
    if (life === undefined) return this.switchState({ from: look.own, to: 'Initialising' });
    life.peerSays(await this.#readPeer());
    if (this.#life !== life) return true;
    const device = this.#driver.connect(life.link(() => this.close()));
    if (isPromise(device))
      throw new TypeError(`${this.#driver.constructor.name}.connect returned a promise: ${AT_ONCE}`);
    life.listen(device, (error) => {
      this.#leave(asError(error));
      this.raise(error);
    });
    life.connected = true;
    const written = look.own === 'Connected' || (await this.#move('connect', look));
    if (written && this.#life === life && !this.faulty) this.#connection$.next({ device });
    return true;
  }

  async #readAgain(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    const peer = await this.#readPeer();
    if (this.#life === life) life.peerSays(peer);
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

  /** Ends the link, if there is one. */
  #leave(why: Error): void {
    this.guard(() => this.#life?.leave(why));
    if (this.#connection$.value !== undefined) this.#connection$.next(undefined);
  }

  /** Gives back all of this life. */
  #release(): void {
    const life = this.#life;
    this.#life = undefined;
    this.guard(() => life?.leave(new Disconnected(`${this.device.path} is closed`)));
    this.guard(() => life?.release());
  }
}

/** How many queues a driver wants. @throws RangeError for none, or more than the backend offers */
const chosenQueues = ({ path }: DeviceInfo, chosen: unknown, offered: unknown): number => {
  const queues = Number(chosen);
  if (!(queues >= 1 && queues <= Number(offered)))
    throw new RangeError(`${path}: the driver wants ${queues} queues, and the backend offers ${offered}`);
  return queues;
};

/** Removes what an earlier life said of its rings: it may have had more queues, or other channels. */
const forgetRings = async (store: StoreOperations, path: string, protocol: AnyProtocol): Promise<void> => {
  for (const name of Object.keys(wireKeys(protocol, 1))) await store.rm(`${path}/${name}`);
  for (const child of (await store.directory(path)) ?? [])
    if (/^queue-[0-9]+$/.test(child)) await store.rm(`${path}/${child}`);
};
