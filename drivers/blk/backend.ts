import { inject } from 'inversify';
import { type BackendValues, type BackLink, type BackOffer, backend, Log, type OfferValues } from '../../core/index.js';
import { BlockQueue } from './block-queue.js';
import { type Disk, Disks } from './disk.js';
import { blk, vdisk } from './protocol.js';

/** Serves a disk of class `vbd`: read, write and flush, 11 segments a request, one ring of one page. */
@backend(blk)
export class BlkBackend {
  readonly #disks: Disks;
  readonly #log: Log;
  #disk: Disk | undefined;

  constructor(@inject(Disks) disks: Disks, @inject(Log) log: Log) {
    this.#disks = disks;
    this.#log = log;
  }

  async offer({ toolstack, subscription }: BackOffer<typeof blk>): Promise<OfferValues<typeof blk>> {
    const { params, mode } = toolstack;
    const disk = await this.#disks.open({ params, mode });
    this.#disk = disk;
    subscription.add(() => disk.close());
    return { 'feature-flush-cache': true };
  }

  connect({ drain, grants, publish, toolstack, device }: BackLink<typeof blk>): void {
    const disk = this.#disk;
    if (disk === undefined) throw new Error(`${device.path} connects without having offered a disk`);
    publish(geometry(disk, toolstack));
    const queue = new BlockQueue({ disk, grants, log: this.#log, source: device.path });
    drain((slots) => queue.drain(slots));
  }
}

const geometry = (
  disk: Disk,
  toolstack: BackOffer<typeof blk>['toolstack'],
): Omit<BackendValues<typeof blk>, 'feature-flush-cache'> => ({
  sectors: disk.sectors,
  'sector-size': disk.sectorSize,
  'physical-sector-size': disk.sectorSize,
  info:
    (toolstack['device-type'] === 'cdrom' ? vdisk.cdrom : 0) |
    (toolstack.removable ? vdisk.removable : 0) |
    (disk.readOnly ? vdisk.readonly : 0),
});
