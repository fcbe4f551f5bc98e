import { ContainerModule, inject, injectable } from 'inversify';
import {
  Clock,
  CommandLine,
  Domain,
  type Domid,
  type EventChannel,
  EventChannels,
  type Port,
  Program,
  Reporter,
} from '../../../core/index.js';

/** What the two domains of the event case are started with. */
export type PingOptions =
  | { readonly role: 'echo'; readonly remote: Domid; readonly channels: number }
  | { readonly role: 'ping'; readonly remote: Domid; readonly ports: readonly Port[]; readonly trips: number };

/** What the pinging domain reports: microseconds there and back. */
export type PingReport = { readonly p50: number; readonly p99: number; readonly trips: number };

/** Milliseconds in which what binding the channels raised has come to rest. */
const SETTLE = 300;
/** Trips before those that are measured: they are for the compiler. */
const WARM_UP = 6_000;

/** Sends an event to and fro, each time through another of its channels. It is made of callbacks alone. */
@injectable()
class Ping extends Program {
  readonly #domain: Domain;
  readonly #channels: EventChannels;
  readonly #clock: Clock;
  readonly #reporter: Reporter;
  readonly #options: PingOptions;

  constructor(
    @inject(Domain) domain: Domain,
    @inject(EventChannels) channels: EventChannels,
    @inject(Clock) clock: Clock,
    @inject(Reporter) reporter: Reporter,
    @inject(CommandLine) commandLine: CommandLine,
  ) {
    super();
    this.#domain = domain;
    this.#channels = channels;
    this.#clock = clock;
    this.#reporter = reporter;
    this.#options = commandLine.value as PingOptions;
  }

  run(): Promise<void> {
    if (this.#options.role === 'echo') this.#echo(this.#options);
    else this.#ping(this.#options);
    return new Promise(() => {});
  }

  #echo({ remote, channels }: PingOptions & { readonly role: 'echo' }): void {
    const ports: Port[] = [];
    for (let i = 0; i < channels; i++) {
      const channel = this.#channels.allocUnbound(remote);
      this.#domain.subscription.add(channel.subscribe(() => channel.notify()));
      ports.push(channel.port);
    }
    this.#reporter.report(ports);
  }

  #ping({ remote, ports, trips }: PingOptions & { readonly role: 'ping' }): void {
    const channels = ports.map((port) => this.#channels.bindInterdomain(remote, port));
    const took = new Float64Array(trips);
    let awaited: EventChannel | undefined;
    let trip = -WARM_UP;
    let started = 0;
    let random = 7;
    const send = (): void => {
      random = (Math.imul(random, 1103515245) + 12345) | 0;
      awaited = channels[(random >>> 8) % channels.length];
      started = performance.now();
      awaited?.notify();
    };
    const back = (channel: EventChannel): void => {
      const now = performance.now();
      // Another is one that binding raised.
      if (channel !== awaited) return;
      if (trip >= 0) took[trip] = now - started;
      trip++;
      if (trip < trips) send();
      else this.#report(took);
    };
    for (const channel of channels) this.#domain.subscription.add(channel.subscribe(() => back(channel)));
    this.#domain.subscription.add(this.#clock.timer$(SETTLE).subscribe(send));
  }

  #report(took: Float64Array): void {
    took.sort();
    const at = (part: number): number => (took[Math.floor(took.length * part)] ?? Number.NaN) * 1e3;
    this.#reporter.report({ p50: at(0.5), p99: at(0.99), trips: took.length } satisfies PingReport);
  }
}

/** Either end of the event case; the command line says which. */
export default new ContainerModule(({ bind }) => {
  bind(Program).to(Ping);
});
