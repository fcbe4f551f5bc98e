import { resolve } from 'node:path';
import type { Vdev } from '../../../core/index.js';
import { type VbdKeys, vbdKeys } from '../vbd-keys.js';
import { vdevOf } from '../vdev.js';
import { RawDisk } from './raw-disk.js';

const required = (text: string): string => {
  if (text === '') throw new RangeError('it takes the path of a raw image');
  return text;
};

/** What `splitring attach` is told of a disk, and what it makes of that. */
export const attachment = {
  options: {
    vdev: {
      value: 'VDEV',
      description: "the guest's name for the disk: xvdb, or a number",
      parse: (text: string): string => {
        vdevOf(text);
        return text;
      },
    },
  },
  /** What is needed besides to attach. */
  more: {
    disk: { value: 'FILE', description: 'a raw image', parse: required },
    readonly: { description: 'the guest may only read it' },
  },
  id: ({ vdev }: { readonly vdev: string }): Vdev => vdevOf(vdev),
  /** @throws DiskError for a file that cannot be served */
  check({ disk, readonly }: { readonly disk: string; readonly readonly: boolean }): void {
    new RawDisk(disk, { mode: readonly ? 'r' : 'w' }).close();
  },
  keys: ({
    vdev,
    disk,
    readonly,
  }: {
    readonly vdev: string;
    readonly disk: string;
    readonly readonly: boolean;
  }): VbdKeys => vbdKeys({ vdev, params: resolve(disk), mode: readonly ? 'r' : 'w' }),
};
