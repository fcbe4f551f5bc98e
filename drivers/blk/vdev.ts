import { asVdev, type Vdev } from '../../core/index.js';

const EXTENDED = 1 << 28;
const MAX_DISK = (1 << 20) - 1;

/** The major numbers that xen-vbd-interface(7) knows, with the bits that each has for disk and partition. */
const majors = {
  xvd: { first: 202, disks: 16, partitions: 16 },
  sd: { first: 8, disks: 16, partitions: 16 },
  hd: { first: 3, disks: 2, partitions: 64 },
  // The second IDE controller's disks are hdc and hdd.
  hd2: { first: 22, disks: 2, partitions: 64 },
} as const;

/** `a` for 0, `z` for 25, `aa` for 26: base 26 without a zero. */
const letters = (disk: number): string =>
  (disk >= 26 ? letters(Math.floor(disk / 26) - 1) : '') + String.fromCharCode(97 + (disk % 26));

const diskOf = (name: string): number => [...name].reduce((disk, c) => (disk + 1) * 26 + c.charCodeAt(0) - 97, -1);

const pack = ({ first, partitions }: (typeof majors)[keyof typeof majors], disk: number, partition: number): Vdev =>
  asVdev(first * 256 + disk * partitions + partition);

const refuse = (name: string): never => {
  throw new RangeError(
    `${JSON.stringify(name)} names no virtual device: take xvda … , d0p0 … , sda … sdp, hda … hdd, or a number`,
  );
};

/**
 * The number of a virtual device by any name that xl takes: `xvda`, `xvdb2`, `d1p2`, `sda`, `hdc1`, or the number itself
 * (libxl_device.c `libxl__device_disk_dev_number`). @throws RangeError when it names none
 */
export const vdevOf = (name: string): Vdev => {
  if (/^(0|[1-9][0-9]*|0x[0-9a-fA-F]+)$/.test(name)) {
    const value = Number(name);
    return value < 2 ** 31 ? asVdev(value) : refuse(name);
  }
  const byNumber = /^d([0-9]+)p([0-9]+)$/.exec(name);
  const byLetters = /^(xvd|sd|hd)([a-z]{1,5})([1-9][0-9]*)?$/.exec(name);
  if (byNumber === null && byLetters === null) return refuse(name);
  const kind = byLetters?.[1] ?? 'xvd';
  const disk = byNumber === null ? diskOf(byLetters?.[2] ?? '') : Number(byNumber[1]);
  const partition = Number(byNumber?.[2] ?? byLetters?.[3] ?? 0);
  switch (kind) {
    case 'hd':
      if (disk > 3 || partition > 63) return refuse(name);
      return disk < 2 ? pack(majors.hd, disk, partition) : pack(majors.hd2, disk - 2, partition);
    case 'sd':
      if (disk > 15 || partition > 15) return refuse(name);
      return pack(majors.sd, disk, partition);
    default:
      if (disk > MAX_DISK || partition > 255) return refuse(name);
      return disk <= 15 && partition <= 15
        ? pack(majors.xvd, disk, partition)
        : asVdev(EXTENDED + disk * 256 + partition);
  }
};

/** A virtual device's name: `xvda` for 51712; undefined for numbers that guests should ignore (xen-vbd-interface(7)). */
export const vdevName = (vdev: Vdev): string | undefined => {
  const named = (kind: string, disk: number, partition: number): string =>
    `${kind}${letters(disk)}${partition === 0 ? '' : partition}`;
  if (vdev >= EXTENDED) {
    const disk = Math.floor((vdev - EXTENDED) / 256);
    return disk <= MAX_DISK ? named('xvd', disk, vdev % 256) : undefined;
  }
  const major = Math.floor(vdev / 256);
  const minor = vdev % 256;
  if (major === majors.xvd.first) return named('xvd', minor >> 4, minor & 15);
  if (major === majors.sd.first) return named('sd', minor >> 4, minor & 15);
  if (minor >= 128) return undefined;
  if (major === majors.hd.first) return named('hd', minor >> 6, minor & 63);
  return major === majors.hd2.first ? named('hd', (minor >> 6) + 2, minor & 63) : undefined;
};
