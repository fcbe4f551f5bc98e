import { ContainerModule } from 'inversify';
import { asSector } from '../../../core/index.js';
import { type Disk, Disks } from '../../../drivers/blk/disk.js';

export { BlkBackend } from '../../../drivers/blk/backend.js';

/** An operation that a spec settles when it wants. */
export interface Operation {
  readonly what: 'read' | 'write' | 'flush';
  /** In units of 512 bytes, and how many; for a flush 0. */
  readonly sector: number;
  readonly sectors: number;
  readonly views: readonly Uint8Array[];
  readonly succeed: () => void;
  readonly fail: (error: Error) => void;
}

/** What the disks have been asked for and not done, and whether the last was closed. */
export const deferred: { operations: Operation[]; closed: number } = { operations: [], closed: 0 };

const begin = (what: Operation['what'], views: readonly Uint8Array[], position: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const sectors = views.reduce((sum, { length }) => sum + length, 0) / 512;
    deferred.operations.push({ what, sector: position / 512, sectors, views, succeed: resolve, fail: reject });
  });

/** A disk that does nothing by itself; in the spec's own thread. */
const disk: Disk = {
  sectors: asSector(4096),
  sectorSize: 512,
  readOnly: false,
  readInto: (views, position) => begin('read', views, position),
  writeFrom: (views, position) => begin('write', views, position),
  flush: () => begin('flush', [], 0),
  close: () => {
    deferred.closed++;
  },
};

export default new ContainerModule(({ bind }) => {
  bind(Disks).toConstantValue({ open: () => disk });
});
