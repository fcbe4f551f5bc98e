import { Backend, splitring } from '../dom0/backend.js';
import { Guest } from '../dom0/guest.js';
import { makeDisk } from '../dom0/images.js';
import { nothingLeftOf } from '../dom0/leftovers.js';
import { check } from '../dom0/shell.js';

/** (c) A guest is destroyed under load, while another goes on: no grant, port, watch or node of it is left. */
export const destroy = async (step: (text: string) => void): Promise<string> => {
  const backend = await Backend.start();
  const idle = await backend.holdings();
  const images = [await makeDisk('/root/doomed.img', 8), await makeDisk('/root/lasting.img', 8)];
  const lasting = await Guest.create('lasting');
  await splitring('attach', lasting.name, 'blk', '--disk', images[1]?.path ?? '', '--vdev', 'xvda');
  await lasting.start();
  await lasting.sh('i=0; while [ ! -b /dev/xvda ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; [ -b /dev/xvda ]');
  const alone = await backend.holdings();
  const rounds = 2;
  for (let i = 0; i < rounds; i++) {
    const doomed = await Guest.create('doomed');
    await splitring('attach', doomed.name, 'blk', '--disk', images[0]?.path ?? '', '--vdev', 'xvda');
    await doomed.start();
    await doomed.sh(
      'i=0; while [ ! -b /dev/xvda ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i+1)); done; [ -b /dev/xvda ]',
    );
    await doomed.sh(
      '(while true; do dd if=/dev/zero of=/dev/xvda bs=256k count=40 conv=fsync 2>/dev/null; dd if=/dev/xvda of=/dev/null bs=256k iflag=direct 2>/dev/null; done) &',
    );
    await doomed.sh('sleep 2');
    const busy = await backend.holdings();
    check((busy.mappings ?? 0) > (alone.mappings ?? 0), 'the doomed guest has nothing mapped: it is not under load');
    await doomed.destroy();
    step(
      `destroyed guest ${doomed.domid}, of which the backend had ${(busy.mappings ?? 0) - (alone.mappings ?? 0)} pages`,
    );
    await nothingLeftOf(doomed);
    await lasting.sh('dd if=/dev/xvda of=/dev/null bs=256k iflag=direct 2>/dev/null');
  }
  await lasting.destroy();
  await nothingLeftOf(lasting);
  await backend.holdsNothing(idle);
  await backend.end();
  return `${rounds} guests destroyed under load beside one that went on; no grant, port, watch or node is left of any`;
};
