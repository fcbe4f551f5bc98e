import { ContainerModule, inject, injectable } from 'inversify';
import {
  asSector,
  CommandLine,
  connection,
  Domain,
  devices$,
  Program,
  Reporter,
  XenStore,
} from '../../../core/index.js';
import { BlkFrontend } from '../../../drivers/blk/index.js';
import type { Progress, VictimCommandLine } from './protocol.js';

/** Requests under way: of a disk, and of the store. */
const DEPTH = 32;
const STORE_DEPTH = 4;
const BYTES = 4096;
/** Milliseconds between two reports. */
const REPORT_EVERY = 5;

/** Does one thing again and again, and tells how often. */
@injectable()
class Victim extends Program {
  readonly #domain: Domain;
  readonly #store: XenStore;
  readonly #reporter: Reporter;
  readonly #disk: number | undefined;
  #done = 0;
  #reported = 0;

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
    this.#disk = (commandLine.value as VictimCommandLine).disk;
  }

  async run(): Promise<void> {
    if (this.#disk === undefined) {
      await this.#load(STORE_DEPTH, () => this.#store.read('name'));
      return;
    }
    // Whatever other disks there are has a driver, too.
    this.#domain.subscription.add(devices$(this.#domain, BlkFrontend).subscribe());
    const disk = await connection(this.#domain, BlkFrontend, this.#disk);
    const buffers = Array.from({ length: DEPTH }, () => new Uint8Array(BYTES));
    await this.#load(DEPTH, (lane) => disk.read(asSector(lane * 8), buffers[lane] as Uint8Array));
  }

  async #load(depth: number, work: (lane: number) => Promise<unknown>): Promise<void> {
    const lane = async (index: number): Promise<void> => {
      for (;;) {
        await work(index);
        this.#done++;
        const at = performance.now();
        if (at - this.#reported < REPORT_EVERY) continue;
        this.#reported = at;
        this.#reporter.report({ at, done: this.#done } satisfies Progress);
      }
    };
    await Promise.all(Array.from({ length: depth }, (_, index) => lane(index)));
  }
}

/** Who is not to notice the storm. */
export default new ContainerModule(({ bind }) => {
  bind(Program).to(Victim);
});
