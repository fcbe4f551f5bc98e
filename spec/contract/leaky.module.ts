import { ContainerModule, inject, injectable } from 'inversify';
import { CommandLine, GrantTable, Program } from '../../core/index.js';
import rngBindings, { RngBackend } from '../../examples/rng/backend.js';

export { RngBackend };

/** Takes a page and forgets it, if its command line says so. */
@injectable()
class Leaky extends Program {
  readonly #commandLine: CommandLine;
  readonly #grants: GrantTable;

  constructor(@inject(CommandLine) commandLine: CommandLine, @inject(GrantTable) grants: GrantTable) {
    super();
    this.#commandLine = commandLine;
    this.#grants = grants;
  }

  run(): Promise<void> {
    if (this.#commandLine.value === 'leak') this.#grants.alloc();
    return Promise.resolve();
  }
}

export default new ContainerModule((options) => {
  rngBindings.load(options);
  options.bind(Program).to(Leaky);
});
