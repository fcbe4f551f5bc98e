import { ContainerModule, inject, injectable } from 'inversify';
import {
  type BackLink,
  backend,
  CommandLine,
  EventChannels,
  Reporter,
  type RequestView,
  type ResponseDraft,
} from '../../../core/index.js';
import { SentEvents } from './counted-channels.js';
import { type BackendReport, type LoadOptions, vbench } from './protocol.js';
import { spinning } from './spin.js';

/** Requests between two reports of what was counted. */
const REPORT_EVERY = 4096;

/** What the backend tells, when it is to count. */
@injectable()
class Tally {
  readonly #sent: SentEvents | undefined;
  readonly #reporter: Reporter;
  #served = 0;

  constructor(
    @inject(EventChannels) channels: EventChannels,
    @inject(Reporter) reporter: Reporter,
    @inject(CommandLine) commandLine: CommandLine,
  ) {
    const { counting, spin } = commandLine.value as LoadOptions;
    spinning(spin);
    this.#sent = counting ? new SentEvents(channels) : undefined;
    this.#reporter = reporter;
  }

  get counts(): boolean {
    return this.#sent !== undefined;
  }

  served(): void {
    this.#served++;
    if (this.#sent === undefined || this.#served % REPORT_EVERY !== 0) return;
    this.#reporter.report({ served: this.#served, sends: this.#sent.count } satisfies BackendReport);
  }
}

/** Reads what a disk would need of each request, and says that all went well. */
@backend(vbench)
export class BenchBackend {
  /** What was read; it keeps the compiler from leaving the reading out. */
  sum = 0;
  readonly #tally: Tally;

  constructor(@inject(Tally) tally: Tally) {
    this.#tally = tally;
  }

  connect({ serve }: BackLink<typeof vbench>): void {
    const answer = (
      { operation, rw }: RequestView<typeof vbench.ring>,
      response: ResponseDraft<typeof vbench.ring>,
    ): void => {
      const segment = rw.seg.at(0);
      this.sum = (this.sum + rw.sector_number + segment.gref + segment.last_sect) | 0;
      response.set({ operation, status: 0 });
    };
    if (!this.#tally.counts) serve(answer);
    else {
      serve((request, response) => {
        answer(request, response);
        this.#tally.served();
      });
    }
  }
}

/** What serves the load. */
export default new ContainerModule(({ bind }) => {
  // Made before any channel is opened: it counts what is sent by those.
  bind(Tally).toSelf().inSingletonScope();
});
