import { expect } from 'chai';
import { onEveryPlatform } from 'splitring/contract';
import { RngFrontend } from '../../examples/rng/frontend.js';
import { rng } from '../../examples/rng/protocol.js';

onEveryPlatform(rng, RngFrontend, import.meta.resolve('../../examples/rng/backend.js'), (connect) => {
  it('fills no more of a granted page than the backend offers', async () => {
    const device = await connect({ own: { 'max-bytes': 128 } });
    expect(await device.read(1000)).to.have.length(128);
  });
});
