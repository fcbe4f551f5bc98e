import { type BackLink, backend, ContainerModule, inject } from 'splitring';
import { EntropySource, SystemEntropy } from './entropy.js';
import { rng } from './protocol.js';

@backend(rng)
export class RngBackend {
  constructor(@inject(EntropySource) private readonly entropy: EntropySource) {}

  connect({ serve, grants, own }: BackLink<typeof rng>): void {
    serve((req, rsp) => {
      rsp.status = grants.copyTo(req.gref, this.entropy.bytes(Math.min(req.length, own['max-bytes'])));
    });
  }
}

export default new ContainerModule(({ bind }) => {
  bind(EntropySource).to(SystemEntropy);
});
