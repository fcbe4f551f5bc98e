import { expect } from 'chai';
import { asSector, XenError } from '../../../core/index.js';
import { blkifRsp } from '../../../drivers/blk/wire.js';
import type { OddPage } from './odd-peer.js';
import { onOddBackends, outcome } from './odd-rig.js';

const { okay } = blkifRsp;

onOddBackends('a pool of pages', ({ open, idle, begin }) => {
  it('lets the backend only read what it writes, and nothing but that (XSA-403)', async () => {
    const { disk, peer } = await open();
    const [writing] = await begin(disk.write(asSector(7), new Uint8Array(1024).fill(0x5a)));
    const [request] = peer.take();
    expect(await outcome(peer.map(request, 0, false))).to.have.property('name', 'GrantError');
    {
      await using page = await peer.map(request);
      const bytes = await page.bytes();
      expect(bytes.subarray(0, 1024).every((byte) => byte === 0x5a)).to.equal(true);
      expect(bytes.subarray(1024).every((byte) => byte === 0)).to.equal(true);
    }
    await peer.answer(request === undefined ? [] : [request], okay);
    await writing;
  });

  it('gives the backend zeroed pages to read into (XSA-403)', async () => {
    const { disk, peer } = await open();
    const [reading] = await begin(disk.read(asSector(7), new Uint8Array(1024)));
    {
      await using page = await peer.map(peer.seen[0]);
      expect((await page.bytes()).every((byte) => byte === 0)).to.equal(true);
    }
    await peer.answer(peer.take(), okay);
    await reading;
  });

  it('uses its pages again', async () => {
    const { disk, peer } = await open();
    const seen = new Set<number>();
    for (let i = 0; i < 20; i++) {
      const [a, b] = await begin(
        disk.read(asSector(0), new Uint8Array(8192)),
        disk.write(asSector(0), new Uint8Array(4096)),
      );
      for (const { segments } of peer.seen) for (const { gref } of segments) seen.add(gref);
      await peer.answer(peer.take(), okay);
      await Promise.all([a, b]);
    }
    expect(seen.size).to.equal(3);
  });

  describe('has no use for a page that the backend keeps mapped (XSA-396):', () => {
    for (const kind of ['read', 'write'] as const) {
      it(`fails the ${kind} with EIO, and does not use the page until it is let go of`, async () => {
        const { disk, peer } = await open();
        const call = (): Promise<void> => disk[kind](asSector(8), new Uint8Array(4096));
        const [first] = await begin(call());
        const kept = peer.seen[0]?.segments[0]?.gref;
        const page = await peer.map(peer.seen[0]);
        await peer.answer(peer.take(), okay);
        expect(await outcome(first))
          .to.be.instanceOf(XenError)
          .with.property(
            'message',
            `device/vbd/51712: the backend keeps pages mapped after its ${kind} of sectors 8 to 15: EIO`,
          );
        for (let i = 0; i < 5; i++) {
          const [again] = await begin(call());
          expect(peer.seen[0]?.segments[0]?.gref).not.to.equal(kept);
          await peer.answer(peer.take(), okay);
          await again;
        }
        await page[Symbol.asyncDispose]();
      });
    }

    it('fails with EBUSY when the backend has kept two rings’ worth, goes on when it lets go', async () => {
      const { disk, peer } = await open();
      const call = (): Promise<void> => disk.write(asSector(0), new Uint8Array(45056));
      const pages: OddPage[] = [];
      for (let i = 0; i < 64; i++) {
        const [writing] = await begin(call());
        for (let k = 0; k < 11; k++) pages.push(await peer.map(peer.seen[0], k));
        await peer.answer(peer.take(), okay);
        expect(await outcome(writing)).to.have.property('code', 'EIO');
      }
      expect(await outcome(call()))
        .to.be.instanceOf(XenError)
        .with.property('message')
        .that.match(/keeps 704 pages mapped.*EBUSY/);
      for (const page of pages.slice(0, 5)) await page[Symbol.asyncDispose]();
      expect(await outcome(call())).to.have.property('code', 'EBUSY');
      // Reads have pages of their own, and what failed has given back what it had.
      const [reading, small] = await begin(
        disk.read(asSector(0), new Uint8Array(45056)),
        disk.write(asSector(0), new Uint8Array(4096)),
      );
      await peer.answer(peer.take(), okay);
      await Promise.all([reading, small]);
      for (const page of pages.slice(5)) await page[Symbol.asyncDispose]();
      const [writing] = await begin(call());
      await peer.answer(peer.take(), okay);
      await writing;
    });
  });

  it('takes no page back before the backend has closed: it may still be at what it has taken (XSA-396)', async () => {
    const { disk, peer } = await open();
    await begin(disk.write(asSector(0), new Uint8Array(4096).fill(0x42)));
    const closing = disk.close();
    await idle();
    {
      await using page = await peer.map(peer.seen[0]);
      expect((await page.bytes()).every((byte) => byte === 0x42)).to.equal(true);
    }
    await peer.answer(peer.take(), okay);
    await closing;
  });
});
