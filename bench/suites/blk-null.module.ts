import { ContainerModule } from 'inversify';
import { Disks } from '../../drivers/blk/index.js';
import { noDisk } from './no-disk.js';

export { BlkBackend } from '../../drivers/blk/index.js';

export default new ContainerModule(({ bind }) => {
  bind(Disks).toConstantValue({ open: () => noDisk({ readOnly: true }) });
});
