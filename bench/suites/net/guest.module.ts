import { ContainerModule, inject, injectable } from 'inversify';
import { CommandLine, connection, Domain, GrantTable, Program, Reporter } from '../../../core/index.js';
import { NetFrontend } from '../../../drivers/net/index.js';
import { load, type NetLoad } from './load.js';

export { NetFrontend };

/** Sends from its first interface to its second, reports how fast that went, and stays until it is taken away. */
@injectable()
class Sender extends Program {
  constructor(
    @inject(Domain) private readonly domain: Domain,
    @inject(CommandLine) private readonly commandLine: CommandLine,
    @inject(Reporter) private readonly reporter: Reporter,
  ) {
    super();
  }

  async run(): Promise<void> {
    const options = this.commandLine.value as unknown as NetLoad;
    const [from, to] = [await connection(this.domain, NetFrontend, 0), await connection(this.domain, NetFrontend, 1)];
    this.reporter.report(await load(from, to, this.domain.get(GrantTable), options));
    await new Promise(() => {});
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Program).to(Sender);
});
