import { ContainerModule } from '../../../core/index.js';
import { Bridges } from '../../../drivers/net/bridge.js';

export { NetBackend } from '../../../drivers/net/backend.js';

export default new ContainerModule(({ bind }) => {
  bind(Bridges).toSelf().inSingletonScope();
});
