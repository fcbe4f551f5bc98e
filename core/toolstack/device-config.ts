import type { Domid } from '../abi/units.js';

/** A device as the toolstack is asked for it. */
export interface DeviceConfig {
  /** The class, as its directories are called: `vbd`. */
  readonly device: string;
  /**
   * The kind of backend, as its directory is called; that of the class without it. Several may serve one class: `vbd` and `qdisk` do.
   */
  readonly type?: string;
  /** The device's number or name: `51712`, `0`. */
  readonly id: string | number;
  readonly frontend: Domid;
  readonly backend: Domid;
  /** The class's own keys, as text, for either directory. */
  readonly keys?: {
    readonly frontend?: Readonly<Record<string, string>>;
    readonly backend?: Readonly<Record<string, string>>;
  };
}

/** The directories of a device, absolute (libxl_device.c). */
export const devicePaths = ({
  device,
  type = device,
  id,
  frontend,
  backend,
}: Pick<DeviceConfig, 'device' | 'type' | 'id' | 'frontend' | 'backend'>) =>
  ({
    frontend: `/local/domain/${frontend}/device/${device}/${id}`,
    backend: `/local/domain/${backend}/backend/${type}/${frontend}/${id}`,
    /** The toolstack's own copy, which no guest can write (XSA-175, XSA-178). */
    trusted: `/libxl/${frontend}/device/${device}/${id}`,
  }) as const;
