import { ContainerModule, inject, injectable } from 'inversify';
import {
  CommandLine,
  Domain,
  devices$,
  type EventChannel,
  EventChannels,
  type Port,
  Program,
  Reporter,
  XenStore,
} from '../../../core/index.js';
import { BlkFrontend } from '../../../drivers/blk/index.js';
import type { HypervisorEventChannels } from '../../../platform/hypervisor/event-channels.js';
import { channelsOf, stormOnDemand } from './stormer.js';

/** A guest's port to the store: the first that it was given. */
const STORE_PORT = 1 as Port;

/** A guest that has a disk, does nothing with it, and raises events: at its backend, or at the store. */
@injectable()
class Stormer extends Program {
  readonly #domain: Domain;
  readonly #channels: EventChannels;
  readonly #store: XenStore;
  readonly #reporter: Reporter;
  readonly #atStore: boolean;

  constructor(
    @inject(Domain) domain: Domain,
    @inject(EventChannels) channels: EventChannels,
    @inject(XenStore) store: XenStore,
    @inject(Reporter) reporter: Reporter,
    @inject(CommandLine) commandLine: CommandLine,
  ) {
    super();
    this.#domain = domain;
    this.#channels = channels;
    this.#store = store;
    this.#reporter = reporter;
    this.#atStore = commandLine.value === 'store';
  }

  run(): Promise<void> {
    const opened = channelsOf(this.#channels);
    this.#domain.subscription.add(devices$(this.#domain, BlkFrontend).subscribe());
    const ofStore = (): EventChannel => (this.#channels as HypervisorEventChannels).adopt(STORE_PORT);
    stormOnDemand(this.#domain, this.#channels, this.#store, this.#reporter, () =>
      this.#atStore ? ofStore() : opened.at(-1),
    );
    return new Promise(() => {});
  }
}

/** What storms from a guest. */
export default new ContainerModule(({ bind }) => {
  bind(Program).to(Stormer);
});
