import { ContainerModule, inject, injectable } from 'inversify';
import { CommandLine, XenError } from 'splitring';
import { BlkBackend, type Disk, type DiskRequest, Disks, RawDisk } from 'splitring/drivers/blk';

export { BlkBackend };

/** Ways in which a disk can fail its guest. */
export type Lie =
  | 'flips a bit'
  | 'forgets writes'
  | 'keeps writes to itself'
  | 'writes once'
  | 'fails to read'
  | 'shrinks';

/** A raw disk with a fault. */
const faulty = (disk: RawDisk, lie: Lie): Disk => {
  const kept = new Map<number, Uint8Array>();
  let writes = 0;
  const faults: Partial<Disk> = {
    ...(lie === 'flips a bit' && {
      readInto(views, position) {
        disk.readInto(views, position);
        const [view] = views;
        if (position === 0 && view !== undefined) view[17] = (view[17] ?? 0) ^ 1;
      },
    }),
    ...(lie === 'fails to read' && {
      readInto() {
        throw new XenError('EIO', 'the platter is scratched');
      },
    }),
    ...(lie === 'forgets writes' && { writeFrom() {} }),
    ...(lie === 'keeps writes to itself' && {
      readInto(views, position) {
        let at = position;
        for (const view of views) {
          disk.readInto([view], at);
          for (let i = 0; i < view.length; i += 512) view.set(kept.get(at + i) ?? view.subarray(i, i + 512), i);
          at += view.length;
        }
      },
      writeFrom(views, position) {
        let at = position;
        for (const view of views) {
          for (let i = 0; i < view.length; i += 512) kept.set(at + i, view.slice(i, i + 512));
          at += view.length;
        }
      },
    }),
    ...(lie === 'writes once' && {
      writeFrom(views, position) {
        if (writes++ > 0) throw new XenError('EIO', 'the disk has had enough');
        disk.writeFrom(views, position);
      },
    }),
    ...(lie === 'shrinks' && { sectors: (disk.sectors - 1) as Disk['sectors'] }),
  };
  return {
    sectors: disk.sectors,
    sectorSize: disk.sectorSize,
    readOnly: disk.readOnly,
    readInto: (views, position) => disk.readInto(views, position),
    writeFrom: (views, position) => disk.writeFrom(views, position),
    flush: () => disk.flush(),
    close: () => disk.close(),
    ...faults,
  };
};

@injectable()
class LyingDisks extends Disks {
  readonly #lie: Lie;

  constructor(@inject(CommandLine) commandLine: CommandLine) {
    super();
    this.#lie = (commandLine.value as { readonly lie: Lie }).lie;
  }

  override open({ params, mode }: DiskRequest): Disk {
    return faulty(new RawDisk(params, { mode }), this.#lie);
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Disks).to(LyingDisks);
});
