import { ContainerModule } from 'inversify';
import { Bridges } from './bridge.js';

export { NetBackend } from './backend.js';

/** What a domain runs to serve interfaces of class `vif` on bridges of its own. */
export default new ContainerModule(({ bind }) => {
  bind(Bridges).toSelf().inSingletonScope();
});
