// Suites that must fail, each in its own way; run by on-every-platform.spec.ts in a mocha of their own.
import { expect } from 'chai';
import { onEveryPlatform } from '../../contract/index.js';
import { type Domain, EventChannels, GrantTable } from '../../core/index.js';
import { RngFrontend } from '../../examples/rng/frontend.js';
import { rng } from '../../examples/rng/protocol.js';

const backend = import.meta.resolve('./leaky.module.js');

onEveryPlatform(rng, RngFrontend, backend, (connect, rig) => {
  const leaks: Readonly<Record<string, (guest: Domain) => unknown>> = {
    'a page': (guest) => guest.get(GrantTable).alloc(),
    'a channel': (guest) => guest.get(EventChannels).allocUnbound(guest.domid),
    nothing: () => undefined,
  };
  const what = process.env.LEAK ?? 'nothing';
  it(`leaks ${what}`, async () => {
    await connect({ cmdline: what === 'a page of the backend' ? 'leak' : 'nothing' });
    leaks[what]?.(rig().guest);
    if (what === 'nothing') expect(rig().seed).to.equal(1234);
  });

  it('runs after one that leaks', async () => {
    expect(await (await connect()).read(1)).to.have.length(1);
  });
});
