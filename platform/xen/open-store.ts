import { existsSync } from 'node:fs';
import { WireXenStore } from '../../xenstore/index.js';
import { connectStore, StreamTransport, XENSTORED_SOCKET } from '../../xenstore/transports/stream-transport.js';
import { openDevice, type XenDevice } from './device.js';
import { DeviceXenStore } from './device-store.js';
import { deviceStream } from './device-stream.js';
import { codeOf, XenUnavailable } from './unavailable.js';

/** A way to the store: xenstored's socket, where it runs in this domain, or the kernel's device in any domain. */
export type StoreWay = 'socket' | 'xenbus';

/** A client of the store, and what became of its connection. */
export interface OpenStore extends Disposable {
  readonly store: WireXenStore | DeviceXenStore;
  /** Resolves, with the reason, when the connection is lost or closed. */
  readonly lost: Promise<Error>;
}

/**
 * Connects to the store, by the socket if there is one and nothing else was asked for.
 * @throws XenUnavailable when the store is not reached
 */
export const openStore = async (
  way: StoreWay = existsSync(XENSTORED_SOCKET) ? 'socket' : 'xenbus',
): Promise<OpenStore> => {
  if (way === 'xenbus') return openDeviceStore(() => openDevice('xenbus'));
  let transport: StreamTransport;
  try {
    transport = await connectStore();
  } catch (error) {
    const code = codeOf(error);
    const advice = code === 'EACCES' || code === 'EPERM' ? 'start this as root' : 'is xenstored running?';
    throw new XenUnavailable(`${XENSTORED_SOCKET} does not answer (${code}): ${advice}`);
  }
  const store = new WireXenStore(transport);
  return { store, lost: transport.lost, [Symbol.dispose]: () => store[Symbol.dispose]() };
};

/** The store by the device that `open` opens, which it does twice. @throws what it throws, with nothing left open */
export const openDeviceStore = (open: () => XenDevice): OpenStore => {
  const requests = transportOf(open());
  let watches: StreamTransport;
  try {
    watches = transportOf(open());
  } catch (error) {
    requests[Symbol.dispose]();
    throw error;
  }
  const store = new DeviceXenStore(requests, watches);
  const lost = Promise.race([requests.lost, watches.lost]);
  return { store, lost, [Symbol.dispose]: () => store[Symbol.dispose]() };
};

const transportOf = ({ fd }: XenDevice): StreamTransport => new StreamTransport(deviceStream(fd));
