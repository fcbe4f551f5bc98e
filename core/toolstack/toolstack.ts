import { inject, injectable } from 'inversify';
import { filter, firstValueFrom, map, race, switchMap } from 'rxjs';
import { DOM0, type Domid } from '../abi/units.js';
import { Clock } from '../domain/clock.js';
import { type DomainConfig, Domctl } from '../domain/domctl.js';
import { XenStore } from '../domain/xenstore.js';
import { XenError } from '../errors.js';
import { type DeviceConfig, devicePaths } from './device-config.js';
import {
  type DomainName,
  makeDirectory,
  namedDomains,
  owned,
  refuseTwin,
  remove,
  type Texts,
  type TrustedDevice,
  trustedDevices,
  writeDomain,
} from './directories.js';
import { unlessGone } from './unless-gone.js';

/** How long the toolstack waits for a backend to close before it takes the device away all the same, in ms (libxl). */
export const DESTROY_TIMEOUT = 10_000;

/**
 * What xl does: makes domains and devices, in single transactions, with the keys and permissions that libxl writes, and takes
 * them away again. It runs in a privileged domain.
 */
@injectable()
export class Toolstack {
  readonly #store: XenStore;
  readonly #domctl: Domctl;
  readonly #clock: Clock;
  /** Settles when every domain that was asked for has been made, or refused. */
  #created: Promise<unknown> = Promise.resolve();

  constructor(@inject(XenStore) store: XenStore, @inject(Domctl) domctl: Domctl, @inject(Clock) clock: Clock) {
    this.#store = store;
    this.#domctl = domctl;
    this.#clock = clock;
  }

  /**
   * Makes a domain with its directories (libxl_create.c `libxl__domain_make`); it does not run before `unpause`.
   * @throws RangeError for a name with blanks or slashes; XenError EEXIST when a domain has that name, ENOMEM, ENOSPC
   */
  create(config: DomainConfig): Promise<Domid> {
    // One after another: of transactions side by side that each read all names and write one, all but one would have to run again.
    const made = this.#created.then(() => this.#make(config));
    this.#created = made.catch(() => undefined);
    return made;
  }

  async #make(config: DomainConfig): Promise<Domid> {
    const { name } = config;
    if (name === '' || /[/\s]/.test(name)) {
      throw new RangeError(`a domain's name has no blanks and no slashes, unlike ${JSON.stringify(name)}`);
    }
    await refuseTwin(this.#store, name);
    const domid = await this.#domctl.create(config);
    try {
      await this.#store.transaction(async (store) => {
        // Somebody may have been quicker; the names that were read make the transaction fail then.
        await refuseTwin(store, name);
        await writeDomain(store, domid, name);
      });
    } catch (error) {
      await this.#domctl.destroy(domid).catch(unlessGone);
      throw error;
    }
    return domid;
  }

  /** Lets a domain run. @throws when its module does not load */
  async unpause(domid: Domid): Promise<void> {
    await this.#domctl.unpause(domid);
  }

  /** The domains that there are, dom0 not among them. */
  domains(): Promise<readonly DomainName[]> {
    return namedDomains(this.#store);
  }

  /** The devices that a domain has as a frontend, from the toolstack's own copies. */
  devices(domid: Domid): Promise<readonly TrustedDevice[]> {
    return trustedDevices(this.#store, domid);
  }

  /**
   * Ends a domain at once, waits until the backends of its devices have let go of it, and takes its directories and theirs away
   * (libxl_domain.c `libxl__destroy_domid`). @throws XenError ESRCH
   */
  async destroy(domid: Domid): Promise<void> {
    await this.#domctl.destroy(domid);
    const devices = await trustedDevices(this.#store, domid);
    await Promise.all(devices.map(({ backend }) => this.#close(backend)));
    await this.#store.transaction(async (store) => {
      for (const { backend } of devices) await remove(store, backend);
      await store.rm(`/local/domain/${domid}`);
      await store.rm(`/libxl/${domid}`);
    });
  }

  /**
   * Makes a device's directories, both ends in state Initialising, and the toolstack's own copy under /libxl
   * (libxl_device.c `libxl__device_generic_add`). A device whose backend's domain is gone is made anew.
   * @throws RangeError for a name that is no directory's; XenError EEXIST when the frontend has such a device, ENOENT when a domain is
   *   not there
   */
  async attach(config: DeviceConfig): Promise<void> {
    const { device, type = device, id, frontend, backend, keys } = config;
    if (!/^[A-Za-z0-9_-]+$/.test(device) || !/^[A-Za-z0-9_-]+$/.test(String(id))) {
      throw new RangeError(`a device's class and number are letters, digits, - and _, unlike ${device} ${id}`);
    }
    if (!/^[A-Za-z0-9_-]+$/.test(type)) {
      throw new RangeError(`a kind of backend is letters, digits, - and _, unlike ${type}`);
    }
    const paths = devicePaths(config);
    const front: Texts = { ...keys?.frontend, backend: paths.backend, 'backend-id': String(backend), state: '1' };
    const back: Texts = { ...keys?.backend, 'frontend-id': String(frontend), online: '1', state: '1' };
    await this.#store.transaction(async (store) => {
      for (const domid of [frontend, backend]) {
        if (domid !== DOM0 && (await store.read(`/local/domain/${domid}/domid`)) === undefined) {
          throw new XenError('ENOENT', `there is no domain ${domid} to attach ${device} ${id} to`);
        }
      }
      const standing = await store.read(`${paths.trusted}/backend`);
      if (standing !== undefined && (await store.read(`${standing}/frontend`)) !== undefined) {
        throw new XenError('EEXIST', `domain ${frontend} has a ${device} ${id} already`);
      }
      await makeDirectory(store, paths.frontend, owned(frontend, backend), front);
      await makeDirectory(store, paths.backend, owned(backend, frontend), { frontend: paths.frontend, ...back });
      await makeDirectory(store, paths.trusted, owned(DOM0), {
        frontend: paths.frontend,
        backend: paths.backend,
        ...back,
      });
    });
  }

  /**
   * Asks the backend to close, waits until it has, and takes the directories away. A backend that has not closed after
   * {@link DESTROY_TIMEOUT} loses its frontend and is asked once more; then the directories go all the same (libxl_device.c
   * `libxl__initiate_device_generic_remove`). Resolves to whether the backend closed when it was first asked.
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
    const closed = await this.#close(backend);
    if (!closed) await this.#close(backend, frontend);
    await this.#store.transaction(async (store) => {
      for (const path of [frontend, backend, trusted]) await remove(store, path);
    });
    return closed;
  }

  /** Takes a backend offline and waits until it has closed, or is gone; whether it did in time. */
  async #close(backend: string, frontend?: string): Promise<boolean> {
    await this.#store.transaction(async (store) => {
      if (frontend !== undefined) await remove(store, frontend);
      const state = await store.read(`${backend}/state`);
      if (state === undefined) return;
      await store.write(`${backend}/online`, '0');
      if (state !== '6') await store.write(`${backend}/state`, '5');
    });
    const closed$ = this.#store.watch$(`${backend}/state`).pipe(
      switchMap(() => this.#store.read(`${backend}/state`)),
      filter((state) => state === undefined || state === '6'),
      map(() => true),
    );
    return firstValueFrom(race(closed$, this.#clock.timer$(DESTROY_TIMEOUT).pipe(map(() => false))));
  }
}
