import { ContainerModule, inject, injectable } from 'inversify';
import { CommandLine, Program, Reporter } from '../../core/index.js';

/** Reports its command line and ends; or fails, as that says. */
@injectable()
class Reporting extends Program {
  readonly #commandLine: CommandLine;
  readonly #reporter: Reporter;

  constructor(@inject(CommandLine) commandLine: CommandLine, @inject(Reporter) reporter: Reporter) {
    super();
    this.#commandLine = commandLine;
    this.#reporter = reporter;
  }

  run(): Promise<void> {
    const { value } = this.#commandLine;
    if (value === 'throws') throw new Error('it throws');
    if (value === 'rejects') return Promise.reject(new Error('it rejects'));
    this.#reporter.report(value);
    this.#reporter.report('done');
    return Promise.resolve();
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Program).to(Reporting);
});
