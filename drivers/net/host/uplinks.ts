import { readFileSync } from 'node:fs';
import { inject, injectable, optional } from 'inversify';
import { Clock, CommandLine, Domain, GrantTable, Log, Program, Reporter } from '../../../core/index.js';
import { Bridges } from '../bridge.js';
import { readCapture } from '../pcap-reader.js';
import { droppedText } from '../port-statistics.js';
import { PACKET_PAGES } from '../protocol.js';
import { ReplayPort } from '../replay-port.js';
import { type BridgeCommandLine, bridgeCommandLine } from './bridge-command-line.js';
import { CaptureFolder } from './capture.js';
import { TapPort, type TapPortOptions } from './tap-port.js';

/** What the domain reports of its ports that are no vifs. */
export type BridgeReport =
  | { readonly event: 'tap'; readonly name: string }
  | { readonly event: 'replayed'; readonly packets: number };

/** The folder that the command line names. */
@injectable()
export class CommandLineCapture extends CaptureFolder {
  readonly path: string | undefined;

  constructor(@inject(CommandLine) @optional() commandLine?: CommandLine) {
    super();
    this.path = bridgeCommandLine(commandLine?.value).pcap;
  }
}

/** Opens the ports that the command line names, and stays. */
@injectable()
export class Uplinks extends Program {
  readonly #options: BridgeCommandLine;
  readonly #domain: Domain;
  readonly #bridges: Bridges;
  readonly #grants: GrantTable;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #reporter: Reporter;

  constructor(
    @inject(CommandLine) commandLine: CommandLine,
    @inject(Domain) domain: Domain,
    @inject(Bridges) bridges: Bridges,
    @inject(GrantTable) grants: GrantTable,
    @inject(Clock) clock: Clock,
    @inject(Log) log: Log,
    @inject(Reporter) reporter: Reporter,
  ) {
    super();
    this.#options = bridgeCommandLine(commandLine.value);
    this.#domain = domain;
    this.#bridges = bridges;
    this.#grants = grants;
    this.#clock = clock;
    this.#log = log;
    this.#reporter = reporter;
  }

  override async run(): Promise<void> {
    const { tap, replay } = this.#options;
    if (tap !== undefined) await this.#openTap(tap);
    if (replay !== undefined) this.#play(replay);
    await new Promise(() => {});
  }

  async #openTap(options: TapPortOptions): Promise<void> {
    const onDropped: TapPortOptions['onDropped'] = (reason) => {
      this.#log.write({ level: 'warning', source: options.name, text: droppedText(reason) });
    };
    const onLost = (why: string): void => {
      const text = `the TAP device is gone, and nothing goes through it any more: ${why}`;
      this.#log.write({ level: 'error', source: options.name, text });
    };
    const port = await TapPort.open({ ...options, onDropped, onLost }, this.#bridge, this.#grants);
    this.#domain.subscription.add(() => port[Symbol.dispose]());
    this.#log.write({ level: 'info', source: port.name, text: 'is a port of the bridge' });
    this.#reporter.report({ event: 'tap', name: port.name });
  }

  #play(path: string): void {
    const packets = readCapture(readFileSync(path));
    const page = this.#grants.alloc(PACKET_PAGES);
    const port = new ReplayPort(path, packets, this.#bridge, page, this.#clock, () =>
      this.#reporter.report({ event: 'replayed', packets: packets.length }),
    );
    this.#domain.subscription.add(() => {
      port[Symbol.dispose]();
      page[Symbol.dispose]();
    });
  }

  get #bridge(): ReturnType<Bridges['get']> {
    return this.#bridges.get(this.#options.name ?? 'xenbr0');
  }
}
