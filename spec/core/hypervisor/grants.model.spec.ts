import { expectAgreement } from './grant-commands.js';

/** Random histories: more for a campaign. */
const runs = Number(process.env.SPLITRING_GRANT_RUNS || 100);
const seed = Number(process.env.SPLITRING_SEED || Date.now() % 2 ** 31);

describe('grants against a plain model (XSA-218, 224, 228, 230, 236)', () => {
  it(`agree in every status, in-use bit, page and count, whatever four domains do: ${runs} times from seed ${seed}`, function () {
    if (process.env.SPLITRING_GRANT_RUNS !== undefined) this.timeout(0);
    expectAgreement(runs, seed);
  });
});
