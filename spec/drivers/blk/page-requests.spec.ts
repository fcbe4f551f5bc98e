import { expect } from 'chai';
import { asSector, Disconnected, type Sector, XenError } from '../../../core/index.js';
import { vdisk } from '../../../drivers/blk/protocol.js';
import type { RequestPages } from '../../../drivers/blk/request-pages.js';
import { REQUEST_BYTES } from '../../../drivers/blk/transfer.js';
import { blkifOp, blkifRsp } from '../../../drivers/blk/wire.js';
import { onOddBackends } from './odd-rig.js';

const { okay, error } = blkifRsp;
const nobody = (): void => {};

onOddBackends('requests by callbacks', ({ rig, open, idle }) => {
  for (const persistent of [false, true]) {
    const grants = persistent ? 'persistent grants' : 'grants for each request';

    describe(`with ${grants}`, () => {
      const says = { 'feature-persistent': persistent };

      it('hand the pages that were read to their callback, and are known by the id that sending them returned', async () => {
        const { disk, peer } = await open('xvda', says);
        const { requests } = disk;
        const heard: (readonly [id: number, bytes: number, first: number])[] = [];
        const done = (id: number, pages: RequestPages, failed: Error | undefined): void => {
          expect(failed).to.equal(undefined);
          expect(pages.length).to.equal(Math.ceil(pages.bytes / 4096));
          heard.push([id, pages.bytes, pages.at(pages.length - 1)[0] ?? -1]);
        };
        const a = requests.read(asSector(8), 4096, done);
        const b = requests.read(asSector(100), 9 * 512, done);
        await idle();
        expect(peer.seen).to.deep.equal([]);
        requests.push();
        await idle();
        const [first, second] = peer.take();
        expect([first?.sector, second?.sector]).to.deep.equal([8, 100]);
        expect(second?.segments.map((segment) => segment.last)).to.deep.equal([7, 0]);
        if (first === undefined || second === undefined) return;
        {
          await using one = await peer.map(first, 0, false);
          await using two = await peer.map(second, 1, false);
          await one.fill(0x61);
          await two.fill(0x62);
        }
        await peer.answer([second, first], okay);
        await idle();
        expect(heard).to.deep.equal([
          [b, 9 * 512, 0x62],
          [a, 4096, 0x61],
        ]);
      });

      it('write what is put into their pages as they are sent', async () => {
        const { disk, peer } = await open('xvda', says);
        const outcomes: (Error | undefined)[] = [];
        const fill = (pages: RequestPages): void => {
          for (let i = 0; i < pages.length; i++) pages.at(i).fill(i + 1);
        };
        disk.requests.write(asSector(0), 4096 + 1024, fill, (_id, _pages, failed) => outcomes.push(failed));
        disk.requests.push();
        await idle();
        const [request] = peer.take();
        expect(request).to.include({ operation: blkifOp.write, sector: 0 });
        {
          await using first = await peer.map(request);
          await using second = await peer.map(request, 1);
          expect((await first.bytes()).every((byte) => byte === 1)).to.equal(true);
          expect((await second.bytes()).every((byte, i) => byte === (i < 1024 ? 2 : 0))).to.equal(true);
        }
        await peer.answer(request === undefined ? [] : [request], okay);
        await idle();
        expect(outcomes).to.deep.equal([undefined]);
      });

      it('may be sent from a callback, and have pages of their own', async () => {
        const { disk, peer } = await open('xvda', says);
        const { requests } = disk;
        const seen: number[] = [];
        const again = (_id: number, pages: RequestPages): void => {
          const before = pages.at(0)[0];
          requests.write(asSector(8), 4096, (own) => own.at(0).fill(0xee), nobody);
          expect(pages.at(0)[0]).to.equal(before);
          seen.push(before ?? -1);
        };
        for (let i = 0; i < 32; i++) requests.read(asSector(0), 4096, again);
        requests.push();
        await idle();
        for (const request of peer.seen) {
          await using page = await peer.map(request, 0, false);
          await page.fill(0x33);
        }
        await peer.answer(peer.take(), okay);
        await idle();
        expect(seen).to.deep.equal(Array.from({ length: 32 }, () => 0x33));
        expect(peer.seen.filter(({ operation }) => operation === blkifOp.write)).to.have.length(32);
        await peer.answer(peer.take(), okay);
        await idle();
      });
    });
  }

  it('are as many as the ring has slots; what asks for space is told when there is some', async () => {
    const { disk, peer } = await open();
    const { requests } = disk;
    expect(requests.entries).to.equal(32);
    const ids = Array.from({ length: 32 }, () => requests.read(asSector(0), 512, nobody));
    expect([...ids].sort((x, y) => x - y)).to.deep.equal(Array.from({ length: 32 }, (_, i) => i));
    expect(requests.free).to.equal(0);
    expect(requests.read(asSector(0), 512, nobody)).to.equal(-1);
    let told = 0;
    requests.space(() => told++);
    requests.push();
    await idle();
    expect(told).to.equal(0);
    await peer.answer(peer.take(1), okay);
    await idle();
    expect([told, requests.free]).to.deep.equal([1, 1]);
    await peer.answer(peer.take(), okay);
    await idle();
  });

  it('are told what went wrong', async () => {
    const { disk, peer } = await open();
    const errors: (Error | undefined)[] = [];
    disk.requests.read(asSector(8), 4096, (_id, _pages, failed) => errors.push(failed));
    disk.requests.push();
    await idle();
    await peer.answer(peer.take(), error);
    await idle();
    expect(errors[0]).to.be.instanceOf(XenError);
    expect(errors[0]).to.have.property('message', 'device/vbd/51712: read of sectors 8 to 15: EIO');
  });

  it('are lost when the link ends first, and then have no pages', async () => {
    const { disk, peer } = await open();
    const heard: unknown[] = [];
    disk.requests.read(asSector(8), 4096, (id, pages, failed) => heard.push([id, pages.length, failed]));
    disk.requests.push();
    await idle();
    await peer.vanish();
    await idle();
    expect(heard).to.have.length(1);
    expect(heard[0]).to.have.property('2').that.is.instanceOf(Disconnected);
    expect(heard[0]).to.have.property('1', 0);
    expect(() => disk.requests.read(asSector(8), 4096, nobody)).to.throw(Disconnected);
  });

  it('disturb no other when a callback throws', async () => {
    const { disk, peer } = await open();
    const lines: string[] = [];
    rig().machine.log$.subscribe(({ level, text }) => level === 'error' && lines.push(text));
    const outcomes: (Error | undefined)[] = [];
    disk.requests.read(asSector(0), 512, () => {
      throw new Error('a mistake of the user’s');
    });
    disk.requests.read(asSector(8), 512, (_id, _pages, failed) => outcomes.push(failed));
    disk.requests.push();
    await idle();
    await peer.answer(peer.take(), okay);
    await idle();
    expect(outcomes).to.deep.equal([undefined]);
    expect(lines.join()).to.include('a mistake of the user’s');
  });

  it('are not sent when filling them throws, or sends another', async () => {
    const { disk, peer } = await open();
    const { requests } = disk;
    const fails = (): void => {
      throw new Error('nothing to write');
    };
    for (let i = 0; i < 1000; i++) {
      expect(() => requests.write(asSector(0), 45056, fails, nobody)).to.throw('nothing to write');
    }
    const nested = (): void => void requests.read(asSector(0), 512, nobody);
    expect(() => requests.write(asSector(0), 512, nested, nobody)).to.throw(
      TypeError,
      'while another is being written',
    );
    requests.push();
    await idle();
    expect(peer.seen).to.deep.equal([]);
    expect(requests.free).to.equal(32);
  });

  describe('throw at once', () => {
    const wrong: readonly (readonly [what: string, sector: number, bytes: number, why: string])[] = [
      ['for nothing', 0, 0, 'a request moves one sector to 45056 bytes'],
      ['for more than 11 pages', 0, REQUEST_BYTES + 512, 'a request moves one sector to 45056 bytes'],
      ['for what is no whole number of sectors', 0, 100, 'multiples of its 512 bytes'],
      ['for a negative length', 0, -512, 'a request moves one sector'],
      ['for an end behind the last sector', 4090, 4096, 'it has 4096 sectors'],
    ];
    for (const [what, sector, bytes, why] of wrong) {
      it(what, async () => {
        const { disk } = await open();
        expect(() => disk.requests.read(sector as Sector, bytes, nobody)).to.throw(RangeError, why);
        expect(() => disk.requests.write(sector as Sector, bytes, nobody, nobody)).to.throw(RangeError, why);
      });
    }

    it('EROFS for a write to a read-only disk', async () => {
      const { disk } = await open('xvda', { info: vdisk.readonly });
      expect(() => disk.requests.write(asSector(0), 512, nobody, nobody))
        .to.throw(XenError)
        .with.property('code', 'EROFS');
    });
  });
});
