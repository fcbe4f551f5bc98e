import { ContainerModule, inject, injectable } from 'inversify';
import {
  Clock,
  CommandLine,
  Domain,
  devices$,
  EventChannels,
  type FrontLink,
  frontend,
  Program,
  Reporter,
} from '../../../core/index.js';
import { SentEvents } from './counted-channels.js';
import { Bursts, SteadyLoad } from './load.js';
import { type LoadOptions, type LoadReport, vbench } from './protocol.js';
import { spinning } from './spin.js';

/** The frontend's count of what it sent, when it is to count. */
@injectable()
class Sent {
  readonly #events: SentEvents | undefined;

  constructor(@inject(EventChannels) channels: EventChannels, @inject(CommandLine) commandLine: CommandLine) {
    const { counting } = commandLine.value as LoadOptions;
    this.#events = counting ? new SentEvents(channels) : undefined;
  }

  get count(): number {
    return this.#events?.count ?? 0;
  }
}

/** Puts the load on the ring as soon as it is there. It is made of callbacks alone, as it must be where the thread blocks. */
@frontend(vbench)
export class BenchFrontend {
  readonly #options: LoadOptions;
  readonly #reporter: Reporter;
  readonly #clock: Clock;
  readonly #sent: Sent;
  readonly #spins: () => boolean;

  constructor(
    @inject(CommandLine) commandLine: CommandLine,
    @inject(Reporter) reporter: Reporter,
    @inject(Clock) clock: Clock,
    @inject(Sent) sent: Sent,
  ) {
    this.#options = commandLine.value as LoadOptions;
    this.#reporter = reporter;
    this.#clock = clock;
    this.#sent = sent;
    this.#spins = spinning(this.#options.spin);
  }

  connect({ ring, subscription }: FrontLink<typeof vbench>): void {
    const { load } = this.#options;
    const report = (result: LoadReport): void => {
      if (!this.#spins()) throw new Error(`the thread does not spin as it was told to: ${this.#options.spin}`);
      this.#reporter.report(result);
    };
    const sends = (): number => this.#sent.count;
    if (load === 'steady') new SteadyLoad(ring, this.#options, sends, report).start();
    else subscription.add(new Bursts(ring, this.#options, sends, report).run$(this.#clock).subscribe());
  }
}

@injectable()
class LoadProgram extends Program {
  readonly #domain: Domain;

  constructor(@inject(Domain) domain: Domain) {
    super();
    this.#domain = domain;
  }

  run(): Promise<void> {
    this.#domain.subscription.add(devices$(this.#domain, BenchFrontend).subscribe());
    return new Promise(() => {});
  }
}

/** What makes the load. */
export default new ContainerModule(({ bind }) => {
  bind(Sent).toSelf().inSingletonScope();
  bind(Program).to(LoadProgram);
});
