import type { Newable } from 'inversify';
import {
  defer,
  filter,
  firstValueFrom,
  map,
  merge,
  mergeMap,
  Observable,
  Subject,
  Subscription,
  throwIfEmpty,
} from 'rxjs';
import { Clock } from '../domain/clock.js';
import type { Domain } from '../domain/domain.js';
import { EventChannels } from '../domain/event-channels.js';
import { GrantTable } from '../domain/grant-table.js';
import { Log } from '../domain/log.js';
import { XenStore } from '../domain/xenstore.js';
import { Disconnected } from '../errors.js';
import { BackHandshake } from './back-handshake.js';
import { claim, unclaim } from './claims.js';
import type { DeviceInfo } from './device-info.js';
import { type BackendClass, type DriverInfo, driverInfo, type FrontendClass } from './driver.js';
import { FrontHandshake } from './front-handshake.js';
import type { HandshakeEnvironment } from './handshake.js';
import type { AnyValues } from './key-values.js';
import { Offer } from './offer.js';
import { startProbe } from './probe.js';
import type { AnyProtocol } from './protocol.js';

/** A frontend's device: one directory, and a connection for each time that its backend connects. */
export interface Device<T> {
  /** Which device it is; its backend may move to another domain. */
  readonly info: DeviceInfo;
  /** What the driver's `connect` returned, once for each handshake, the standing one at once; completes when the device ends. */
  readonly connections$: Observable<T>;
  /**
   * Why the device stands closed without having been asked to: a PeerFault, what the driver threw, or Disconnected when the backend
   * closed it. It stays so until the backend begins anew. Completes when the device ends.
   */
  readonly failures$: Observable<Error>;
  /** Closes the device for good: resolves when the backend has let go and all is given back. */
  close(): Promise<void>;
}

/** A domain's devices of one class, however many ask for them. */
class FrontBus<T> {
  readonly #devices = new Map<string, Device<T>>();
  readonly #found$ = new Subject<Device<T>>();
  readonly #changed$ = new Subject<void>();
  readonly #start: () => Subscription;
  #running = Subscription.EMPTY;
  /** Who wants devices, and by which number; undefined for all. */
  readonly #users = new Map<object, string | undefined>();

