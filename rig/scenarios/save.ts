import { Backend, splitring } from '../dom0/backend.js';
import { Guest } from '../dom0/guest.js';
import { makeDisk, sumOf } from '../dom0/images.js';
import { nothingLeftOf } from '../dom0/leftovers.js';
import { run, same } from '../dom0/shell.js';

/** (h) A guest is saved and restored with its disk in use: it goes on where it was. */
export const save = async (step: (text: string) => void): Promise<string> => {
  const backend = await Backend.start();
  const idle = await backend.holdings();
  const image = await makeDisk('/root/saved.img', 8);
  const guest = await Guest.create('saved');
  const attach = (): Promise<string> => splitring('attach', guest.name, 'blk', '--disk', image.path, '--vdev', 'xvda');
  await attach();
  await guest.start();
  await guest.sh('i=0; while [ ! -b /dev/xvda ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; [ -b /dev/xvda ]');
  await guest.sh('mount -t ext4 /dev/xvda /mnt; dd if=/dev/urandom of=/tmp/noise bs=64k count=16 2>/dev/null');
  const sum = await guest.sh("sha256sum /tmp/noise | cut -d' ' -f1");
  await guest.sh(
    '(n=0; while [ ! -e /tmp/stop ]; do n=$((n+1)); cp /tmp/noise /mnt/noise-$((n%4)) && sync || echo $n >> /tmp/failed; echo $n > /tmp/count; done) > /dev/null 2>&1 &',
  );
  await guest.sh('sleep 1');
  const before = { ...guest };
  step('saving the guest');
  await run('xl', 'save', guest.name, '/root/guest.save');
  await nothingLeftOf(guest);
  step('restoring it');
  await run('xl', 'restore', '-p', '/root/guest.save');
  guest.domid = Number(await run('xl', 'domid', guest.name));
  await attach();
  await run('xl', 'unpause', guest.name);
  const count = Number(await guest.sh('cat /tmp/count'));
  await guest.sh(
    `i=0; while [ $(cat /tmp/count) -lt ${count + 3} ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done; [ $(cat /tmp/count) -ge ${count + 3} ]`,
  );
  await guest.sh('touch /tmp/stop; sleep 1; sync; echo 3 > /proc/sys/vm/drop_caches');
  same('operations that failed in the guest', await guest.sh('cat /tmp/failed 2>/dev/null | wc -l'), '0');
  for (const n of [0, 1, 2, 3]) same(`file ${n}`, await guest.sh(`sha256sum /mnt/noise-${n} | cut -d' ' -f1`), sum);
  await guest.sh('umount /mnt');
  same('the whole disk', await sumOf(image.path), await guest.sh("sha256sum /dev/xvda | cut -d' ' -f1"));
  await guest.destroy();
  await run('fsck.ext4', '-fn', image.path);
  await backend.holdsNothing(idle);
  await backend.end();
  return `domain ${before.domid} saved while it wrote to its disk, restored as ${guest.domid}: it went on writing, sums agree, fsck is clean`;
};
