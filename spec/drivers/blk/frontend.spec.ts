import { expect } from 'chai';
import { asSector, Disconnected } from '../../../core/index.js';
import { vdisk } from '../../../drivers/blk/protocol.js';
import { blkifRsp } from '../../../drivers/blk/wire.js';
import { onOddBackends, outcome } from './odd-rig.js';

const { okay } = blkifRsp;

onOddBackends('the frontend of class vbd', ({ open, idle, begin }) => {
  it('knows of another size as soon as the backend announces it (blkif.h)', async () => {
    const { disk, peer } = await open();
    const sizes: number[] = [];
    disk.sectors$.subscribe((sectors) => sizes.push(sectors));
    expect(() => disk.read(asSector(5000), new Uint8Array(512))).to.throw(RangeError);
    await peer.publish({ sectors: asSector(8192) });
    await idle();
    expect(disk.sectors).to.equal(8192);
    const [reading] = await begin(disk.read(asSector(5000), new Uint8Array(512)));
    await peer.answer(peer.take(), okay);
    await reading;
    await peer.publish({ info: vdisk.readonly });
    await idle();
    expect(disk.readOnly).to.equal(true);
    await peer.publish({ sectors: asSector(100) });
    await idle();
    expect(() => disk.read(asSector(100), new Uint8Array(512))).to.throw(RangeError, 'it has 100 sectors');
    expect(sizes).to.deep.equal([4096, 8192, 100]);
  });

  it('is left by a backend that vanishes', async () => {
    const { disk, peer } = await open();
    const [reading] = await begin(disk.read(asSector(0), new Uint8Array(512)));
    await peer.vanish();
    expect(await outcome(reading)).to.be.instanceOf(Disconnected);
  });
});
