import { readFileSync } from 'node:fs';
import { Backend, splitring } from '../dom0/backend.js';
import { Guest } from '../dom0/guest.js';
import { makeDisk, sumOf } from '../dom0/images.js';
import { check, same, until } from '../dom0/shell.js';

/** How often the backend is killed or, every other time, told to end. */
const KILLS = 3;

/** Bytes of what is written at once. */
const BLOCK = 64 * 1024;

/** What is written: its number, then this again and again. */
const FILLING = 'splitring\n';

/**
 * Writes numbered blocks to places of the disk in turn, each flushed before the next, and lists them in a file of the guest's memory: what is
 * listed has been acknowledged.
 */
const WRITER = [
  'n=0; while [ ! -e /tmp/stop ]; do n=$((n+1));',
  '(echo $n; cat /tmp/filling) | dd of=/dev/xvda bs=64k seek=$((n%20+1)) count=1 iflag=fullblock conv=fsync 2>/dev/null',
  '|| echo $n >> /tmp/failed; echo $n >> /tmp/acknowledged; done',
].join(' ');

/** (b) The backend is killed, and told to end, under load, and started again: the guest carries on, and nothing acknowledged is lost. */
export const restart = async (step: (text: string) => void): Promise<string> => {
  const image = await makeDisk('/root/restart.img', 8);
  let backend = await Backend.start();
  const guest = await Guest.create('restarts');
  await splitring('attach', guest.name, 'blk', '--disk', image.path, '--vdev', 'xvda');
  await guest.start();
  await guest.sh('i=0; while [ ! -b /dev/xvda ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; [ -b /dev/xvda ]');
  await guest.sh(
    'yes splitring | head -c 65536 > /tmp/filling; dd if=/dev/zero of=/dev/xvda bs=1M count=8 2>/dev/null',
  );
  await guest.sh(`touch /tmp/acknowledged; (${WRITER}) > /dev/null 2>&1 &`);
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
  const last = new Map<number, number>();
  const acknowledged = Number(await guest.sh('tail -n 1 /tmp/acknowledged'));
  for (let n = 1; n <= acknowledged; n++) last.set((n % 20) + 1, n);
  await guest.sh('echo 3 > /proc/sys/vm/drop_caches');
  const bytes = readFileSync(image.path);
  for (const [place, n] of last) {
    const wanted = Buffer.alloc(BLOCK, FILLING);
    wanted.write(`${n}\n`);
    wanted.fill(FILLING, `${n}\n`.length);
    const found = bytes.subarray(place * BLOCK, (place + 1) * BLOCK);
    check(
      found.equals(wanted),
      `block ${n} is not at its place, which begins ${JSON.stringify(found.toString('latin1', 0, 20))}`,
    );
  }
  const inGuest = await guest.sh("sha256sum /dev/xvda | cut -d' ' -f1");
  same('the whole disk', await sumOf(image.path), inGuest);
  check(
    backend.lines.some((line) => line.includes('Connected again')),
    `the backend said ${backend.lines.join('; ')}`,
  );
  await guest.destroy();
  await backend.end();
  return `killed and ended ${KILLS} times under load; ${acknowledged} acknowledged writes, none lost, no error in the guest`;
};
