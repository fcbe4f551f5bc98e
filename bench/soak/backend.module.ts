import { ContainerModule, inject, injectable } from 'inversify';
import { Domain, Program, XenStore } from '../../core/index.js';
import { Disks, RawDisks } from '../../drivers/blk/index.js';
import { obey } from './orders.js';

export { BlkBackend } from '../../drivers/blk/index.js';

/** Lets the domain be told to end itself. */
@injectable()
class Orders extends Program {
  readonly #domain: Domain;
  readonly #store: XenStore;

  constructor(@inject(Domain) domain: Domain, @inject(XenStore) store: XenStore) {
    super();
    this.#domain = domain;
    this.#store = store;
  }

  run(): Promise<void> {
    obey(this.#domain, this.#store, () => {});
    return new Promise(() => {});
  }
}

/** Serves raw images, until it is told to die. */
export default new ContainerModule(({ bind }) => {
  bind(Disks).to(RawDisks).inSingletonScope();
  bind(Program).to(Orders);
});
