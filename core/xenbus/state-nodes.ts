import type { StoreOperations } from '../domain/xenstore.js';
import { XenError } from '../errors.js';
import type { DeviceInfo } from './device-info.js';
import { parseState, showState, type XenbusState } from './states.js';

/** This end's state as the store has it. @throws PeerFault when it is none */
export const readOwnState = async (store: StoreOperations, { path }: DeviceInfo): Promise<XenbusState> => {
  const node = `${path}/state`;
  return parseState(await store.read(node), node);
};

/**
 * The other end's state as the store has it: none where there is no node, or nothing that this domain may read, which is what the
 * store says of a directory whose domain is gone (`xenbus_read_driver_state`). @throws PeerFault when it is none
 */
export const readOtherState = async (store: StoreOperations, { otherendPath }: DeviceInfo): Promise<XenbusState> => {
  const node = `${otherendPath}/state`;
  return parseState(await readIfAllowed(store, node), node);
};

/** As `read`; undefined where this domain may not read. */
export const readIfAllowed = async (store: StoreOperations, path: string): Promise<string | undefined> => {
  try {
    return await store.read(path);
  } catch (error) {
    if (error instanceof XenError && error.code === 'EACCES') return undefined;
    throw error;
  }
};

/** One move of an end to another state. */
export interface StateChange {
  /** Nothing is written unless this is still the state: the toolstack may close a device, or take it away, at any time. */
  readonly from: XenbusState;
  readonly to: XenbusState;
  /** Nothing is written when this says no. */
  readonly stands?: ((store: StoreOperations) => Promise<boolean>) | undefined;
  /** What is written with the state. */
  readonly also?: ((store: StoreOperations) => Promise<void>) | undefined;
}

/** Writes a state with what goes with it, for a transaction; whether it did. */
export const writeState = async (
  store: StoreOperations,
  device: DeviceInfo,
  { from, to, stands, also }: StateChange,
): Promise<boolean> => {
  if ((await readOwnState(store, device)) !== from) return false;
  if (stands !== undefined && !(await stands(store))) return false;
  await also?.(store);
  await store.write(`${device.path}/state`, showState(to));
  return true;
};
