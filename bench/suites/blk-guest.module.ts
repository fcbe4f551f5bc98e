import { ContainerModule, inject, injectable } from 'inversify';
import { CommandLine, connection, Domain, Program, Reporter } from '../../core/index.js';
import { BlkFrontend } from '../../drivers/blk/index.js';
import { diskLoops, type Load } from './blk-loops.js';

export { BlkFrontend };

/** What the guest is started with. */
export type GuestSetup = {
  readonly tier: keyof typeof diskLoops;
} & { readonly [K in keyof Load]: Load[K] };

/** Reads from its disk, reports how fast that went, and stays until it is taken away. */
@injectable()
class Reader extends Program {
  constructor(
    @inject(Domain) private readonly domain: Domain,
    @inject(CommandLine) private readonly commandLine: CommandLine,
    @inject(Reporter) private readonly reporter: Reporter,
  ) {
    super();
  }

  async run(): Promise<void> {
    const { tier, ...load } = this.commandLine.value as GuestSetup;
    const disk = await connection(this.domain, BlkFrontend);
    this.reporter.report(await diskLoops[tier](disk, load));
    await new Promise(() => {});
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Program).to(Reader);
});
