import { expect } from 'chai';
import { assertNothingLeft, platforms } from '../../../contract/index.js';
import {
  asSector,
  connection,
  Disconnected,
  type Domain,
  GrantError,
  type Page,
  PeerFault,
  serveDevices,
  XenError,
  XenStore,
} from '../../../core/index.js';
import type { Machine } from '../../../core/toolstack/index.js';
import type { BlockDevice } from '../../../drivers/blk/block-device.js';
import { BlkFrontend } from '../../../drivers/blk/frontend.js';
import { vbdKeys } from '../../../drivers/blk/vbd-keys.js';
import { vdevOf } from '../../../drivers/blk/vdev.js';
import { blkifOp, blkifRsp } from '../../../drivers/blk/wire.js';
import { OddBackend, odd } from './odd-backend.js';

const { okay, error, notSupported } = blkifRsp;
const outcome = (promise: Promise<void>): Promise<unknown> => promise.catch((reason: unknown) => reason);

for (const platform of platforms) {
  describe(`the frontend of class vbd on ${platform.name}`, () => {
    const says = odd.says;
    let machine: Machine;
    let guest: Domain;
    let back: Domain;

    beforeEach(async () => {
      machine = await platform.create({ seed: 1 });
      guest = await machine.guest('guest');
      back = await machine.guest('odd');
      odd.says = says;
      odd.all.length = 0;
      serveDevices(back, OddBackend);
    });

    afterEach(async function () {
      try {
        if (this.currentTest?.state !== 'failed') await assertNothingLeft(machine);
      } finally {
        await machine[Symbol.asyncDispose]();
      }
    });

    /** A disk of an odd backend, and that backend. */
    const open = async (vdev = 'xvda'): Promise<{ readonly disk: BlockDevice; readonly peer: OddBackend }> => {
      const id = vdevOf(vdev);
      const keys = vbdKeys({ vdev, params: 'odd', mode: 'w' });
      await machine.toolstack.attach({ device: 'vbd', id, frontend: guest.domid, backend: back.domid, keys });
      const disk = await connection(guest, BlkFrontend, id);
      const peer = odd.all.at(-1);
      if (peer === undefined) throw new Error('nobody has connected');
      return { disk, peer };
    };

    /** Begins something, and lets everybody do what they can. */
    const begin = async <T>(...calls: readonly Promise<T>[]): Promise<readonly Promise<T>[]> => {
      for (const call of calls) call.catch(() => undefined);
      await machine.idle();
      return calls;
    };

    const isPending = async (promise: Promise<unknown>): Promise<boolean> => {
      await machine.idle();
      const waits = {};
      return (await Promise.race([promise.catch(() => undefined), Promise.resolve(waits)])) === waits;
    };

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
          using page = peer.map(request, k, false);
          page.bytes.fill(i * 11 + k + 1);
        }
      }
      peer.answer(requests, okay);
      await reading;
      const expected = new Uint8Array(26 * 4096).map((_, i) => 1 + Math.trunc(i / 4096));
      expect(Buffer.compare(into, expected.subarray(0, into.length))).to.equal(0);
    });

    it('names its device in each request, cut to 16 bits (blkif.h handle)', async () => {
      const { disk, peer } = await open('xvdq');
      const [reading] = await begin(disk.read(asSector(0), new Uint8Array(512)));
      expect(peer.seen.map(({ handle }) => handle)).to.deep.equal([vdevOf('xvdq') & 0xffff]);
      peer.answer(peer.take(), okay);
      await reading;
    });

    it('lets the backend only read what it writes, and nothing but that (XSA-403)', async () => {
      const { disk, peer } = await open();
      const [writing] = await begin(disk.write(asSector(7), new Uint8Array(1024).fill(0x5a)));
      const [request] = peer.take();
      expect(() => peer.map(request, 0, false)).to.throw(GrantError);
      {
        using page = peer.map(request);
        expect(page.bytes.subarray(0, 1024).every((byte) => byte === 0x5a)).to.equal(true);
        expect(page.bytes.subarray(1024).every((byte) => byte === 0)).to.equal(true);
      }
      peer.answer(request === undefined ? [] : [request], okay);
      await writing;
    });

    it('gives the backend zeroed pages to read into (XSA-403)', async () => {
      const { disk, peer } = await open();
      const [reading] = await begin(disk.read(asSector(7), new Uint8Array(1024)));
      {
        using page = peer.map(peer.seen[0]);
        expect(page.bytes.every((byte) => byte === 0)).to.equal(true);
      }
      peer.answer(peer.take(), okay);
      await reading;
    });

    it('keeps 32 requests outstanding: the 33rd waits, and one response frees one slot', async () => {
      const { disk, peer } = await open();
      const reads = await begin(...Array.from({ length: 36 }, (_, i) => disk.read(asSector(i), new Uint8Array(512))));
      expect(peer.seen.map(({ sector }) => sector)).to.deep.equal(Array.from({ length: 32 }, (_, i) => i));
      const waiting = peer.take();
      peer.answer(waiting.slice(5, 6), okay);
      await machine.idle();
      expect(peer.take().map(({ sector }) => sector)).to.deep.equal([32]);
      expect(await isPending(reads[4] as Promise<void>)).to.equal(true);
      await reads[5];
      peer.answer([...waiting.slice(0, 5), ...waiting.slice(6)], okay);
      await machine.idle();
      expect(peer.seen.map(({ sector }) => sector)).to.deep.equal([33, 34, 35]);
      await disk.close();
      expect(await outcome(reads[35] as Promise<void>)).to.be.instanceOf(Disconnected);
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
        peer.answer(some, okay);
        await machine.idle();
      }
      expect(order).to.deep.equal([...Array.from({ length: 40 }, (_, i) => i * 88), 4000, -1]);
      await Promise.all([large, small]);
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
        peer.answer(peer.take(), okay);
        await Promise.all([a, b]);
      }
      expect(seen.size).to.equal(3);
    });

    describe('when the backend answers ERROR', () => {
      it('rejects with EIO, and names the sectors', async () => {
        const { disk, peer } = await open();
        const calls = await begin(
          disk.read(asSector(8), new Uint8Array(1024)),
          disk.write(asSector(3), new Uint8Array(512)),
        );
        peer.answer(peer.take(), error);
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
        peer.answer(peer.take(), notSupported);
        expect(await outcome(reading as Promise<void>))
          .to.be.instanceOf(XenError)
          .with.property('code', 'EIO');
      });

      it('to one part, waits for the others, which may still fill the bytes', async () => {
        const { disk, peer } = await open();
        const [reading] = await begin(disk.read(asSector(0), new Uint8Array(3 * 45056)));
        const [first, second, third] = [peer.take(1), peer.take(1), peer.take(1)];
        peer.answer(second, error);
        expect(await isPending(reading as Promise<void>)).to.equal(true);
        peer.answer(first, okay);
        peer.answer(third, error);
        expect(await outcome(reading as Promise<void>))
          .to.have.property('message')
          .that.includes('read of sectors 88 to 175');
      });

      it('to one part, sends those no more that still wait', async () => {
        const { disk, peer } = await open();
        const [reading] = await begin(disk.read(asSector(0), new Uint8Array(40 * 45056)));
        peer.answer(peer.take(1), error);
        const [next] = await begin(disk.read(asSector(4000), new Uint8Array(512)));
        expect(peer.seen.at(-1)).to.include({ sector: 4000 });
        peer.answer(peer.take(), okay);
        await next;
        expect(await outcome(reading as Promise<void>)).to.be.instanceOf(XenError);
        await machine.idle();
        expect(peer.seen).to.deep.equal([]);
      });
    });

    describe('flush', () => {
      it('sends a request without segments', async () => {
        const { disk, peer } = await open();
        const [flushing] = await begin(disk.flush());
        expect(peer.seen[0]).to.include({ operation: blkifOp.flush, sector: 0 });
        expect(peer.seen[0]?.segments).to.deep.equal([]);
        peer.answer(peer.take(), okay);
        await flushing;
        expect(disk.canFlush).to.equal(true);
      });

      it('resolves when the backend knows it not, and is not tried again (blkfront)', async () => {
        const { disk, peer } = await open();
        const flushes = await begin(disk.flush(), disk.flush());
        peer.answer(peer.take(), notSupported);
        await Promise.all(flushes);
        expect(disk.canFlush).to.equal(false);
        await disk.flush();
        await machine.idle();
        expect(peer.seen).to.deep.equal([]);
      });

      it('rejects with EIO when the disk cannot, and is tried again', async () => {
        const { disk, peer } = await open();
        const [flushing] = await begin(disk.flush());
        peer.answer(peer.take(), error);
        expect(await outcome(flushing as Promise<void>)).to.have.property('message', 'device/vbd/51712: flush: EIO');
        expect(disk.canFlush).to.equal(true);
      });

      it('sends nothing to a backend that does not offer it', async () => {
        odd.says = { ...says, 'feature-flush-cache': false };
        const { disk, peer } = await open();
        expect(disk.canFlush).to.equal(false);
        await disk.flush();
        await machine.idle();
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
          peer.answer(peer.take(1), status, operation);
          for (const found of await Promise.all(calls.map(outcome))) {
            expect(found).to.be.instanceOf(PeerFault).with.property('message').that.includes(said);
          }
          const reason = `/local/domain/${guest.domid}/error/device/vbd/51712/error`;
          await machine.idle();
          expect(await machine.dom0.get(XenStore).read(reason)).to.include(said);
          expect(await outcome(disk.flush())).to.be.instanceOf(PeerFault);
          // What the backend still owes keeps it from closing at once.
          peer.answer(peer.take(), okay);

          const other = await open('xvdb');
          const [flushing] = await begin(other.disk.flush());
          other.peer.answer(other.peer.take(), okay);
          await flushing;
        });
      }
    });

    describe('has no use for a page that the backend keeps mapped (XSA-396):', () => {
      for (const kind of ['read', 'write'] as const) {
        it(`fails the ${kind} with EIO, and does not use the page until it is let go of`, async () => {
          const { disk, peer } = await open();
          const call = (): Promise<void> => disk[kind](asSector(8), new Uint8Array(4096));
          const [first] = await begin(call());
          const kept = peer.seen[0]?.segments[0]?.gref;
          const page = peer.map(peer.seen[0]);
          peer.answer(peer.take(), okay);
          expect(await outcome(first as Promise<void>))
            .to.be.instanceOf(XenError)
            .with.property(
              'message',
              `device/vbd/51712: the backend keeps pages mapped after its ${kind} of sectors 8 to 15: EIO`,
            );
          for (let i = 0; i < 5; i++) {
            const [again] = await begin(call());
            expect(peer.seen[0]?.segments[0]?.gref).not.to.equal(kept);
            peer.answer(peer.take(), okay);
            await again;
          }
          page[Symbol.dispose]();
        });
      }

      it('fails with EBUSY when the backend has kept two rings’ worth, goes on when it lets go', async () => {
        const { disk, peer } = await open();
        const call = (): Promise<void> => disk.write(asSector(0), new Uint8Array(45056));
        const pages: Page[] = [];
        for (let i = 0; i < 64; i++) {
          const [writing] = await begin(call());
          for (let k = 0; k < 11; k++) pages.push(peer.map(peer.seen[0], k));
          peer.answer(peer.take(), okay);
          expect(await outcome(writing as Promise<void>)).to.have.property('code', 'EIO');
        }
        expect(await outcome(call()))
          .to.be.instanceOf(XenError)
          .with.property('message')
          .that.match(/keeps 704 pages mapped.*EBUSY/);
        for (const page of pages.slice(0, 5)) page[Symbol.dispose]();
        expect(await outcome(call())).to.have.property('code', 'EBUSY');
        // Reads have pages of their own, and what failed has given back what it had.
        const [reading, small] = await begin(
          disk.read(asSector(0), new Uint8Array(45056)),
          disk.write(asSector(0), new Uint8Array(4096)),
        );
        peer.answer(peer.take(), okay);
        await Promise.all([reading, small]);
        for (const page of pages.slice(5)) page[Symbol.dispose]();
        const [writing] = await begin(call());
        peer.answer(peer.take(), okay);
        await writing;
      });

      it('parks what is mapped when the link ends, until it is let go of', async () => {
        const { disk, peer } = await open();
        await begin(disk.read(asSector(0), new Uint8Array(4096)));
        const page = peer.map(peer.seen[0], 0, false);
        const closing = disk.close();
        await machine.idle();
        page.bytes.fill(1);
        page[Symbol.dispose]();
        peer.answer(peer.take(), okay);
        await closing;
      });
    });

    it('knows of another size as soon as the backend announces it (blkif.h)', async () => {
      const { disk, peer } = await open();
      const sizes: number[] = [];
      disk.sectors$.subscribe((sectors) => sizes.push(sectors));
      expect(() => disk.read(asSector(5000), new Uint8Array(512))).to.throw(RangeError);
      peer.link.publish({ sectors: asSector(8192) });
      await machine.idle();
      expect(disk.sectors).to.equal(8192);
      const [reading] = await begin(disk.read(asSector(5000), new Uint8Array(512)));
      peer.answer(peer.take(), okay);
      await reading;
      peer.link.publish({ sectors: asSector(100) });
      await machine.idle();
      expect(() => disk.read(asSector(100), new Uint8Array(512))).to.throw(RangeError, 'it has 100 sectors');
      expect(sizes).to.deep.equal([4096, 8192, 100]);
    });

    for (const outstanding of [1, 32, 40]) {
      it(`leaves ${outstanding} calls without an answer when the link ends, and says so`, async () => {
        const { disk } = await open();
        const calls = await begin(
          ...Array.from({ length: outstanding }, () => disk.write(asSector(0), new Uint8Array(512))),
        );
        await disk.close();
        for (const found of await Promise.all(calls.map(outcome))) expect(found).to.be.instanceOf(Disconnected);
        expect(await outcome(disk.read(asSector(0), new Uint8Array(512)))).to.be.instanceOf(Disconnected);
      });
    }

    it('is left by a backend that vanishes', async () => {
      const { disk } = await open();
      const [reading] = await begin(disk.read(asSector(0), new Uint8Array(512)));
      await machine.toolstack.destroy(back.domid);
      expect(await outcome(reading as Promise<void>)).to.be.instanceOf(Disconnected);
    });
  });
}
