import { expect } from 'chai';
import { asSector, Disconnected, PeerFault, XenError, XenStore } from '../../../core/index.js';
import type { BlockDevice } from '../../../drivers/blk/block-device.js';
import { vdevOf } from '../../../drivers/blk/vdev.js';
import { blkifOp, blkifRsp } from '../../../drivers/blk/wire.js';
import { onOddBackends, outcome } from './odd-rig.js';

const { okay, error, notSupported } = blkifRsp;

onOddBackends('a queue of transfers', ({ rig, open, idle, begin, isPending }) => {
  it('splits what is larger than 11 pages into requests, whole pages first', async () => {
    const { disk, peer } = await open();
    const into = new Uint8Array(25 * 4096 + 1536);
    const [reading] = await begin(disk.read(asSector(100), into));
    const requests = peer.take();
    expect(requests.map(({ sector, segments }) => [sector, segments.length])).to.deep.equal([
      [100, 11],
      [188, 11],
      [276, 4],
    ]);
    const segments = requests.flatMap((request) => request.segments);
    expect(segments.slice(0, 25).every(({ first, last }) => first === 0 && last === 7)).to.equal(true);
    expect(segments.at(25)).to.include({ first: 0, last: 2 });
    expect(new Set(segments.map(({ gref }) => gref)).size).to.equal(26);
    expect(requests.every(({ operation, handle }) => operation === blkifOp.read && handle === 51712)).to.equal(true);
    for (const [i, request] of requests.entries()) {
      for (let k = 0; k < request.segments.length; k++) {
        await using page = await peer.map(request, k, false);
        await page.fill(i * 11 + k + 1);
      }
    }
    await peer.answer(requests, okay);
    await reading;
    const expected = new Uint8Array(26 * 4096).map((_, i) => 1 + Math.trunc(i / 4096));
    expect(Buffer.compare(into, expected.subarray(0, into.length))).to.equal(0);
  });

  it('names its device in each request, cut to 16 bits (blkif.h handle)', async () => {
    const { disk, peer } = await open('xvdq');
    const [reading] = await begin(disk.read(asSector(0), new Uint8Array(512)));
    expect(peer.seen.map(({ handle }) => handle)).to.deep.equal([vdevOf('xvdq') & 0xffff]);
    await peer.answer(peer.take(), okay);
    await reading;
  });

  it('keeps 32 requests outstanding: the 33rd waits, and one response frees one slot', async () => {
    const { disk, peer } = await open();
    const reads = await begin(...Array.from({ length: 36 }, (_, i) => disk.read(asSector(i), new Uint8Array(512))));
    expect(peer.seen.map(({ sector }) => sector)).to.deep.equal(Array.from({ length: 32 }, (_, i) => i));
    const waiting = peer.take();
    await peer.answer(waiting.slice(5, 6), okay);
    await idle();
    const next = peer.take();
    expect(next.map(({ sector }) => sector)).to.deep.equal([32]);
    expect(await isPending(reads[4])).to.equal(true);
    await reads[5];
    await peer.answer([...waiting.slice(0, 5), ...waiting.slice(6)], okay);
    await idle();
    expect(peer.seen.map(({ sector }) => sector)).to.deep.equal([33, 34, 35]);
    await peer.answer([...next, ...peer.take()], okay);
    await Promise.all(reads);
  });

  it('sends calls in their order, a large one before the small one that came later', async () => {
    const { disk, peer } = await open();
    const large = disk.read(asSector(0), new Uint8Array(40 * 45056));
    const small = disk.write(asSector(4000), new Uint8Array(512));
    await begin(large, small, disk.flush());
    const order: number[] = [];
    while (peer.seen.length > 0) {
      const some = peer.take();
      order.push(...some.map(({ operation, sector }) => (operation === blkifOp.flush ? -1 : sector)));
      await peer.answer(some, okay);
      await idle();
    }
    expect(order).to.deep.equal([...Array.from({ length: 40 }, (_, i) => i * 88), 4000, -1]);
    await Promise.all([large, small]);
  });

  describe('when the backend answers ERROR', () => {
    it('rejects with EIO, and names the sectors', async () => {
      const { disk, peer } = await open();
      const calls = await begin(
        disk.read(asSector(8), new Uint8Array(1024)),
        disk.write(asSector(3), new Uint8Array(512)),
      );
      await peer.answer(peer.take(), error);
      const [reading, writing] = await Promise.all(calls.map(outcome));
      expect(reading)
        .to.be.instanceOf(XenError)
        .with.property('message', 'device/vbd/51712: read of sectors 8 to 9: EIO');
      expect(writing)
        .to.be.instanceOf(XenError)
        .with.property('message', 'device/vbd/51712: write of sectors 3 to 3: EIO');
    });

    it('or EOPNOTSUPP for a read or a write, which is no better', async () => {
      const { disk, peer } = await open();
      const [reading] = await begin(disk.read(asSector(0), new Uint8Array(512)));
      await peer.answer(peer.take(), notSupported);
      expect(await outcome(reading))
        .to.be.instanceOf(XenError)
        .with.property('code', 'EIO');
    });

    it('to one part, waits for the others, which may still fill the bytes', async () => {
      const { disk, peer } = await open();
      const [reading] = await begin(disk.read(asSector(0), new Uint8Array(3 * 45056)));
      const [first, second, third] = [peer.take(1), peer.take(1), peer.take(1)];
      await peer.answer(second, error);
      expect(await isPending(reading)).to.equal(true);
      await peer.answer(first, okay);
      await peer.answer(third, error);
      expect(await outcome(reading))
        .to.have.property('message')
        .that.includes('read of sectors 88 to 175');
    });

    it('to one part, sends those no more that still wait', async () => {
      const { disk, peer } = await open();
      const [reading] = await begin(disk.read(asSector(0), new Uint8Array(40 * 45056)));
      await peer.answer(peer.take(1), error);
      const [next] = await begin(disk.read(asSector(4000), new Uint8Array(512)));
      expect(peer.seen.at(-1)).to.include({ sector: 4000 });
      await peer.answer(peer.take(), okay);
      await next;
      expect(await outcome(reading)).to.be.instanceOf(XenError);
      await idle();
      expect(peer.seen).to.deep.equal([]);
    });
  });

  describe('flush', () => {
    it('sends a request without segments', async () => {
      const { disk, peer } = await open();
      const [flushing] = await begin(disk.flush());
      expect(peer.seen[0]).to.include({ operation: blkifOp.flush, sector: 0 });
      expect(peer.seen[0]?.segments).to.deep.equal([]);
      await peer.answer(peer.take(), okay);
      await flushing;
      expect(disk.canFlush).to.equal(true);
    });

    it('resolves when the backend knows it not, and is not tried again (blkfront)', async () => {
      const { disk, peer } = await open();
      const flushes = await begin(disk.flush(), disk.flush());
      await peer.answer(peer.take(), notSupported);
      await Promise.all(flushes);
      expect(disk.canFlush).to.equal(false);
      await disk.flush();
      await idle();
      expect(peer.seen).to.deep.equal([]);
    });

    it('rejects with EIO when the disk cannot, and is tried again', async () => {
      const { disk, peer } = await open();
      const [flushing] = await begin(disk.flush());
      await peer.answer(peer.take(), error);
      expect(await outcome(flushing)).to.have.property('message', 'device/vbd/51712: flush: EIO');
      expect(disk.canFlush).to.equal(true);
    });

    it('sends nothing to a backend that does not offer it', async () => {
      const { disk, peer } = await open('xvda', { 'feature-flush-cache': false });
      expect(disk.canFlush).to.equal(false);
      await disk.flush();
      await idle();
      expect(peer.seen).to.deep.equal([]);
    });
  });

  describe('believes no backend that lies (XSA-376):', () => {
    const lies: readonly (readonly [what: string, status: number, operation: number | undefined, said: string])[] = [
      ['a status of 1', 1, undefined, 'the status of the response to a read of sectors 0 to 0 cannot be 1'],
      ['a status of -3', -3, undefined, 'the status of the response to a read of sectors 0 to 0 cannot be -3'],
      ['a status of -32768', -32768, undefined, 'cannot be -32768'],
      [
        'another operation',
        okay,
        blkifOp.write,
        'the operation of the response to a read of sectors 0 to 0 cannot be 1',
      ],
    ];
    for (const [what, status, operation, said] of lies) {
      it(`${what} ends that link, and no other`, async () => {
        const { disk, peer } = await open();
        const calls = await begin(
          disk.read(asSector(0), new Uint8Array(512)),
          disk.write(asSector(8), new Uint8Array(40 * 45056)),
          disk.flush(),
        );
        await peer.answer(peer.take(1), status, operation);
        for (const found of await Promise.all(calls.map(outcome))) {
          expect(found).to.be.instanceOf(PeerFault).with.property('message').that.includes(said);
        }
        const reason = `/local/domain/${rig().guest.domid}/error/device/vbd/51712/error`;
        await idle();
        expect(await rig().machine.dom0.get(XenStore).read(reason)).to.include(said);
        expect(await outcome(disk.flush())).to.be.instanceOf(PeerFault);
        // What the backend still owes keeps it from closing at once.
        await peer.answer(peer.take(), okay);

        const other = await open('xvdb');
        const [flushing] = await begin(other.disk.flush());
        await other.peer.answer(other.peer.take(), okay);
        await flushing;
      });
    }
  });

  for (const outstanding of [1, 32, 40]) {
    const write = async (disk: BlockDevice): Promise<readonly Promise<void>[]> =>
      begin(...Array.from({ length: outstanding }, () => disk.write(asSector(0), new Uint8Array(512))));
    const expectLost = async (disk: BlockDevice, calls: readonly Promise<void>[]): Promise<void> => {
      for (const found of await Promise.all(calls.map(outcome))) expect(found).to.be.instanceOf(Disconnected);
      expect(await outcome(disk.read(asSector(0), new Uint8Array(512)))).to.be.instanceOf(Disconnected);
    };

    it(`leaves ${outstanding} calls without an answer when the backend vanishes, and says so`, async () => {
      const { disk, peer } = await open();
      const calls = await write(disk);
      await peer.vanish();
      await expectLost(disk, calls);
    });

    it(`leaves ${outstanding} calls without an answer when the disk is closed, and says so (on local alone: elsewhere the backend’s 10 s are real)`, async function () {
      if (rig().platform !== 'local') this.skip();
      const { disk } = await open();
      const calls = await write(disk);
      await disk.close();
      await expectLost(disk, calls);
    });
  }
});
