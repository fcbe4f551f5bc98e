import { ContainerModule, inject, injectable } from 'inversify';

import { asPirq, CommandLine, EventChannels, Physdev, Program, Reporter } from '../../core/index.js';

/** Binds the interrupts that its command line names, reports each that comes, and ends it. */
@injectable()
class Handler extends Program {
  constructor(
    @inject(EventChannels) private readonly channels: EventChannels,
    @inject(Physdev) private readonly physdev: Physdev,
    @inject(CommandLine) private readonly commandLine: CommandLine,
    @inject(Reporter) private readonly reporter: Reporter,
  ) {
    super();
  }

  override run(): Promise<void> {
    const numbers = this.commandLine.value as readonly number[];
    for (const number of numbers) {
      const pirq = asPirq(number);
      this.channels.bindPirq(pirq, { willShare: true }).subscribe(() => {
        this.reporter.report(number);
        this.physdev.eoi(pirq);
      });
    }
    this.reporter.report('bound');
    return new Promise(() => {});
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Program).to(Handler);
});
