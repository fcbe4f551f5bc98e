import { parseMac, showMac } from './mac.js';
import { MTU } from './protocol.js';
import { parseRate } from './rate-limit.js';

/** A network interface as the toolstack is asked for it. */
export interface VifConfig {
  /** The interface's number, 0 without it. */
  readonly devid?: number;
  /** The guest's address: `00:16:3e:12:34:56`. */
  readonly mac: string;
  /** The bridge that it is a port of, `xenbr0` without it. */
  readonly bridge?: string;
  /** Bytes of payload, 1500 without it. */
  readonly mtu?: number;
  /** What the guest may send: so many bytes every so many microseconds. */
  readonly rate?: { readonly bytes: number; readonly usec: number };
  /** Whether the guest may believe the backend; yes without it (XSA-403). */
  readonly trusted?: boolean;
}

/** The texts of an interface's own keys, by the directory that they go to. */
export interface VifKeys {
  readonly frontend: Readonly<Record<string, string>>;
  readonly backend: Readonly<Record<string, string>>;
}

/**
 * What xl writes for an interface of class `vif`, besides what it writes for every device (libxl_nic.c `libxl__set_xenstore_nic`).
 * @throws RangeError for an address that is no station's, and an MTU or rate that cannot be
 */
export const vifKeys = ({ devid = 0, mac, bridge = 'xenbr0', mtu, rate, trusted = true }: VifConfig): VifKeys => {
  const address = showMac(parseMac(mac));
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= MTU.min && mtu <= MTU.max))
    throw new RangeError(`an MTU is a whole number from ${MTU.min} to ${MTU.max}, not ${mtu}`);
  const limit = rate === undefined ? undefined : `${rate.bytes},${rate.usec}`;
  if (limit !== undefined && parseRate(limit) === undefined)
    throw new RangeError(`a rate is so many bytes every so many microseconds, not ${limit}`);
  const size: Record<string, string> = mtu === undefined ? {} : { mtu: String(mtu) };
  return {
    frontend: { handle: String(devid), mac: address, ...size, trusted: trusted ? '1' : '0' },
    backend: {
      script: '/etc/xen/scripts/vif-bridge',
      mac: address,
      bridge,
      handle: String(devid),
      type: 'vif',
      ...size,
      ...(limit !== undefined && { rate: limit }),
    },
  };
};
