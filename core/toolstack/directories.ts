import { asDomid, DOM0, type Domid } from '../abi/units.js';
import type { Permission, StoreOperations } from '../domain/xenstore.js';
import { XenError } from '../errors.js';

/** Permissions of a directory that `owner` writes, and others may read. */
export const owned = (owner: Domid, ...readers: readonly Domid[]): readonly Permission[] => [
  { domid: owner, access: 'n' },
  ...readers.map((domid): Permission => ({ domid, access: 'r' })),
];

/** Texts that the toolstack writes under a directory, by key. */
export type Texts = Readonly<Record<string, string>>;

/** A domain and what it is called. */
export interface DomainName {
  readonly domid: Domid;
  readonly name: string;
}

/** A device as the toolstack's own copy has it. */
export interface TrustedDevice {
  readonly device: string;
  readonly id: string;
  /** The backend's directory. */
  readonly backend: string;
}

/** Makes a directory where there is none, and what lies in it. */
const addDirectory = async (
  store: StoreOperations,
  path: string,
  permissions: readonly Permission[],
  texts: Texts = {},
): Promise<void> => {
  await store.mkdir(path);
  await store.setPermissions(path, permissions);
  // A node inherits its directory's permissions, so the ends can write what the toolstack wrote here.
  for (const [key, text] of Object.entries(texts)) await store.write(`${path}/${key}`, text);
};

/** Makes a directory anew, and what lies in it. */
export const makeDirectory = async (
  store: StoreOperations,
  path: string,
  permissions: readonly Permission[],
  texts: Texts = {},
): Promise<void> => {
  await store.rm(path);
  await addDirectory(store, path, permissions, texts);
};

/** Removes a directory, and those above it that hold nothing any more, down to the domain's own (`libxl__xs_path_cleanup`). */
export const remove = async (store: StoreOperations, path: string): Promise<void> => {
  await store.rm(path);
  for (let at = parent(path); /^\/(local\/domain|libxl)\/[0-9]+\/.+\/.+/.test(at); at = parent(at)) {
    const children = await store.directory(at);
    if (children === undefined || children.length > 0) return;
    await store.rm(at);
  }
};

/** The directories of a new domain, with libxl's permissions (libxl_create.c `libxl__domain_make`). */
export const writeDomain = async (store: StoreOperations, domid: Domid, name: string): Promise<void> => {
  const path = `/local/domain/${domid}`;
  const readOnly = owned(DOM0, domid);
  await makeDirectory(store, path, readOnly, { name, domid: String(domid) });
  await makeDirectory(store, `/libxl/${domid}`, owned(DOM0));
  await addDirectory(store, `/libxl/${domid}/device`, owned(DOM0));
  const platform = { 'platform-feature-multiprocessor-suspend': '1', 'platform-feature-xs_reset_watches': '1' };
  await addDirectory(store, `${path}/cpu`, readOnly);
  await addDirectory(store, `${path}/memory`, readOnly);
  await addDirectory(store, `${path}/device`, readOnly);
  await addDirectory(store, `${path}/control`, readOnly, platform);
  const writable = [
    'device/suspend/event-channel',
    'control/shutdown',
    'control/feature-poweroff',
    'control/feature-reboot',
    'control/feature-suspend',
    'control/sysrq',
    'data',
    'drivers',
    'feature',
    'attr',
    'error',
  ];
  for (const child of writable) await addDirectory(store, `${path}/${child}`, owned(domid));
};

/** The domains that have a name, dom0 not among them. */
export const namedDomains = async (store: StoreOperations): Promise<readonly DomainName[]> => {
  const found: DomainName[] = [];
  for (const child of (await store.directory('/local/domain')) ?? []) {
    const name = child === '0' ? undefined : await store.read(`/local/domain/${child}/name`);
    if (name !== undefined) found.push({ domid: asDomid(Number(child)), name });
  }
  return found;
};

/** @throws XenError EEXIST when a domain has this name */
export const refuseTwin = async (store: StoreOperations, name: string): Promise<void> => {
  if (!(await namedDomains(store)).some((domain) => domain.name === name)) return;
  throw new XenError('EEXIST', `a domain called ${name} is there already; choose another name`);
};

/** A domain's devices by the toolstack's own copies, which no guest can write (XSA-175, XSA-178). */
export const trustedDevices = async (store: StoreOperations, domid: Domid): Promise<readonly TrustedDevice[]> => {
  const devices: TrustedDevice[] = [];
  const root = `/libxl/${domid}/device`;
  for (const device of (await store.directory(root)) ?? []) {
    for (const id of (await store.directory(`${root}/${device}`)) ?? []) {
      const backend = await store.read(`${root}/${device}/${id}/backend`);
      if (backend !== undefined) devices.push({ device, id, backend });
    }
  }
  return devices;
};

const parent = (path: string): string => path.slice(0, path.lastIndexOf('/'));
