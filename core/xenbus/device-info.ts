import type { Domid } from '../abi/units.js';

/** Which device a link belongs to. */
export interface DeviceInfo {
  /** The device's number or name below its class, as its directory is called: `51712`. */
  readonly id: string;
  /** This end's directory, relative to its own domain's: `device/vbd/51712`, `backend/vbd/3/51712`. */
  readonly path: string;
  /** The other end's directory, absolute. */
  readonly otherendPath: string;
  /** The other end's domain. */
  readonly otherend: Domid;
}
