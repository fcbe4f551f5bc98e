import { ContainerModule, inject, injectable } from 'inversify';
import { firstValueFrom, take, toArray } from 'rxjs';
import {
  asDomid,
  CommandLine,
  EventChannels,
  Program,
  Reporter,
  Sched,
  type Vcpu,
  Vcpus,
} from '../../../core/index.js';

const MS = 1_000_000;

/** Does with its vCPUs what its command line says, and reports what came of it. */
@injectable()
class VcpuProgram extends Program {
  readonly #what: CommandLine;
  readonly #vcpus: Vcpus;
  readonly #sched: Sched;
  readonly #channels: EventChannels;
  readonly #reporter: Reporter;

  constructor(
    @inject(CommandLine) what: CommandLine,
    @inject(Vcpus) vcpus: Vcpus,
    @inject(Sched) sched: Sched,
    @inject(EventChannels) channels: EventChannels,
    @inject(Reporter) reporter: Reporter,
  ) {
    super();
    this.#what = what;
    this.#vcpus = vcpus;
    this.#sched = sched;
    this.#channels = channels;
    this.#reporter = reporter;
  }

  async run(): Promise<void> {
    const work = this.#works[String(this.#what.value)];
    if (work === undefined) throw new Error(`nothing to do for ${String(this.#what.value)}`);
    this.#reporter.report(await work());
  }

  get #vcpu(): Vcpu {
    return this.#vcpus.vcpu(0);
  }

  readonly #works: Readonly<Record<string, () => Promise<string | number | readonly (string | number)[]>>> = {
    singleshot: async () => {
      const at = this.#vcpu.systemTime() + 20 * MS;
      await firstValueFrom(this.#vcpu.singleshot$(at));
      return this.#vcpu.systemTime() >= at ? 'in time' : 'too early';
    },
    poll: async () => {
      const { port } = this.#channels.allocUnbound(asDomid(0));
      const at = this.#vcpu.systemTime() + 20 * MS;
      await this.#sched.poll([port], at);
      return this.#vcpu.systemTime() >= at ? 'in time' : 'too early';
    },
    periodic: async () => {
      const ticks = firstValueFrom(this.#vcpu.periodic$(2 * MS).pipe(take(3), toArray()));
      void this.#vcpu.spend(200);
      return (await ticks).length;
    },
    virtual: async () => {
      const before = this.#vcpu.runstate().time.running;
      const fired = firstValueFrom(this.#vcpu.virtualTimer$(10));
      await this.#vcpu.spend(30);
      await fired;
      return this.#vcpu.runstate().time.running - before >= 30 * MS ? 'received' : 'not received';
    },
    smp: async () => {
      this.#vcpus.vcpu(1).up();
      const ids = await Promise.all([1, 0].map((id) => this.#vcpus.vcpu(id).run(() => this.#vcpus.current.id)));
      return [this.#vcpus.count, ...ids];
    },
    reboot: () => this.#sched.shutdown('reboot'),
    suspend: () => this.#sched.suspend(),
    watchdog: async () => {
      this.#sched.watchdog(0, 1);
      // The machine has to be told before this thread hangs.
      await new Promise((resolve) => setTimeout(resolve, 50));
      for (;;);
    },
    hang: async () => {
      for (const end = performance.now() + 2500; performance.now() < end; );
      return 'hung';
    },
  };
}

export default new ContainerModule(({ bind }) => {
  bind(Program).to(VcpuProgram);
});
