import { ContainerModule, inject, injectable } from 'inversify';
import { CommandLine, Program } from 'splitring';

/** Ways in which a domain's program can end, or not. */
export type Fault = 'throws' | 'rejects' | 'exits' | 'throws late' | 'waits' | 'loops';

/** Ends as its command line says. */
@injectable()
class Faulty extends Program {
  readonly #fault: Fault;

  constructor(@inject(CommandLine) { value }: CommandLine) {
    super();
    this.#fault = value as Fault;
  }

  run(): Promise<void> {
    switch (this.#fault) {
      case 'throws':
        throw new Error('no luck');
      case 'rejects':
        return Promise.reject(new Error('no luck'));
      case 'exits':
        process.exit(3);
        break;
      case 'throws late':
        setTimeout(() => {
          throw new Error('no luck in a timer');
        }, 20);
        break;
      case 'loops':
        setTimeout(() => {
          for (;;);
        }, 20);
        break;
      case 'waits':
        break;
    }
    return new Promise(() => {});
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Program).to(Faulty);
});
