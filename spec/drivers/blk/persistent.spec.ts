import { expect } from 'chai';
import { onEveryPlatform } from '../../../contract/index.js';
import { asSector, XenStore } from '../../../core/index.js';
import type { BlockDevice } from '../../../drivers/blk/block-device.js';
import { BlkFeatures, BlkFrontend } from '../../../drivers/blk/frontend.js';
import { blk } from '../../../drivers/blk/protocol.js';
import { vbdKeys } from '../../../drivers/blk/vbd-keys.js';
import { vdevOf } from '../../../drivers/blk/vdev.js';
import { blkifRsp } from '../../../drivers/blk/wire.js';
import { contentOf, differing, Images, pattern } from './images.js';
import { onOddBackends } from './odd-rig.js';

const module = import.meta.resolve('../../../drivers/blk/module.js');
const ID = vdevOf('xvda');

onEveryPlatform(blk, BlkFrontend, module, (connect, rig) => {
  const images = new Images();
  afterEach(() => images.remove());

  /** Pages of the guest that are mapped when nothing is under way, besides the ring. */
  const mapped = async (): Promise<number> => {
    const { machine, guest } = rig();
    await machine.idle();
    return ((await machine.ledger()).find(({ domid }) => domid === guest.domid)?.mapped ?? Number.NaN) - 1;
  };

  describe('persistent grants', () => {
    for (const front of [false, true]) {
      for (const back of [false, true]) {
        const says = `a frontend that says ${front ? 1 : 0} and a backend that says ${back ? 1 : 0}`;
        it(`come about where both ends offer them: ${says}`, async () => {
          const { guest, machine } = rig();
          guest.container.bind(BlkFeatures).toConstantValue({ persistent: front });
          const image = images.make(1024);
          const keys = vbdKeys({ vdev: 'xvda', mode: 'w', params: image });
          const disk: BlockDevice = await connect({ id: ID, keys, own: { 'feature-persistent': back } });
          const store = guest.get(XenStore);
          expect(await store.read(`device/vbd/${ID}/feature-persistent`)).to.equal(front ? '1' : '0');
          const [otherend] = (await machine.toolstack.domains()).filter(({ name }) => name.startsWith('backend'));
          const path = `/local/domain/${otherend?.domid}/backend/vbd/${guest.domid}/${ID}/feature-persistent`;
          expect(await store.read(path)).to.equal(back ? '1' : '0');

          const into = new Uint8Array(1024 * 512);
          await disk.read(asSector(0), into);
          expect(differing(into, pattern(1024))).to.deep.equal([]);
          into.reverse();
          await disk.write(asSector(0), into);
          expect(differing(contentOf(image), into)).to.deep.equal([]);
          await disk.write(asSector(3), into.subarray(0, 512));
          await disk.flush();
          const again = new Uint8Array(1024 * 512);
          await disk.read(asSector(0), again);
          into.set(into.slice(0, 512), 3 * 512);
          expect(differing(again, into)).to.deep.equal([]);
          if (front && back) expect(await mapped()).to.be.within(128, 352);
          else expect(await mapped()).to.equal(0);
        });
      }
    }
  });
});

onOddBackends('a pool of persistent pages', ({ open, begin }) => {
  const { okay } = blkifRsp;

  const says = { 'feature-persistent': true };

  it('lets the backend write to all, and keep them mapped (blkif.h, note 8)', async () => {
    const { disk, peer } = await open('xvda', says);
    const [writing] = await begin(disk.write(asSector(0), new Uint8Array(4096).fill(0x5a)));
    const page = await peer.map(peer.seen[0], 0, false);
    const ref = peer.seen[0]?.segments[0]?.gref;
    expect((await page.bytes()).every((byte) => byte === 0x5a)).to.equal(true);
    await peer.answer(peer.take(), okay);
    await writing;
    // First in, first out: when all others were used it is this one's turn again.
    let again = 0;
    for (let i = 0; i < 64; i++) {
      const [reading] = await begin(disk.read(asSector(8), new Uint8Array(4096)));
      if (peer.seen[0]?.segments[0]?.gref === ref) again++;
      await peer.answer(peer.take(), okay);
      await reading;
    }
    expect(again).to.equal(2);
    await page[Symbol.asyncDispose]();
  });

  it('sends nothing with a write that an earlier request had left in its page (XSA-403)', async () => {
    const { disk, peer } = await open('xvda', says);
    for (let i = 0; i < 40; i++) {
      const [all] = await begin(disk.write(asSector(0), new Uint8Array(4096).fill(0x5a)));
      await peer.answer(peer.take(), okay);
      await all;
    }
    const [part] = await begin(disk.write(asSector(0), new Uint8Array(1536).fill(0x11)));
    {
      await using page = await peer.map(peer.seen[0]);
      const bytes = await page.bytes();
      expect(bytes.subarray(0, 1536).every((byte) => byte === 0x11)).to.equal(true);
      expect(bytes.subarray(1536).every((byte) => byte === 0)).to.equal(true);
    }
    await peer.answer(peer.take(), okay);
    await part;
  });

  it('has as many as a ring of full requests, and no more (blkif.h, note 9)', async () => {
    const { disk, peer } = await open('xvda', says);
    const seen = new Set<number>();
    for (let i = 0; i < 3; i++) {
      const calls = await begin(...Array.from({ length: 32 }, () => disk.read(asSector(0), new Uint8Array(45056))));
      for (const { segments } of peer.seen) for (const { gref } of segments) seen.add(gref);
      await peer.answer(peer.take(), okay);
      await Promise.all(calls);
    }
    expect(seen.size).to.equal(352);
  });

  it('hands out pages that lie side by side, so that what follows on the disk is one read', async () => {
    const { disk, peer } = await open('xvda', says);
    for (let round = 0; round < 3; round++) {
      const calls = await begin(
        ...Array.from({ length: 32 }, (_, i) => disk.read(asSector(i * 8), new Uint8Array(4096))),
      );
      const mappings = await Promise.all(peer.seen.map((request) => peer.map(request, 0, false)));
      const places = await Promise.all(mappings.map((page) => page.place()));
      expect(places).to.deep.equal(Array.from({ length: 32 }, (_, i) => (places[0] ?? 0) + i * 4096));
      for (const page of mappings) await page[Symbol.asyncDispose]();
      await peer.answer(peer.take(), okay);
      await Promise.all(calls);
    }
  });
});
