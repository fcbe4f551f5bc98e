import { ContainerModule, inject, injectable } from 'inversify';
import { firstValueFrom, lastValueFrom, map, mergeMap, race, Subject } from 'rxjs';
import { Clock, CommandLine, type Device, Domain, devices$, Program, Reporter } from 'splitring';
import { NetFrontend, type Nic, showMac } from 'splitring/drivers/net';
import { type Datagram, Host, UDP_HEADERS } from './host.js';
import { type Ipv4, parseIpv4, read32, write32 } from './ipv4.js';
import type { NetReport } from './reports.js';

export { NetFrontend };

/** What a guest is started with. */
export type GuestCommandLine = {
  readonly name: string;
  readonly address: string;
  /** Whom it talks to; undefined: it only answers. */
  readonly peer: string | undefined;
  readonly pings: number;
  /** Bytes that it sends in all; the peer acknowledges them. */
  readonly bytes: number;
};

const PORT = 5001;
/** Bytes on their way that were not acknowledged: no more than ring and bridge have room for, or some would be lost. */
const WINDOW = 288 * 1024;
/** Acknowledgements for a window. */
const ACKS = 6;
/** How long an acknowledgement is waited for, in ms. */
const PATIENCE = 1000;

/** Talks to its peer over its interface, or answers, and stays until the interface is taken away. */
@injectable()
class NetUser extends Program {
  readonly #domain: Domain;
  readonly #reporter: Reporter;
  readonly #clock: Clock;
  readonly #options: GuestCommandLine;

  constructor(
    @inject(Domain) domain: Domain,
    @inject(Reporter) reporter: Reporter,
    @inject(Clock) clock: Clock,
    @inject(CommandLine) commandLine: CommandLine,
  ) {
    super();
    this.#domain = domain;
    this.#reporter = reporter;
    this.#clock = clock;
    this.#options = commandLine.value as GuestCommandLine;
  }

  run(): Promise<void> {
    return firstValueFrom(devices$(this.#domain, NetFrontend).pipe(mergeMap((device) => this.#use(device))));
  }

  async #use({ connections$ }: Device<Nic>): Promise<void> {
    const nic = await firstValueFrom(connections$);
    const { name, address, peer } = this.#options;
    const features = Object.entries(nic.offloads).flatMap(([feature, has]) => (has ? [feature] : []));
    this.#report({ event: 'connected', guest: name, mac: showMac(nic.mac), features: features.join(' ') });
    using host = new Host(nic, this.#clock, parseIpv4(address));
    answerBulk(host, nic);
    if (peer !== undefined) {
      try {
        await this.#talk(host, nic, parseIpv4(peer));
      } catch (error) {
        this.#report({ event: 'failed', error: `${name}: ${error instanceof Error ? error.message : String(error)}` });
      }
    }
    await lastValueFrom(connections$, { defaultValue: undefined });
  }

  async #talk(host: Host, nic: Nic, peer: Ipv4): Promise<void> {
    const begin = this.#clock.now();
    const mac = await host.resolve(peer);
    const ms = this.#clock.now() - begin;
    this.#report({ event: 'resolved', address: this.#options.peer ?? '', mac: showMac(mac), ms });
    for (let sequence = 1; sequence <= this.#options.pings; sequence++) {
      const bytes = 56;
      this.#report({ event: 'ping', sequence, bytes, ms: await host.ping(peer, sequence, bytes) });
    }
    await this.#bulk(host, nic, peer);
  }

  /** Sends many datagrams, at most a window of them ahead of what the peer says it has. */
  async #bulk(host: Host, nic: Nic, peer: Ipv4): Promise<void> {
    const size = nic.mtu - 28;
    const total = Math.max(1, Math.ceil(this.#options.bytes / size));
    const to = await host.resolve(peer);
    const window = windowOf(nic);
    const batchLength = ackEvery(nic);
    const frames = Array.from({ length: batchLength }, () => host.datagram(to, peer, PORT, PORT, size));
    for (const frame of frames) for (let i = UDP_HEADERS + 8; i < frame.length; i++) frame[i] = i;
    let acknowledged = 0;
    let wrong = 0;
    const acks$ = new Subject<void>();
    host.bind(PORT, ({ data }) => {
      acknowledged = read32(data, 0);
      wrong = read32(data, 4);
      acks$.next();
    });
    const begin = this.#clock.now();
    let told = 0;
    for (let sent = 0; sent < total; ) {
      const batch = frames.slice(0, Math.min(batchLength, total - sent));
      for (const [i, frame] of batch.entries()) {
        write32(frame, UDP_HEADERS, sent + i + 1);
        write32(frame, UDP_HEADERS + 4, total);
      }
      await host.send(batch);
      sent += batch.length;
      while (sent - acknowledged > window - batchLength || (sent === total && acknowledged < total)) {
        const acked$ = acks$.pipe(map(() => true));
        const late$ = this.#clock.timer$(PATIENCE).pipe(map(() => false));
        if (!(await firstValueFrom(race(acked$, late$)))) {
          this.#report({ event: 'sent', bytes: sent * size, datagrams: sent, lost: sent - acknowledged, wrong, ms: 0 });
          return;
        }
      }
      if (sent - told > total / 100) {
        told = sent;
        this.#report({ event: 'sending', bytes: sent * size });
      }
    }
    const ms = this.#clock.now() - begin;
    this.#report({ event: 'sent', bytes: total * size, datagrams: total, lost: total - acknowledged, wrong, ms });
  }

  #report(report: NetReport): void {
    this.#reporter.report(report);
  }
}

/** Datagrams of a window, and how many an acknowledgement is for. */
const windowOf = ({ mtu }: Nic): number => Math.max(2, Math.floor(WINDOW / mtu));
const ackEvery = (nic: Nic): number => Math.max(1, Math.floor(windowOf(nic) / ACKS));

/** Counts the datagrams that come, and tells who sends them: every so often, and at the end. */
const answerBulk = (host: Host, nic: Nic): void => {
  let came = 0;
  let wrong = 0;
  const every = ackEvery(nic);
  host.bind(PORT, ({ from, port, data }: Datagram) => {
    came++;
    const total = read32(data, 4);
    if (read32(data, 0) !== came || data.length !== nic.mtu - 28 || !isPattern(data)) wrong++;
    if (came % every !== 0 && came !== total) return;
    const count = came;
    void host.resolve(from).then((to) => {
      const answer = host.datagram(to, from, port, PORT, 8);
      write32(answer, UDP_HEADERS, count);
      write32(answer, UDP_HEADERS + 4, wrong);
      return host.send([answer]);
    });
  });
};

/** Whether the beginning and the end of a datagram's data are as they were sent. */
const isPattern = (data: Uint8Array): boolean =>
  data[8] === ((UDP_HEADERS + 8) & 255) && data[data.length - 1] === ((UDP_HEADERS + data.length - 1) & 255);

export default new ContainerModule(({ bind }) => {
  bind(Program).to(NetUser);
});
