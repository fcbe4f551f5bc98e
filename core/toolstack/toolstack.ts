import { inject, injectable } from 'inversify';
import { filter, firstValueFrom, map, merge, race, switchMap } from 'rxjs';
import { asDomid, type Domid } from '../abi/units.js';
import { Clock } from '../domain/clock.js';
import { type DomainConfig, Domctl } from '../domain/domctl.js';
import { type Permission, type StoreOperations, XenStore } from '../domain/xenstore.js';
import { XenError } from '../errors.js';
import { type DeviceConfig, devicePaths } from './device-config.js';

/** How long the toolstack waits for a backend to close before it takes the device away all the same, in ms (libxl). */
export const DESTROY_TIMEOUT = 10_000;

const DOM0 = asDomid(0);

const owned = (owner: Domid, ...readers: readonly Domid[]): readonly Permission[] => [
  { domid: owner, access: 'n' },
  ...readers.map((domid): Permission => ({ domid, access: 'r' })),
];

/** Texts that the toolstack writes under a directory, by key. */
type Texts = Readonly<Record<string, string>>;

/**
 * What xl does: makes domains and devices, in single transactions, with the keys and permissions that libxl writes, and takes
 * them away again. It runs in a privileged domain.
 */
@injectable()
export class Toolstack {
  readonly #store: XenStore;
  readonly #domctl: Domctl;
  readonly #clock: Clock;

  constructor(@inject(XenStore) store: XenStore, @inject(Domctl) domctl: Domctl, @inject(Clock) clock: Clock) {
    this.#store = store;
    this.#domctl = domctl;
    this.#clock = clock;
  }

  /**
   * Makes a domain with its directories (libxl_create.c `libxl__domain_make`); it does not run before `unpause`.
   * @throws XenError EEXIST when a domain has that name, ENOMEM, ENOSPC
   */
  async create(config: DomainConfig): Promise<Domid> {
    if (config.name === '' || /[/\s]/.test(config.name)) {
      throw new RangeError(`a domain's name has no blanks and no slashes, unlike ${JSON.stringify(config.name)}`);
    }
    if ((await this.domains()).some(({ name }) => name === config.name)) {
      throw new XenError('EEXIST', `a domain called ${config.name} is there already; choose another name`);
    }
    const domid = await this.#domctl.create(config);
    try {
      await this.#store.transaction((store) => writeDomain(store, domid, config.name));
    } catch (error) {
      await this.#domctl.destroy(domid);
      throw error;
    }
    return domid;
  }

  /** Lets a domain run. @throws when its module does not load */
  async unpause(domid: Domid): Promise<void> {
    await this.#domctl.unpause(domid);
  }

  /** The domains that there are, dom0 not among them. */
  async domains(): Promise<readonly { readonly domid: Domid; readonly name: string }[]> {
    const found: { domid: Domid; name: string }[] = [];
    for (const child of (await this.#store.directory('/local/domain')) ?? []) {
      const name = await this.#store.read(`/local/domain/${child}/name`);
      if (name !== undefined && child !== '0') found.push({ domid: asDomid(Number(child)), name });
    }
    return found;
  }

  /** The devices that a domain has as a frontend, from the toolstack's own copies. */
  devices(
    domid: Domid,
  ): Promise<readonly { readonly device: string; readonly id: string; readonly backend: string }[]> {
    return trustedDevices(this.#store, domid);
  }

  /** Ends a domain and takes away its directories and those of its devices (libxl_domain.c `libxl__destroy_domid`). */
  async destroy(domid: Domid): Promise<void> {
    await this.#domctl.destroy(domid);
    await this.#store.transaction(async (store) => {
      for (const device of await trustedDevices(store, domid)) {
        await store.rm(device.backend);
        await removeEmpty(store, parent(device.backend));
      }
      await store.rm(`/local/domain/${domid}`);
      await store.rm(`/libxl/${domid}`);
    });
  }

