import { ContainerModule, inject, injectable } from 'inversify';
import { Domain, EventChannels, Program, Reporter, XenStore } from '../../../core/index.js';
import { Disks } from '../../../drivers/blk/index.js';
import { noDisk } from '../no-disk.js';
import { channelsOf, stormOnDemand } from './stormer.js';

export { BlkBackend } from '../../../drivers/blk/index.js';

/** A backend that can be told to raise events at the guest that connected to it last. */
@injectable()
class Rogue extends Program {
  readonly #domain: Domain;
  readonly #channels: EventChannels;
  readonly #store: XenStore;
  readonly #reporter: Reporter;

  constructor(
    @inject(Domain) domain: Domain,
    @inject(EventChannels) channels: EventChannels,
    @inject(XenStore) store: XenStore,
    @inject(Reporter) reporter: Reporter,
  ) {
    super();
    this.#domain = domain;
    this.#channels = channels;
    this.#store = store;
    this.#reporter = reporter;
  }

  run(): Promise<void> {
    const opened = channelsOf(this.#channels);
    stormOnDemand(this.#domain, this.#channels, this.#store, this.#reporter, () => opened.at(-1));
    return new Promise(() => {});
  }
}

/** What serves all, and storms where it is told to. */
export default new ContainerModule(({ bind }) => {
  bind(Disks).toConstantValue({ open: () => noDisk({ readOnly: false }) });
  bind(Program).to(Rogue);
});
