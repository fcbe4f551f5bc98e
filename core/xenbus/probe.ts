import { merge, NEVER, type Observable, Subject, Subscription } from 'rxjs';
import { asDomid } from '../abi/units.js';
import { errorText, PeerFault } from '../errors.js';
import type { DeviceInfo } from './device-info.js';
import type { Handshake, HandshakeEnvironment } from './handshake.js';
import { latestMap } from './latest-map.js';
import { quoted } from './quoted.js';
import { showState } from './states.js';

/** Where a bus finds its devices. */
export interface Probe {
  /** What is watched: `device/vbd`, `backend/vbd`. */
  readonly directory: string;
  /** The directories of the devices that there are, and are wanted. */
  list(): Promise<readonly string[]>;
  /** Fires when others may be wanted. */
  readonly changed$?: Observable<void>;
  readonly other: 'frontend' | 'backend';
  /** Makes the handshake of a device that was found. @throws when its driver cannot be made */
  begin(info: DeviceInfo): Handshake<string>;
  /** Hears that a device has ended. */
  end?(path: string): void;
}

/**
 * Starts a handshake for each device directory that comes; one whose directory goes ends by itself. A device that this end has closed
 * for good is left alone until the toolstack makes it anew.
 */
export const startProbe = (
  { store, log }: HandshakeEnvironment,
  { directory, list, changed$ = NEVER, other, begin, end }: Probe,
): Subscription => {
  const running = new Map<string, Subscription>();
  const failed = new Set<string>();
  const closed = new Set<string>();
  const again$ = new Subject<void>();
  const all = new Subscription();
  const start = async (path: string): Promise<void> => {
    const otherendPath = await store.read(`${path}/${other}`);
    const id = await store.read(`${path}/${other}-id`);
    if (otherendPath === undefined || id === undefined) return;
    if (!/^[0-9]{1,5}$/.test(id)) throw new PeerFault(`${path}/${other}-id`, quoted(id));
    if (all.closed) return;
    const handshake = begin({
      id: path.slice(path.lastIndexOf('/') + 1),
      path,
      otherendPath,
      otherend: asDomid(Number(id)),
    });
    const subscription = handshake.start();
    running.set(path, subscription);
    all.add(subscription);
    subscription.add(() => {
      running.delete(path);
      end?.(path);
      if (handshake.end === 'closed') closed.add(path);
      if (handshake.end === 'broken') failed.add(path);
      // Its directory may have come anew while it ended.
      again$.next();
    });
  };
  /** Whether there is nothing to do for a directory, or nothing any more. */
  const passes = async (path: string): Promise<boolean> => {
    if (running.has(path) || failed.has(path)) return true;
    if (!closed.has(path)) return false;
    return (await store.read(`${path}/state`)) !== showState('Initialising');
  };
  const look = async (): Promise<void> => {
    const paths = await list();
    for (const [path, subscription] of running) if (!paths.includes(path)) subscription.unsubscribe();
    for (const past of [failed, closed]) for (const path of past) if (!paths.includes(path)) past.delete(path);
    for (const path of paths) {
      if (await passes(path)) continue;
      closed.delete(path);
      try {
        await start(path);
      } catch (error) {
        failed.add(path);
        log.write({ level: 'error', source: path, text: errorText(error) });
      }
    }
  };
  all.add(
    merge(store.watch$(directory), again$, changed$)
      .pipe(latestMap(look))
      .subscribe({ error: (error) => log.write({ level: 'error', source: directory, text: errorText(error) }) }),
  );
  return all;
};
