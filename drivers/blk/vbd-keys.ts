import { vdevOf } from './vdev.js';

/** A disk as the toolstack is asked for it. */
export interface VbdConfig {
  /** The guest's name for it, as {@link vdevOf} takes it: `xvda`. */
  readonly vdev: string;
  /** Which disk, as the backend understands it: for a raw image, its path. */
  readonly params: string;
  /** Whether the guest may write; `r` without it. */
  readonly mode?: 'r' | 'w';
  readonly cdrom?: boolean;
  readonly removable?: boolean;
  /** Whether discard may be offered; yes without it. */
  readonly discard?: boolean;
  /** Whether the guest may believe the backend; yes without it (XSA-403). */
  readonly trusted?: boolean;
}

/** The texts of a disk's own keys, by the directory that they go to. */
export interface VbdKeys {
  readonly frontend: Readonly<Record<string, string>>;
  readonly backend: Readonly<Record<string, string>>;
}

const digit = (value: boolean): string => (value ? '1' : '0');

/**
 * What xl writes for a disk of class `vbd`, besides what it writes for every device (libxl_disk.c `device_disk_add`).
 * @throws RangeError when `vdev` names no virtual device
 */
export const vbdKeys = ({
  vdev,
  params,
  mode = 'r',
  cdrom = false,
  removable = false,
  discard = true,
  trusted = true,
}: VbdConfig): VbdKeys => ({
  frontend: {
    'virtual-device': String(vdevOf(vdev)),
    'device-type': cdrom ? 'cdrom' : 'disk',
    trusted: digit(trusted),
  },
  backend: {
    params,
    script: '/etc/xen/scripts/block',
    removable: digit(removable),
    bootable: '1',
    dev: vdev,
    type: 'phy',
    mode,
    'device-type': cdrom ? 'cdrom' : 'disk',
    'discard-enable': digit(discard),
  },
});
