import { Backend, splitring } from '../dom0/backend.js';
import { Guest } from '../dom0/guest.js';
import { nothingLeftOf } from '../dom0/leftovers.js';
import { check } from '../dom0/shell.js';

const MODULE = '/splitring/dist/examples/rng/backend.js';

/** The last line that a program in the guest has written, which is JSON. */
export const lastJson = <T>(output: string): T => JSON.parse(output.split('\n').at(-1) ?? '') as T;

interface Seen {
  readonly domid: number;
  readonly reads: number;
  readonly different: number;
  readonly left: object;
}

/** (f) vrng with both ends ours: the frontend in a guest, through gntalloc, the backend in dom0. */
export const rng = async (step: (text: string) => void): Promise<string> => {
  const backend = await Backend.start(MODULE);
  const idle = await backend.holdings();
  const guest = await Guest.create('rng', { node: true });
  await splitring('attach', guest.name, MODULE);
  await guest.start();
  step(`guest ${guest.domid} is up`);
  const seen = lastJson<Seen>(await guest.sh('node /splitring/dist/rig/guests/rng.js'));
  check(seen.domid === guest.domid, `the guest takes itself for domain ${seen.domid}`);
  check(seen.different === 600, `600 reads came to ${seen.different} different ones`);
  check(Object.keys(seen.left).length === 0, `the guest has left ${JSON.stringify(seen.left)}`);
  await guest.destroy();
  await nothingLeftOf(guest);
  await backend.holdsNothing(idle);
  await backend.end();
  return `${seen.reads} reads by our frontend in a guest, served by ours in dom0; nothing is left at either end`;
};
