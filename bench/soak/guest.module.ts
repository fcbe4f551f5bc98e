import { ContainerModule, inject, injectable } from 'inversify';
import { switchMap } from 'rxjs';
import { CommandLine, Domain, devices$, Program, Reporter, XenStore } from '../../core/index.js';
import { BlkFrontend } from '../../drivers/blk/index.js';
import { Random } from '../../platform/local/random.js';
import { Load } from './load.js';
import { Model } from './model.js';
import { obey } from './orders.js';
import type { GuestCommandLine, GuestReport } from './protocol.js';

/** Loads the disk that it is given, whenever it is given one, until it is told to stop. */
@injectable()
class SoakGuest extends Program {
  readonly #domain: Domain;
  readonly #store: XenStore;
  readonly #reporter: Reporter;
  readonly #options: GuestCommandLine;

  constructor(
    @inject(Domain) domain: Domain,
    @inject(XenStore) store: XenStore,
    @inject(Reporter) reporter: Reporter,
    @inject(CommandLine) commandLine: CommandLine,
  ) {
    super();
    this.#domain = domain;
    this.#store = store;
    this.#reporter = reporter;
    this.#options = commandLine.value as GuestCommandLine;
  }

  async run(): Promise<void> {
    const { seed, first, sectors, model } = this.#options;
    const report = (value: GuestReport): void => this.#reporter.report(value);
    const load = new Load(new Model(model, first, sectors), new Random(seed), report);
    obey(this.#domain, this.#store, () => load.stop());
    this.#domain.subscription.add(
      devices$(this.#domain, BlkFrontend)
        .pipe(switchMap(({ connections$ }) => connections$))
        .subscribe((disk) => load.connected(disk)),
    );
    try {
      await load.run();
      report({ event: 'done' });
    } catch (error) {
      report({ event: 'differs', text: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
    return new Promise(() => {});
  }
}

/** What makes the load. */
export default new ContainerModule(({ bind }) => {
  bind(Program).to(SoakGuest);
});
