import { ContainerModule, inject, injectable } from 'inversify';
import { filter, firstValueFrom, lastValueFrom, map, switchMap, takeUntil, tap } from 'rxjs';
import {
  asDomid,
  asPirq,
  asPort,
  Clock,
  CommandLine,
  type Domid,
  EventChannels,
  type Port,
  Program,
  Reporter,
  XenStore,
} from 'splitring';
import type { Delivery } from './delivery.js';

/** What the backend is started with. */
export type BackendCommandLine = {
  /** The number by which it knows its device's interrupt. */
  readonly pirq: number;
};

/** Handles the interrupts of its device, and tells the guest of each by an event, until the guest is done. */
@injectable()
class Backend extends Program {
  constructor(
    @inject(CommandLine) private readonly commandLine: CommandLine,
    @inject(EventChannels) private readonly channels: EventChannels,
    @inject(XenStore) private readonly store: XenStore,
    @inject(Clock) private readonly clock: Clock,
    @inject(Reporter) private readonly reporter: Reporter,
  ) {
    super();
  }

  async run(): Promise<void> {
    const { pirq } = this.commandLine.value as BackendCommandLine;
    const guest = asDomid(Number(await this.store.read('data/guest')));
    using toGuest = this.channels.bindInterdomain(guest, await this.#portOf(guest));
    await firstValueFrom(toGuest); // whoever binds gets an event at once, for it may have missed one
    using device = this.channels.bindPirq(asPirq(pirq));
    const handled$ = device.pipe(
      // The guest has no more to say than that it is done.
      takeUntil(toGuest),
      tap(() => {
        this.#report({ by: `port ${device.port}`, what: 'PIRQ', text: `interrupt ${pirq} of the host` });
        toGuest.notify();
      }),
    );
    await lastValueFrom(handled$, { defaultValue: undefined });
  }

  /** The port that the guest has allocated for this domain, once it says so in the store. */
  #portOf(guest: Domid): Promise<Port> {
    const path = `/local/domain/${guest}/data/event-channel`;
    return firstValueFrom(
      this.store.watch$(path).pipe(
        switchMap(() => this.store.read(path).catch(() => undefined)), // it may not be read yet
        filter((text) => text !== undefined),
        map((text) => asPort(Number(text))),
      ),
    );
  }

  #report(delivery: Omit<Delivery, 'time'>): void {
    this.reporter.report({ time: this.clock.now(), ...delivery });
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Program).to(Backend);
});
