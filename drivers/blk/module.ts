import { ContainerModule } from 'inversify';
import { Disks } from './disk.js';
import { RawDisks } from './host/raw-disks.js';

export { BlkBackend } from './backend.js';
export { attachment } from './host/attachment.js';

/** What a domain runs to serve raw image files as disks of class `vbd`. */
export default new ContainerModule(({ bind }) => {
  bind(Disks).to(RawDisks).inSingletonScope();
});
