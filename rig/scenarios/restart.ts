import { Backend, splitring } from '../dom0/backend.js';
import { Guest } from '../dom0/guest.js';
import { makeDisk, sumOf } from '../dom0/images.js';
import { check, run, same, until } from '../dom0/shell.js';

/** How often the backend is killed, and how often it is told to end. */
const KILLS = 4;

/**
 * Writes numbered blocks of its own kind to the disk, each flushed before the next, and counts them in a file of its memory: what is counted
 * has been acknowledged.
 */
const WRITER = [
  'n=0; while [ ! -e /tmp/stop ]; do n=$((n+1));',
  'dd if=/tmp/pattern of=/dev/xvda bs=64k seek=$((n%100+1)) count=1 conv=fsync 2>/dev/null || echo $n >> /tmp/failed;',
  'echo $n $((n%100+1)) >> /tmp/acknowledged; done',
].join(' ');

/** (b) The backend is killed, and told to end, under load, and started again: the guest carries on, and nothing acknowledged is lost. */
export const restart = async (step: (text: string) => void): Promise<string> => {
  const image = await makeDisk('/root/restart.img', 16);
  let backend = await Backend.start();
  const guest = await Guest.create('restarts');
  await splitring('attach', guest.name, 'blk', '--disk', image.path, '--vdev', 'xvda');
  await guest.start();
  await guest.sh('i=0; while [ ! -b /dev/xvda ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; [ -b /dev/xvda ]');
  await guest.sh(
    'dd if=/dev/urandom of=/tmp/pattern bs=64k count=1 2>/dev/null; dd if=/dev/zero of=/dev/xvda bs=1M count=16 2>/dev/null',
  );
  const pattern = await guest.sh("sha256sum /tmp/pattern | cut -d' ' -f1");
  await guest.sh(`(${WRITER}) > /dev/null 2>&1 &`);
  // A reader beside it, whose requests are under way at any time.
  await guest.sh(
    '(while [ ! -e /tmp/stop ]; do dd if=/dev/xvda of=/dev/null bs=256k iflag=direct 2>/dev/null || echo r >> /tmp/failed; done) &',
  );
  const count = async (): Promise<number> => Number(await guest.sh('wc -l < /tmp/acknowledged'));
  for (let i = 0; i < KILLS; i++) {
    const before = await count();
    await until('more blocks', async () => ((await count()) > before + 3 ? true : undefined));
    if (i % 2 === 0) {
      backend.kill('SIGKILL');
      await backend.ended;
    } else await backend.end();
    step(`${i % 2 === 0 ? 'killed' : 'ended'} the backend after ${await count()} blocks`);
    backend = await Backend.start();
    const then = await count();
    await until('blocks after the restart', async () => ((await count()) > then + 1 ? true : undefined));
  }
  await guest.sh('touch /tmp/stop; sleep 2; sync');
  same('operations that failed in the guest', await guest.sh('cat /tmp/failed 2>/dev/null | wc -l'), '0');
  const acknowledged = (await guest.sh('cat /tmp/acknowledged')).split('\n').map((line) => Number(line.split(' ')[1]));
  await guest.sh('echo 3 > /proc/sys/vm/drop_caches');
  const blocks = [...new Set(acknowledged)];
  for (const block of blocks) {
    await run('dd', `if=${image.path}`, 'of=/tmp/block', 'bs=64k', `skip=${block}`, 'count=1');
    same(`block ${block} in dom0`, await sumOf('/tmp/block'), pattern);
  }
  const inGuest = await guest.sh("sha256sum /dev/xvda | cut -d' ' -f1");
  same('the whole disk', await sumOf(image.path), inGuest);
  check(
    backend.lines.some((line) => line.includes('Connected again')),
    `the backend said ${backend.lines.join('; ')}`,
  );
  await guest.destroy();
  await backend.end();
  return `killed and ended ${KILLS} times under load; ${acknowledged.length} acknowledged writes to ${blocks.length} places, none lost, no error in the guest`;
};
