import { ContainerModule, inject, injectable } from 'inversify';
import { concatMap, defer, lastValueFrom, merge, type Observable, repeat, take, tap } from 'rxjs';
import {
  asPort,
  Clock,
  CommandLine,
  Domain,
  type Domid,
  EventChannels,
  GrantTable,
  type Port,
  Program,
  Reporter,
  Traps,
  Vcpus,
  virq,
  XenStore,
} from 'splitring';
import type { Delivery } from './delivery.js';

/** What the guest is started with. */
export type GuestCommandLine = {
  /** The domain of its backend. */
  readonly backend: Domid;
  /** How many events of its backend it handles, and how many of its timer. Interrupts that come between two of them are one event. */
  readonly times: number;
  /** How far ahead it sets its timer, in milliseconds. */
  readonly period: number;
};

const INT3 = 3;
/** Where the debugger's code is, and where the breakpoint: handles of functions, and places in them. */
const DEBUGGER = 0xffff_ffff_8100_1000n;
const BREAKPOINT = 0xffff_ffff_8200_0000n;

/** Handles events of its backend and of its timer, and at the second event of its backend runs into a breakpoint. */
@injectable()
class Guest extends Program {
  constructor(
    @inject(CommandLine) private readonly commandLine: CommandLine,
    @inject(Domain) private readonly domain: Domain,
    @inject(EventChannels) private readonly channels: EventChannels,
    @inject(GrantTable) private readonly grants: GrantTable,
    @inject(Traps) private readonly traps: Traps,
    @inject(Vcpus) private readonly vcpus: Vcpus,
    @inject(XenStore) private readonly store: XenStore,
    @inject(Clock) private readonly clock: Clock,
    @inject(Reporter) private readonly reporter: Reporter,
  ) {
    super();
  }

  async run(): Promise<void> {
    const { backend, times, period } = this.commandLine.value as GuestCommandLine;
    using stack = this.grants.alloc();
    this.traps.registers.rsp = this.traps.addressOf(stack, stack.bytes.length);
    using _debugger = this.traps.code(DEBUGGER, ({ rip }) => {
      this.#report({ by: `vector ${INT3}`, what: 'int3', text: `the debugger finds rip at 0x${rip.toString(16)}` });
    });
    this.traps.setTrapTable([{ vector: INT3, address: DEBUGGER }]);

    using fromBackend = this.channels.allocUnbound(backend);
    await this.#publish(fromBackend.port, backend);
    const events$ = fromBackend.pipe(
      take(times),
      tap(() => this.#report({ by: `port ${fromBackend.port}`, what: 'event', text: 'from the backend' })),
      concatMap((_, index) => (index === 1 ? this.#breakpoint() : [])),
    );
    await lastValueFrom(merge(events$, this.#ticks$(period).pipe(take(times))), { defaultValue: undefined });
    fromBackend.notify(); // it is done: a channel carries events both ways
  }

  /** VIRQ_TIMER, which is set anew each time, as Linux does. */
  #ticks$(period: number): Observable<void> {
    const vcpu = this.vcpus.current;
    return defer(() => vcpu.singleshot$(vcpu.systemTime() + period * 1e6)).pipe(
      tap(() =>
        this.#report({ by: `port ${this.#timerPort()}`, what: 'VIRQ_TIMER', text: `${period} ms have passed` }),
      ),
      repeat(),
    );
  }

  /** The port that VIRQ_TIMER is bound to while the timer is set. */
  #timerPort(): Port {
    for (let port = 1; ; port++) {
      const status = this.channels.status(asPort(port));
      if (status.status === 'virq' && status.virq === virq.timer) return asPort(port);
    }
  }

  async #breakpoint(): Promise<void> {
    this.traps.registers.rip = BREAKPOINT;
    await this.traps.int3();
  }

  /** Tells the backend, and nobody else, which port is its. */
  async #publish(port: Port, backend: Domid): Promise<void> {
    await this.store.write('data/event-channel', String(port));
    await this.store.setPermissions('data/event-channel', [
      { domid: this.domain.domid, access: 'n' },
      { domid: backend, access: 'r' },
    ]);
  }

  #report(delivery: Omit<Delivery, 'time'>): void {
    this.reporter.report({ time: this.clock.now(), ...delivery });
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Program).to(Guest);
});
