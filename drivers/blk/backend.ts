import { inject } from 'inversify';
import { type BackendValues, type BackLink, type BackOffer, backend, Log, type OfferValues } from '../../core/index.js';
import { BlockQueue } from './block-queue.js';
import { type Disk, Disks } from './disk.js';
import { paramsOf } from './params-of.js';
import { blk, vdisk } from './protocol.js';

/** A disk that is offered, and the queue of the link that has come about with it. */
interface Life {
  readonly disk: Disk;
  queue: BlockQueue | undefined;
}

/** Serves a disk of class `vbd`: read, write and flush, 11 segments a request, one ring of one page, persistent grants. */
@backend(blk)
export class BlkBackend {
  readonly #disks: Disks;
  readonly #log: Log;
  #life: Life | undefined;

  constructor(@inject(Disks) disks: Disks, @inject(Log) log: Log) {
    this.#disks = disks;
    this.#log = log;
  }

  async offer({ toolstack, subscription }: BackOffer<typeof blk>): Promise<OfferValues<typeof blk>> {
    const { mode } = toolstack;
    const disk = await this.#disks.open({ params: paramsOf(toolstack), mode });
    const life: Life = { disk, queue: undefined };
    this.#life = life;
    subscription.add(() => {
      if (life.queue === undefined) disk.close();
      else life.queue.end(() => disk.close());
    });
    return { 'feature-flush-cache': true, 'feature-persistent': true };
  }

  connect({ drain, grants, publish, toolstack, own, peer, device }: BackLink<typeof blk>): void {
    const life = this.#life;
    if (life === undefined) throw new Error(`${device.path} connects without having offered a disk`);
    const { disk } = life;
    publish(geometry(disk, toolstack));
    const persistent = own['feature-persistent'] && peer['feature-persistent'];
    const queue = new BlockQueue({ disk, grants, persistent, log: this.#log, source: device.path });
    life.queue = queue;
    drain((slots) => queue.drain(slots));
  }
}

const geometry = (
  disk: Disk,
  toolstack: BackOffer<typeof blk>['toolstack'],
): Omit<BackendValues<typeof blk>, keyof OfferValues<typeof blk>> => ({
  sectors: disk.sectors,
  'sector-size': disk.sectorSize,
  'physical-sector-size': disk.sectorSize,
  info:
    (toolstack['device-type'] === 'cdrom' ? vdisk.cdrom : 0) |
    (toolstack.removable ? vdisk.removable : 0) |
    (disk.readOnly ? vdisk.readonly : 0),
});
