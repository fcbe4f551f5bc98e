import { Guest } from '../dom0/guest.js';
import { nothingLeftOf } from '../dom0/leftovers.js';
import { same } from '../dom0/shell.js';

/** A disk that xl alone attaches: our backend in a driver domain takes what xl writes for QEMU's. */
export const driverDomain = async (step: (text: string) => void): Promise<string> => {
  const driver = await Guest.create('driver', { node: true, config: ['driver_domain = 1'] });
  await driver.start();
  await driver.sh('dd if=/dev/urandom of=/disk.img bs=64k count=64 2>/dev/null');
  await driver.sh('node /splitring/dist/cli/main.js backend blk --type qdisk > /tmp/backend.log 2>&1 &');
  await driver.sh(
    'i=0; while ! grep -q ^serves /tmp/backend.log && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done; grep -q ^serves /tmp/backend.log',
  );
  step(`driver domain ${driver.domid} serves disks`);
  const disk = 'format=raw,vdev=xvda,access=rw,backendtype=qdisk,backend=driver,target=/disk.img';
  const guest = await Guest.create('served', { config: [`disk = [ "${disk}" ]`] });
  await guest.start();
  await guest.sh('i=0; while [ ! -b /dev/xvda ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; [ -b /dev/xvda ]');
  const sum = "sha256sum $DISK | cut -d' ' -f1";
  same(
    'the disk',
    await guest.sh(sum.replace('$DISK', '/dev/xvda')),
    await driver.sh(sum.replace('$DISK', '/disk.img')),
  );
  await guest.sh(
    'dd if=/dev/urandom of=/dev/xvda bs=64k seek=8 count=8 conv=fsync 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches',
  );
  same(
    'the disk after a write',
    await guest.sh(sum.replace('$DISK', '/dev/xvda')),
    await driver.sh(sum.replace('$DISK', '/disk.img')),
  );
  await guest.destroy();
  await nothingLeftOf(guest);
  await driver.destroy();
  await nothingLeftOf(driver);
  return 'xl alone gave a guest a disk (backendtype=qdisk, backend=…) that our backend serves in a driver domain; sums agree both ways';
};