  /**
   * Makes a device's directories, both ends in state Initialising, and the toolstack's own copy under /libxl
   * (libxl_device.c `libxl__device_generic_add`).
   * @throws XenError EEXIST when the frontend has such a device, ENOENT when a domain is not there
   */
  async attach(config: DeviceConfig): Promise<void> {
    const { device, id, frontend, backend } = config;
    if (!/^[A-Za-z0-9_-]+$/.test(device) || !/^[A-Za-z0-9_-]+$/.test(String(id))) {
      throw new RangeError(`a device's class and number are letters, digits, - and _, unlike ${device} ${id}`);
    }
    const paths = devicePaths(config);
    await this.#store.transaction(async (store) => {
      for (const domid of [frontend, backend]) {
        if (domid !== DOM0 && (await store.read(`/local/domain/${domid}/domid`)) === undefined) {
          throw new XenError('ENOENT', `there is no domain ${domid} to attach ${device} ${id} to`);
        }
      }
      if ((await store.read(`${paths.trusted}/backend`)) !== undefined) {
        throw new XenError('EEXIST', `domain ${frontend} has a ${device} ${id} already`);
      }
      const front: Texts = {
        backend: paths.backend,
        'backend-id': String(backend),
        state: '1',
        ...config.keys?.frontend,
      };
      const back: Texts = {
        frontend: paths.frontend,
        'frontend-id': String(frontend),
        online: '1',
        state: '1',
        ...config.keys?.backend,
      };
      await makeDirectory(store, paths.frontend, owned(frontend, backend), front);
      await makeDirectory(store, paths.backend, owned(backend, frontend), back);
      await makeDirectory(store, paths.trusted, owned(DOM0), { ...back, backend: paths.backend });
    });
  }

  /**
   * Asks the backend to close, waits until it has, and takes the directories away; after {@link DESTROY_TIMEOUT} they go all the
   * same. Resolves to whether the backend closed in time.
   * @throws XenError ENOENT when there is no such device
   */
  async detach(config: Pick<DeviceConfig, 'device' | 'id' | 'frontend'>): Promise<boolean> {
    const trusted = `/libxl/${config.frontend}/device/${config.device}/${config.id}`;
    // The toolstack's own copy, never what a guest may have written (XSA-175, XSA-178).
    const backend = await this.#store.read(`${trusted}/backend`);
    const frontend = await this.#store.read(`${trusted}/frontend`);
    if (backend === undefined || frontend === undefined) {
      throw new XenError('ENOENT', `domain ${config.frontend} has no ${config.device} ${config.id} to detach`);
    }
    await this.#store.transaction(async (store) => {
      if ((await store.read(`${backend}/state`)) === undefined) return;
      await store.write(`${backend}/online`, '0');
      await store.write(`${backend}/state`, '5');
    });
    const closed = await firstValueFrom(
      race(
        merge(this.#store.watch$(`${backend}/state`)).pipe(
          switchMap(() => this.#store.read(`${backend}/state`)),
          filter((state) => state === undefined || state === '6'),
          map(() => true),
        ),
        this.#clock.timer$(DESTROY_TIMEOUT).pipe(map(() => false)),
      ),
    );
    await this.#store.transaction(async (store) => {
      for (const path of [frontend, backend, trusted]) {
        await store.rm(path);
        await removeEmpty(store, parent(path));
      }
    });
    return closed;
  }
}

const parent = (path: string): string => path.slice(0, path.lastIndexOf('/'));

const makeDirectory = async (
  store: StoreOperations,
  path: string,
  permissions: readonly Permission[],
  texts: Texts,
): Promise<void> => {
  await store.rm(path);
  await store.mkdir(path);
  await store.setPermissions(path, permissions);
  // A node inherits its directory's permissions, so the ends can write what the toolstack wrote here.
  for (const [key, text] of Object.entries(texts)) await store.write(`${path}/${key}`, text);
};

const writeDomain = async (store: StoreOperations, domid: Domid, name: string): Promise<void> => {
  const path = `/local/domain/${domid}`;
  const readOnly = owned(DOM0, domid);
  await makeDirectory(store, path, readOnly, { name, domid: String(domid) });
  for (const child of ['device', 'control', 'memory', 'cpu'])
    await makeDirectory(store, `${path}/${child}`, readOnly, {});
  for (const child of ['backend', 'data', 'drivers', 'feature', 'attr', 'error']) {
    await makeDirectory(store, `${path}/${child}`, owned(domid), {});
  }
  await makeDirectory(store, `/libxl/${domid}`, owned(DOM0), {});
};

const trustedDevices = async (
  store: StoreOperations,
  domid: Domid,
): Promise<readonly { readonly device: string; readonly id: string; readonly backend: string }[]> => {
  const devices: { device: string; id: string; backend: string }[] = [];
  const root = `/libxl/${domid}/device`;
  for (const device of (await store.directory(root)) ?? []) {
    for (const id of (await store.directory(`${root}/${device}`)) ?? []) {
      const backend = await store.read(`${root}/${device}/${id}/backend`);
      if (backend !== undefined) devices.push({ device, id, backend });
    }
  }
  return devices;
};

/** Removes a directory that nothing is in any more, and its parents alike, up to the domain's own. */
const removeEmpty = async (store: StoreOperations, path: string): Promise<void> => {
  for (let at = path; /^\/(local\/domain|libxl)\/[0-9]+\/.+\/.+/.test(at); at = parent(at)) {
    const children = await store.directory(at);
    if (children === undefined || children.length > 0) return;
    await store.rm(at);
  }
};