  constructor(domain: Domain, driver: FrontendClass<AnyProtocol, T>, protocol: AnyProtocol) {
    const environment = environmentOf(domain);
    const directory = `device/${protocol.device}`;
    const begin = (info: DeviceInfo): FrontHandshake<T> => {
      const handshake = new FrontHandshake<T>(environment, info, protocol, instance(domain, driver));
      const { connections$, failures$ } = handshake;
      const device: Device<T> = {
        get info() {
          return handshake.device;
        },
        connections$,
        failures$,
        close: () => handshake.close(),
      };
      this.#devices.set(info.path, device);
      this.#found$.next(device);
      return handshake;
    };
    this.#start = () => {
      const running = startProbe(environment, {
        directory,
        list: async () => {
          const found = (await environment.store.directory(directory)) ?? [];
          return found.filter((id) => this.#isWanted(id)).map((id) => `${directory}/${id}`);
        },
        changed$: this.#changed$,
        other: 'backend',
        begin,
        end: (path) => this.#devices.delete(path),
      });
      running.add(() => unclaim(domain, directory));
      domain.subscription.add(running);
      domain.subscription.add(() => this.#found$.complete());
      return running;
    };
  }

  /** Emits the devices that there are, then those that come; those that nobody wants any more are given up. */
  devices$(id: string | undefined): Observable<Device<T>> {
    return new Observable<Device<T>>((subscriber) => {
      const wants = (device: Device<T>): boolean => id === undefined || device.info.id === id;
      for (const device of this.#devices.values()) if (wants(device)) subscriber.next(device);
      subscriber.add(this.#found$.pipe(filter(wants)).subscribe(subscriber));
      const user = {};
      this.#users.set(user, id);
      if (this.#users.size === 1) this.#running = this.#start();
      else this.#changed$.next();
      return () => {
        this.#users.delete(user);
        if (this.#users.size === 0) this.#running.unsubscribe();
        else this.#changed$.next();
      };
    });
  }

  #isWanted(id: string): boolean {
    return [...this.#users.values()].some((wanted) => wanted === undefined || wanted === id);
  }
}

/**
 * Emits a device for each directory of a frontend's class that this domain has, or gets, or for the one numbered `id`; completes
 * when the domain ends. All who subscribe are given the same devices. One that nobody is subscribed for any more is given up at once,
 * without a word to its backend: `close` it first. Errors with TypeError when the domain has another driver for this class of device.
 * @throws TypeError for a class that `@frontend` has not declared
 */
export const devices$ = <P extends AnyProtocol, T>(
  domain: Domain,
  driver: FrontendClass<P, T>,
  id?: string | number,
): Observable<Device<T>> => {
  const { protocol } = declared(driver, 'frontend');
  const bus = (): FrontBus<T> =>
    claim(domain, `device/${protocol.device}`, driver, () => new FrontBus<T>(domain, driver, protocol));
  return defer(() => bus().devices$(id === undefined ? undefined : String(id)));
};

/**
 * Resolves to a device's first connection, that of the device numbered `id` or of whichever connects first. The domain owns the
 * device from then on.
 * @throws what the device failed by before it connected: PeerFault, what the driver threw, Disconnected when the backend closed it or
 *   the domain ended
 */
export const connection = <P extends AnyProtocol, T>(
  domain: Domain,
  driver: FrontendClass<P, T>,
  id?: string | number,
): Promise<T> => {
  const found$ = devices$(domain, driver, id);
  const first = firstValueFrom(
    found$.pipe(
      mergeMap(({ connections$, failures$ }) => merge(connections$, failures$.pipe(map(thrown)))),
      throwIfEmpty(() => new Disconnected(`domain ${domain.name} ended before its device connected`)),
    ),
  );
  // Whatever comes of it, the device goes on: a failed one has yet to close.
  domain.subscription.add(found$.subscribe({ error: () => {} }));
  return first;
};

/**
 * Serves every device of a backend's class that this domain has, or gets, until the domain ends or the subscription does.
 * @param typeOf the directory below `backend` that the class has; its own name without it. Several kinds of backend may serve one class
 *   of frontends, as `vbd` and `qdisk` do, each in a directory of its own
 * @throws TypeError for a class that `@backend` has not declared, or when the domain has another driver for this class of device
 */
export const serveDevices = <P extends AnyProtocol>(
  domain: Domain,
  served: BackendClass<P>,
  typeOf: (device: string) => string = (device) => device,
): Subscription => {
  // What it is handed is checked against its own protocol, which the handshake does not know.
  const driver = served as unknown as BackendClass;
  const { protocol } = declared(driver, 'backend');
  const environment = environmentOf(domain);
  const directory = `backend/${typeOf(protocol.device)}`;
  const overrides: AnyValues = domain.container.isBound(Offer) ? domain.get(Offer).values : {};
  const list = async (): Promise<readonly string[]> => {
    const found: string[] = [];
    for (const frontend of (await environment.store.directory(directory)) ?? []) {
      for (const id of (await environment.store.directory(`${directory}/${frontend}`)) ?? []) {
        found.push(`${directory}/${frontend}/${id}`);
      }
    }
    return found;
  };
  return claim(domain, directory, driver, () => {
    const subscription = startProbe(environment, {
      directory,
      list,
      other: 'frontend',
      begin: (info) => new BackHandshake(environment, info, protocol, instance(domain, driver), overrides),
    });
    subscription.add(() => unclaim(domain, directory));
    domain.subscription.add(subscription);
    return subscription;
  });
};

const thrown = (error: Error): never => {
  throw error;
};

const declared = (driver: FrontendClass | BackendClass, end: DriverInfo['end']): DriverInfo => {
  const info = driverInfo(driver);
  if (info?.end !== end) throw new TypeError(`${driver.name} is no ${end}: declare it with @${end}(protocol)`);
  return info;
};

const environmentOf = (domain: Domain): HandshakeEnvironment => ({
  store: domain.get(XenStore),
  channels: domain.get(EventChannels),
  grants: domain.get(GrantTable),
  clock: domain.get(Clock),
  log: domain.get(Log),
  abi: domain.abi,
});

/** Each device has a driver of its own, from a container of its own below the domain's. */
const instance = <D>(domain: Domain, driver: new (...dependencies: never[]) => D): D => {
  const container = domain.child();
  // inversify types its classes by parameters of any kind, ours by none that a caller could give.
  const token = driver as unknown as Newable<D>;
  container.bind(token).toSelf();
  return container.get(token);
};
