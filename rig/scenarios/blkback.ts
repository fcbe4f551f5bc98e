import { splitring } from '../dom0/backend.js';
import { Guest } from '../dom0/guest.js';
import { makeDisk, sumOf } from '../dom0/images.js';
import { loadModule } from '../dom0/modules.js';
import { check, run, same } from '../dom0/shell.js';
import { lastJson } from './rng.js';

interface Seen {
  readonly bytes: number;
  readonly before: string;
  readonly written: string;
  readonly readBack: string;
  readonly after: string;
  readonly left: object;
}

/** (d) Our blk frontend in a guest against Linux' own blkback in dom0, over a loop device. */
export const blkback = async (step: (text: string) => void): Promise<string> => {
  await loadModule('xen-blkback');
  const image = await makeDisk('/root/blkback.img', 8);
  const loop = await run('losetup', '-f', '--show', image.path);
  const guest = await Guest.create('blkback', { node: true });
  await splitring('attach', guest.name, 'blk', '--disk', image.path, '--vdev', 'xvda', '--type', 'vbd');
  // What xl has its script for block devices do: Linux waits for the device's number.
  const directory = `/local/domain/0/backend/vbd/${guest.domid}/51712`;
  await run('xenstore-rm', `${directory}/script`);
  await run('xenstore-write', `${directory}/physical-device`, await run('stat', '-c', '%t:%T', loop));
  await guest.start();
  step(`guest ${guest.domid} is up, its disk is ${loop} through xen-blkback`);
  const seen = lastJson<Seen>(await guest.sh('node /splitring/dist/rig/guests/disk.js'));
  same('the whole disk in the guest', seen.before, image.sum);
  same('what was written, read back', seen.readBack, seen.written);
  check(Object.keys(seen.left).length === 0, `the guest has left ${JSON.stringify(seen.left)}`);
  await guest.destroy();
  await run('losetup', '-d', loop);
  same('the disk in dom0 afterwards', await sumOf(image.path), seen.after);
  return `our frontend read ${seen.bytes >> 20} MiB from Linux' blkback, wrote a quarter and read it back; sums agree both ways`;
};
