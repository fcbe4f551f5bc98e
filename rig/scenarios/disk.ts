import { Backend, splitring } from '../dom0/backend.js';
import { Guest } from '../dom0/guest.js';
import { makeDisk, sumOf } from '../dom0/images.js';
import { check, run, same } from '../dom0/shell.js';

/** (a) Disks of our backend in a Linux guest: one from before it ran, one while it runs, with and without persistent grants. */
export const disk = async (step: (text: string) => void): Promise<string> => {
  let moved = 0;
  for (const persistent of [true, false]) {
    const backend = await Backend.start('blk', persistent ? undefined : { offer: { 'feature-persistent': false } });
    const idle = await backend.holdings();
    const size = persistent ? 8 : 4;
    const first = await makeDisk('/root/first.img', size);
    const second = await makeDisk('/root/second.img', size / 2);
    const guest = await Guest.create('disks');
    await splitring('attach', guest.name, 'blk', '--disk', first.path, '--vdev', 'xvda');
    await guest.start();
    step(`${persistent ? 'with' : 'without'} persistent grants: guest ${guest.domid} is up`);
    await guest.sh('i=0; while [ ! -b /dev/xvda ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; [ -b /dev/xvda ]');
    await splitring('attach', guest.name, 'blk', '--disk', second.path, '--vdev', 'xvdb', '--readonly');
    await guest.sh('i=0; while [ ! -b /dev/xvdb ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; [ -b /dev/xvdb ]');
    same('the first disk in the guest', await guest.sh("sha256sum /dev/xvda | cut -d' ' -f1"), first.sum);
    same('the second disk in the guest', await guest.sh("sha256sum /dev/xvdb | cut -d' ' -f1"), second.sum);
    same('its write protection', await guest.sh('cat /sys/block/xvdb/ro'), '1');

    await guest.sh('mount -t ext4 /dev/xvda /mnt');
    same('a file from dom0', await guest.sh('cat /mnt/hello'), 'hello from dom0');
    await guest.sh(
      'dd if=/dev/urandom of=/mnt/noise bs=64k count=16 2>/dev/null; echo from the guest > /mnt/from-guest',
    );
    const noise = await guest.sh("sha256sum /mnt/noise | cut -d' ' -f1");
    await guest.sh('sync; echo 3 > /proc/sys/vm/drop_caches');
    same('a file read back past the cache', await guest.sh("sha256sum /mnt/noise | cut -d' ' -f1"), noise);
    await guest.sh('umount /mnt');
    const after = await guest.sh("sha256sum /dev/xvda | cut -d' ' -f1");
    const { mappings = 0, ports = 0 } = await backend.holdings();
    check(ports === 2, `two disks have ${ports} event channels`);
    check(persistent ? mappings > 10 : mappings === 2, `two disks at rest have ${mappings} mappings`);
    step('the guest has written and read back; taking the second disk away');
    await splitring('detach', guest.name, 'blk', '--vdev', 'xvdb');
    await guest.sh('i=0; while [ -b /dev/xvdb ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; [ ! -b /dev/xvdb ]');
    await guest.powerOff();
    same('the disk in dom0 afterwards', await sumOf(first.path), after);
    await run('fsck.ext4', '-fn', first.path);
    same('the read-only disk afterwards', await sumOf(second.path), second.sum);
    await backend.holdsNothing(idle);
    await backend.end();
    moved += size * 2.5 + 3;
  }
  return `ext4 mounted, written, checked by fsck; sums agree both ways, over ${moved} MiB, with and without persistent grants`;
};
