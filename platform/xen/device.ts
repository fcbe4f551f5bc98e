import { closeSync, constants, existsSync, openSync, readFileSync } from 'node:fs';
import { codeOf, XenUnavailable } from './unavailable.js';

/** Where Linux says which hypervisor it runs on. */
const HYPERVISOR = '/sys/hypervisor/type';

/** A device of Xen's that is open. */
export interface XenDevice extends Disposable {
  readonly path: string;
  readonly fd: number;
}

/** @throws XenUnavailable unless this process runs in a Linux domain of Xen */
export const checkXen = (): void => {
  const type = existsSync(HYPERVISOR) ? readFileSync(HYPERVISOR, 'utf8').trim() : undefined;
  if (type === 'xen') return;
  const why = type === undefined ? `there is no ${HYPERVISOR}` : `${HYPERVISOR} says ${type}`;
  throw new XenUnavailable(
    `this machine does not run on Xen (${why}): start it in dom0 or in a guest; splitring run needs no Xen`,
  );
};

/** Opens /dev/xen/NAME. @throws XenUnavailable when it is missing or may not be opened */
export const openDevice = (name: 'evtchn' | 'gntdev' | 'gntalloc' | 'xenbus'): XenDevice => {
  const path = `/dev/xen/${name}`;
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR);
  } catch (error) {
    throw new XenUnavailable(adviceOn(path, name, codeOf(error)));
  }
  return { path, fd, [Symbol.dispose]: () => closeSync(fd) };
};

const adviceOn = (path: string, name: string, code: string): string => {
  if (code === 'EACCES' || code === 'EPERM') return `${path} may only be opened by root (${code}): start this as root`;
  if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO') {
    const module = name === 'xenbus' ? 'xenfs' : `xen-${name}`;
    return `${path} is missing: load its module by modprobe ${module}`;
  }
  return `${path} cannot be opened: ${code}`;
};
