import { agree } from './event-commands.js';

/** How many plans are tried: more in a campaign. */
const runs = Number(process.env.SPLITRING_MODEL_RUNS || 300);
const seed = Number(process.env.SPLITRING_SEED || Date.now() % 2 ** 31);

describe('event channels against a plain model', () => {
  it(`agree in every answer, port, bit and ring, whatever four domains with seven vCPUs do (seed ${seed})`, () => {
    agree(runs, seed);
  });
});
