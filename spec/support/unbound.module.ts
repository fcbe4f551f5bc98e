import { ContainerModule, inject, injectable } from 'inversify';
import { Program } from '../../core/index.js';

abstract class Missing {}

/** A program whose token nobody binds. */
@injectable()
class Unbound extends Program {
  constructor(@inject(Missing) readonly missing: Missing) {
    super();
  }

  run(): Promise<void> {
    return Promise.resolve();
  }
}

export default new ContainerModule(({ bind }) => {
  bind(Program).to(Unbound);
});
