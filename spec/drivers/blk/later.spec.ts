import { expect } from 'chai';
import { onEveryPlatform } from '../../../contract/index.js';
import { GrantTable } from '../../../core/index.js';
import { BlkFrontend } from '../../../drivers/blk/frontend.js';
import { blk } from '../../../drivers/blk/protocol.js';
import { blkifOp, blkifRsp } from '../../../drivers/blk/wire.js';
import { Orders, reportsBesides$ } from '../../support/orders.js';
import type { DeferredReport, Operation } from './deferred.module.js';
import { RawFrontend, type RawRequest } from './raw-frontend.js';
import { flush, mapped, read, refsOf, write } from './raw-rig.js';

const { okay, error } = blkifRsp;
const module = import.meta.resolve('./deferred.module.js');

onEveryPlatform(blk, BlkFrontend, module, (_connect, rig) => {
  describe('a queue of requests to a disk that answers later', () => {
    /** What the disks of this test have been asked for and not done, and how many were closed. */
    const deferred: { operations: Operation[]; closed: number } = { operations: [], closed: 0 };
    let disks: Orders;

    beforeEach(() => {
      deferred.operations = [];
      deferred.closed = 0;
    });

    const connect = async (persistent?: string): Promise<RawFrontend> => {
      const { machine, guest } = rig();
      const backend = await machine.boot({ name: 'later', module });
      disks = new Orders(machine, backend);
      reportsBesides$(machine, backend).subscribe((value) => {
        const report = value as DeferredReport;
        if (report === 'closed') deferred.closed++;
        else deferred.operations.push(report);
      });
      const options = { mode: 'w' as const, params: 'later', backend };
      return RawFrontend.connect(machine, guest, persistent === undefined ? options : { ...options, persistent });
    };

    const send = async (frontend: RawFrontend, ...requests: readonly RawRequest[]): Promise<readonly number[]> => {
      const ids = requests.map((request) => frontend.submit(request));
      frontend.push();
      await rig().machine.idle();
      return ids;
    };

    /** Settles operations by what they are at, and lets everybody do what they can. */
    const settle = async (how: readonly string[], ...which: readonly Operation[]): Promise<void> => {
      const [order = '', ...args] = how;
      for (const operation of which) {
        deferred.operations.splice(deferred.operations.indexOf(operation), 1);
        await disks.give(order, operation.number, ...args);
      }
      await rig().machine.idle();
    };
    const succeed = ['succeed'];
    const failWith = (text: string): readonly string[] => ['fail', text];
    const bytesOf = async ({ number }: Operation): Promise<Uint8Array> =>
      (await disks.give('bytes', number)) as Uint8Array;

    const at = (sector: number): Operation => {
      const found = deferred.operations.find((operation) => operation.sector === sector);
      if (found === undefined) throw new Error(`nothing is under way at sector ${sector}`);
      return found;
    };
    const underWay = (): readonly string[] =>
      deferred.operations.map(({ what, sector, sectors }) => `${what} ${sector}+${sectors}`);
    const answers = (frontend: RawFrontend): readonly (readonly [id: number, status: number])[] =>
      frontend.responses().map(({ id, status }) => [id, status]);

    it('has all of them under way at once, and answers each as it is done', async () => {
      const frontend = await connect();
      const pages = frontend.shareMore(4);
      const [a, b, c, d] = refsOf(pages);
      const ids = await send(
        frontend,
        read(0, { gref: a }),
        read(64, { gref: b }),
        write(128, { gref: c }),
        read(8, { gref: d }),
      );
      expect(underWay()).to.deep.equal(['read 0+8', 'read 64+8', 'write 128+8', 'read 8+8']);
      expect(answers(frontend)).to.deep.equal([]);
      await disks.give('fill', at(64).number, 0x64);
      await settle(succeed, at(128), at(64));
      expect(answers(frontend)).to.deep.equal([
        [ids[2], okay],
        [ids[1], okay],
      ]);
      expect(pages.bytes.subarray(4096, 8192).every((byte) => byte === 0x64)).to.equal(true);
      expect(await mapped(rig())).to.equal(2);
      const [e] = await send(frontend, read(256, { gref: b }));
      await settle(succeed, at(256));
      await settle(succeed, at(8), at(0));
      expect(answers(frontend)).to.deep.equal([
        [e, okay],
        [ids[3], okay],
        [ids[0], okay],
      ]);
      expect(await mapped(rig())).to.equal(0);
      await frontend.close();
    });

    it('keeps the order of requests for the same sectors, of which one writes', async () => {
      const frontend = await connect();
      const [a, b, c, d] = refsOf(frontend.shareMore(4));
      const ids = await send(
        frontend,
        write(0, { gref: a }, { gref: b }),
        read(15, { gref: c, first: 0, last: 0 }),
        read(64, { gref: d }),
      );
      expect(underWay()).to.deep.equal(['write 0+16']);
      // What comes later does not overtake either.
      const [last] = await send(frontend, read(128, { gref: d }));
      expect(underWay()).to.deep.equal(['write 0+16']);
      await settle(succeed, at(0));
      expect(underWay()).to.deep.equal(['read 15+1', 'read 64+8', 'read 128+8']);
      await settle(succeed, at(128), at(64), at(15));
      expect(answers(frontend).map(([id]) => id)).to.deep.equal([ids[0], last, ids[2], ids[1]]);
      await frontend.close();
    });

    it('reads the same sectors side by side', async () => {
      const frontend = await connect();
      const [a, b] = refsOf(frontend.shareMore(2));
      await send(frontend, read(0, { gref: a }), read(4, { gref: b }));
      expect(underWay()).to.deep.equal(['read 0+8', 'read 4+8']);
      await settle(succeed, at(0), at(4));
      await frontend.close();
    });

    it('flushes after all before and before all after it', async () => {
      const frontend = await connect();
      const [a, b, c, d] = refsOf(frontend.shareMore(4));
      const ids = await send(
        frontend,
        write(0, { gref: a }),
        write(64, { gref: b }),
        flush,
        flush,
        write(128, { gref: c }),
      );
      const [later] = await send(frontend, read(256, { gref: d }));
      expect(underWay()).to.deep.equal(['write 0+8', 'write 64+8']);
      await settle(succeed, at(64));
      expect(underWay()).to.deep.equal(['write 0+8']);
      await settle(succeed, at(0));
      expect(underWay()).to.deep.equal(['flush 0+0']);
      await settle(succeed, at(0));
      expect(underWay()).to.deep.equal(['flush 0+0']);
      await settle(failWith('no flush'), at(0));
      expect(underWay()).to.deep.equal(['write 128+8', 'read 256+8']);
      await settle(succeed, at(256), at(128));
      expect(answers(frontend)).to.deep.equal([
        [ids[1], okay],
        [ids[0], okay],
        [ids[2], okay],
        [ids[3], error],
        [later, okay],
        [ids[4], okay],
      ]);
      await frontend.close();
    });

    it('writes what a flush carries when it has flushed, and not when that failed', async () => {
      const frontend = await connect();
      const { ref: gref } = frontend.shareMore();
      const carrying = { operation: blkifOp.flush, sector: 8, segments: [{ gref }] };
      const [first, second] = await send(frontend, carrying, carrying);
      await settle(succeed, at(0));
      expect(underWay()).to.deep.equal(['write 8+8']);
      expect(answers(frontend)).to.deep.equal([]);
      await settle(succeed, at(8));
      expect(underWay()).to.deep.equal(['flush 0+0']);
      await settle(failWith('no flush'), at(0));
      expect(underWay()).to.deep.equal([]);
      expect(answers(frontend)).to.deep.equal([
        [first, okay],
        [second, error],
      ]);
      expect(await mapped(rig())).to.equal(0);
      await frontend.close();
    });

    it('tries what failed as a whole request by request: only those that fail by themselves are answered ERROR', async () => {
      const frontend = await connect();
      const [a, b, c] = refsOf(frontend.shareMore(3));
      const ids = await send(frontend, write(0, { gref: a }), write(8, { gref: b }), write(16, { gref: c }));
      expect(underWay()).to.deep.equal(['write 0+24']);
      await settle(failWith('sector 9 is bad'), at(0));
      expect(underWay()).to.deep.equal(['write 0+8']);
      await settle(succeed, at(0));
      await settle(failWith('sector 9 is bad'), at(8));
      expect(answers(frontend)).to.deep.equal([]);
      await settle(succeed, at(16));
      expect(answers(frontend)).to.deep.equal([
        [ids[0], okay],
        [ids[1], error],
        [ids[2], okay],
      ]);
      await frontend.close();
    });

    it('answers what it has taken before it closes, and closes the disk after it', async () => {
      const frontend = await connect('1');
      const { ref: gref } = frontend.shareMore();
      const [id] = await send(frontend, read(0, { gref }));
      await frontend.store.write(`${frontend.path}/state`, '5');
      await rig().machine.idle();
      expect(deferred.closed).to.equal(0);
      await settle(succeed, at(0));
      expect(answers(frontend)).to.deep.equal([[id, okay]]);
      expect(deferred.closed).to.equal(1);
      await frontend.close();
    });

    for (const persistent of [undefined, '1'] as const) {
      const how = persistent === undefined ? 'mapped for a request' : 'that stay mapped';
      it(`answers nothing after the link's end, and lets go of pages ${how} when the disk is done with them`, async () => {
        const frontend = await connect(persistent);
        const pages = frontend.shareMore(3);
        const [a, b, c] = refsOf(pages);
        await send(frontend, write(0, { gref: a }), write(64, { gref: b }), write(68, { gref: c }));
        expect(underWay()).to.deep.equal(['write 0+8', 'write 64+8']);
        // A ring that cannot be ends the link at once.
        frontend.publish(1000);
        await rig().machine.idle();
        expect(deferred.closed).to.equal(0);
        expect(await mapped(rig())).to.equal(1);
        pages.bytes.fill(0x77, 4096, 8192);
        expect((await bytesOf(at(64))).every((byte) => byte === 0x77)).to.equal(true);
        await settle(succeed, at(64));
        expect(deferred.closed).to.equal(0);
        expect(await mapped(rig())).to.equal(0);
        await settle(failWith('too late'), at(0));
        expect(deferred.closed).to.equal(1);
        expect(underWay()).to.deep.equal([]);
        expect(await mapped(rig())).to.equal(-1);
        expect(Atomics.load(frontend.page.words, 2)).to.equal(0);
        await frontend.close();
      });
    }

    it('is not hurt by a frontend that takes its pages away meanwhile: they are nobody else’s before', async () => {
      const frontend = await connect('1');
      const page = frontend.shareMore();
      const frame = page.bytes.byteOffset;
      await send(frontend, read(0, { gref: page.ref }));
      page[Symbol.dispose]();
      const more = rig().guest.get(GrantTable).alloc(64);
      await disks.give('fill', at(0).number, 0x13);
      expect(await disks.give('place', at(0).number)).to.equal(frame);
      expect(more.bytes.every((byte) => byte === 0)).to.equal(true);
      await settle(succeed, at(0));
      more[Symbol.dispose]();
      await frontend.close();
    });
  });
});
