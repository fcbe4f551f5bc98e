import type { Newable } from 'inversify';
import { mergeMap, Observable, Subscription } from 'rxjs';
import { asDomid } from '../abi/units.js';
import { Clock } from '../domain/clock.js';
import type { Domain } from '../domain/domain.js';
import { EventChannels } from '../domain/event-channels.js';
import { GrantTable } from '../domain/grant-table.js';
import { Log } from '../domain/log.js';
import { XenStore } from '../domain/xenstore.js';
import { BackHandshake } from './back-handshake.js';
import type { DeviceInfo } from './device-info.js';
import { type BackendClass, type DriverInfo, driverInfo, type FrontendClass } from './driver.js';
import { FrontHandshake } from './front-handshake.js';
import { describe, type Handshake, type HandshakeEnvironment } from './handshake.js';
import type { AnyValues } from './key-values.js';
import { latestMap } from './latest-map.js';
import { Offer } from './offer.js';
import type { AnyProtocol } from './protocol.js';

/** A frontend's device: one directory, and a connection for each time that its backend connects. */
export interface Device<T> {
  readonly info: DeviceInfo;
  /** What the driver's `connect` returned, once for each handshake, the standing one at once; completes when the device ends. */
  readonly connections$: Observable<T>;
  /** Closes the device for good: resolves when the backend has let go and all is given back. */
  close(): Promise<void>;
}

/**
 * Emits a device for each directory of a frontend's class that this domain has, or gets, or for the one numbered `id`; completes
 * never. Each subscription drives its devices itself, so no two may have the same one. Unsubscribing gives up all of its devices at
 * once, without a word to the backends: `close` them first.
 */
export const devices$ = <P extends AnyProtocol, T>(
  domain: Domain,
  driver: FrontendClass<P, T>,
  id?: string | number,
): Observable<Device<T>> =>
  new Observable((subscriber) => {
    const { protocol } = declared(driver, 'frontend');
    const environment = environmentOf(domain);
    const directory = `device/${protocol.device}`;
    const list = async (): Promise<readonly string[]> =>
      ((await environment.store.directory(directory)) ?? [])
        .filter((name) => id === undefined || name === String(id))
        .map((name) => `${directory}/${name}`);
    return probe(environment, directory, list, 'backend', (info) => {
      const handshake = new FrontHandshake<T>(environment, info, protocol, instance(domain, driver));
      subscriber.next({ info, connections$: handshake.connections$, close: () => handshake.close() });
      return handshake;
    });
  });

/**
 * Resolves to a device's first connection, that of the device numbered `id` or of whichever connects first. The domain owns the
 * device from then on.
 */
export const connection = <P extends AnyProtocol, T>(
  domain: Domain,
  driver: FrontendClass<P, T>,
  id?: string | number,
): Promise<T> =>
  new Promise((resolve, reject) => {
    domain.subscription.add(
      devices$(domain, driver, id)
        .pipe(mergeMap(({ connections$ }) => connections$))
        .subscribe({ next: resolve, error: reject }),
    );
  });

/** Serves every device of a backend's class that this domain has, or gets, until the domain ends or the subscription does. */
export const serveDevices = (domain: Domain, driver: BackendClass): Subscription => {
  const { protocol } = declared(driver, 'backend');
  const environment = environmentOf(domain);
  const directory = `backend/${protocol.device}`;
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
  const subscription = probe(
    environment,
    directory,
    list,
    'frontend',
    (info) => new BackHandshake(environment, info, protocol, instance(domain, driver), overrides),
  );
  domain.subscription.add(subscription);
  return subscription;
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

/** Starts a handshake for each directory that comes; one whose directory goes ends by itself. */
const probe = (
  { store, log }: HandshakeEnvironment,
  directory: string,
  list: () => Promise<readonly string[]>,
  other: 'frontend' | 'backend',
  begin: (info: DeviceInfo) => Handshake<string>,
): Subscription => {
  const known = new Map<string, Subscription>();
  const failed = new Set<string>();
  const all = new Subscription();
  const start = async (path: string): Promise<void> => {
    const otherendPath = await store.read(`${path}/${other}`);
    const id = await store.read(`${path}/${other}-id`);
    if (otherendPath === undefined || id === undefined) return;
    const info = { id: path.slice(path.lastIndexOf('/') + 1), path, otherendPath, otherend: asDomid(Number(id)) };
    if (all.closed || known.has(path)) return;
    const handshake = begin(info);
    const running = handshake.start();
    known.set(path, running);
    all.add(running);
    running.add(() => known.delete(path));
  };
  const look = async (): Promise<void> => {
    const paths = await list();
    for (const path of failed) if (!paths.includes(path)) failed.delete(path);
    for (const path of paths) {
      if (known.has(path) || failed.has(path)) continue;
      try {
        await start(path);
      } catch (error) {
        failed.add(path);
        log.write({ level: 'error', source: path, text: describe(error) });
      }
    }
  };
  all.add(
    store
      .watch$(directory)
      .pipe(latestMap(look))
      .subscribe({ error: (error) => log.write({ level: 'error', source: directory, text: describe(error) }) }),
  );
  return all;
};
