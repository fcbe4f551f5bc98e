import { expect } from 'chai';
import fc from 'fast-check';
import { firstValueFrom } from 'rxjs';
import { onEveryPlatform } from '../../../contract/index.js';
import { Disconnected, GrantError, type GrantRef, GrantTable } from '../../../core/index.js';
import { NetFrontend } from '../../../drivers/net/frontend.js';
import type { Nic } from '../../../drivers/net/nic.js';
import { vif } from '../../../drivers/net/protocol.js';
import { frameOf } from './frames.js';
import { packetOf } from './packets.js';
import { RawBack, type RxNumbers } from './raw-back.js';

const flag = { dataValidated: 1, csumBlank: 2, more: 4, extra: 8 };
const me = Uint8Array.of(0, 0x16, 0x3e, 0, 0, 1);
const other = Uint8Array.of(0, 0x16, 0x3e, 0, 0, 2);

onEveryPlatform(vif, NetFrontend, import.meta.resolve('../../../drivers/net/module.js'), (_connect, rig) => {
  let back: RawBack;
  let nic: Nic;
  let log: string[];
  let received: Uint8Array[];
  const setUp = async (): Promise<void> => {
    const { machine, guest } = rig();
    log = [];
    machine.log$.subscribe(({ text }) => log.push(text));
    ({ back, nic } = await RawBack.connect(machine, guest));
    received = [];
    nic.frames$.subscribe((batch) => {
      for (const frame of batch) received.push(frame.copy());
    });
  };
  const hello = frameOf({ to: me, from: other, length: 60, fill: 7 });

  /** A frame comes as it should, so the frontend goes on, and all buffers are posted again. */
  const expectLive = async (): Promise<void> => {
    const before = received.length;
    const slot = back.put([0, 0, 0, hello.length]);
    back.fill(slot, hello);
    await back.turn();
    expect(received.slice(before)).to.deep.equal([hello]);
    expect(back.posted - Atomics.load(back.rx.words, 2)).to.equal(256);
  };
  const finish = async (): Promise<void> => {
    const closed = nic.close();
    await back.closes();
    await closed;
  };
  const expectFault = async (why: RegExp): Promise<void> => {
    await back.closes();
    expect(log.some((line) => why.test(line))).to.equal(true);
  };

  describe('a frontend whose backend lies', () => {
    it('ignores the ids of responses: buffers are answered in their order (netif.h)', async () => {
      await setUp();
      for (const id of [5, 5, 65535, 0]) back.fill(back.put([id, 0, 0, hello.length]), hello);
      await back.turn();
      expect(received).to.deep.equal([hello, hello, hello, hello]);
      await expectLive();
      await finish();
    });

    for (const [what, responses] of [
      ['with an error', [[0, 0, 0, -1]]],
      ['that goes over the end of its buffer', [[0, 4000, 0, 97]]],
      [
        'with an error in a later slot',
        [
          [0, 0, flag.more, 100],
          [0, 0, 0, -2],
        ],
      ],
      ['that is too short', [[0, 0, 0, 13]]],
      ['without bytes', [[0, 0, 0, 0]]],
      [
        'of more than 65535 bytes',
        [...Array.from({ length: 18 }, () => [0, 0, flag.more, 4096] as const), [0, 0, 0, 1]],
      ],
      [
        'with segments without bytes',
        [
          [0, 0, flag.extra, 60],
          [1, 0, 1, 0],
        ],
      ],
      [
        'with segments of no type',
        [
          [0, 0, flag.extra, 60],
          [1, 100, 0, 0],
        ],
      ],
      [
        'with an extra that Xen does not know',
        [
          [0, 0, flag.extra, 60],
          [9, 0, 0, 0],
        ],
      ],
      [
        'with ten extras',
        [[0, 0, flag.extra, 60], ...Array.from({ length: 9 }, () => [0x104, 0, 0, 0] as const), [4, 0, 0, 0]],
      ],
    ] as readonly (readonly [string, readonly RxNumbers[]])[]) {
      it(`drops a packet ${what}, keeps its buffers, and goes on (XSA-376)`, async () => {
        await setUp();
        for (const response of responses) back.put(response);
        await back.turn();
        expect(received).to.deep.equal([]);
        expect(nic.statistics.errors).to.equal(1);
        expect(log.filter((line) => /it is dropped/.test(line))).to.have.length(1);
        await expectLive();
        await finish();
      });
    }

    for (const slots of [20, 21, 33, 64]) {
      it(`drops a packet of ${slots} slots and posts all of its buffers again (CVE-2026-99057, XSA-457)`, async () => {
        await setUp();
        for (let i = 0; i < slots; i++) back.put([0, 0, i < slots - 1 ? flag.more : 0, 10]);
        await back.turn();
        expect(received).to.deep.equal([]);
        expect(nic.statistics.errors).to.equal(1);
        await expectLive();
        await finish();
      });
    }

    it('ends when a packet does not end with the ring', async () => {
      await setUp();
      for (let i = 0; i < 256; i++) back.put([0, 0, flag.more, 10]);
      await back.turn();
      await expectFault(/more slots than its ring has/);
    });

    it('waits for the rest of a packet that is not all there', async () => {
      await setUp();
      const packet = packetOf({ to: me, from: other, payload: 300 });
      back.fill(back.put([0, 0, flag.more, 100]), packet.subarray(0, 100));
      await back.turn();
      expect(received).to.deep.equal([]);
      back.fill(back.put([0, 0, 0, packet.length - 100]), packet.subarray(100));
      await back.turn();
      expect(received).to.deep.equal([packet]);
      await finish();
    });

    it('hands out what came, not what the backend has written there since (XSA-155)', async () => {
      await setUp();
      let seen: Uint8Array | undefined;
      nic.frames$.subscribe((batch) => {
        back.fill(0, new Uint8Array(60).fill(0xee));
        seen = batch.at(0).copy();
      });
      back.fill(back.put([0, 0, 0, hello.length]), hello);
      await back.turn();
      expect(seen).to.deep.equal(hello);
      await finish();
    });

    for (const [what, rx, tx] of [
      ['received packets', 257, 0],
      ['sent packets', 0, 1],
    ] as const) {
      it(`ends when more ${what} are answered than there were (XSA-376)`, async () => {
        await setUp();
        await back.turn(rx, tx);
        await expectFault(/rsp_prod/);
      });
    }

    it('ends when a packet is answered that it has not sent, or twice', async () => {
      await setUp();
      nic.send(hello, hello);
      await rig().machine.idle();
      const { id } = back.request(0);
      back.putTx(id, 0);
      back.putTx(id, 0);
      await back.turn();
      await expectFault(/the id of a response/);
    });

    it('ends when an extra is answered that it has not sent', async () => {
      await setUp();
      nic.send(hello);
      await rig().machine.idle();
      back.putTx(0, 1);
      await back.turn();
      await expectFault(/a response to an extra/);
    });

    it('sends as much as there is room for, and tells who waits for more that the link has ended', async () => {
      await setUp();
      const frames = Array.from({ length: 300 }, () => hello);
      expect(nic.send(...frames)).to.equal(256);
      const waiting = nic.sendAll(frames).then(
        () => 'sent',
        (error: unknown) => error,
      );
      await rig().machine.idle();
      await finish();
      expect(await waiting).to.be.instanceOf(Disconnected);
      expect(() => nic.send(hello)).to.throw(Disconnected);
      expect(await nic.sendAll([hello]).catch((error: unknown) => error)).to.be.instanceOf(Disconnected);
    });

    it('counts what the backend refuses, and has its pages back, whatever the order of the answers', async () => {
      await setUp();
      const packet = packetOf({ to: other, from: me, payload: 9000, blank: true });
      for (let round = 0; round < 60; round++) {
        expect(nic.send({ bytes: packet, checksum: 2, gso: { type: 1, size: 1000 } }), `round ${round}`).to.equal(1);
        await rig().machine.idle();
        const ids = [0, 2, 3].map((slot) => back.request(round * 4 + slot).id);
        for (const id of ids.reverse()) back.putTx(id, -1);
        back.putTx(0, 1);
        await back.turn();
      }
      expect(nic.statistics.refused).to.equal(180);
      await finish();
    });

    it('shares nothing but zeroes: rings and buffers (XSA-403)', async () => {
      await setUp();
      expect(back.rx.words.slice(4, 16).every((word) => word === 0)).to.equal(true);
      expect(back.tx.words.slice(4).every((word) => word === 0)).to.equal(true);
      const grants = back.domain.get(GrantTable);
      const page = grants.alloc();
      for (const slot of [0, 100, 255]) {
        page.bytes.fill(1);
        grants.copyFrom(rig().guest.domid, [{ ref: back.buffer(slot), offset: 0, page, pageOffset: 0, length: 4096 }]);
        expect(page.bytes.every((byte) => byte === 0)).to.equal(true);
      }
      page[Symbol.dispose]();
      await finish();
    });

    it('lets the backend only read what it sends', async () => {
      await setUp();
      nic.send(hello);
      await rig().machine.idle();
      const grants = back.domain.get(GrantTable);
      const { gref } = back.request(0);
      expect(() => grants.map(rig().guest.domid, [gref as GrantRef])).to.throw(GrantError);
      await finish();
    });

    it('parks a page that the backend still has mapped when all is over, and reuses it only when it lets go (XSA-396)', async () => {
      await setUp();
      const grants = back.domain.get(GrantTable);
      const mapped = grants.map(rig().guest.domid, [back.buffer(3)]);
      await finish();
      const mine = rig().guest.get(GrantTable);
      const pages = Array.from({ length: 600 }, () => mine.alloc());
      mapped.bytes.fill(0x55);
      expect(pages.every(({ bytes }) => bytes.every((byte) => byte === 0))).to.equal(true);
      for (const page of pages) page[Symbol.dispose]();
      mapped[Symbol.dispose]();
    });

    it('loses no event among 1000 without anything behind them (XSA-391)', async () => {
      await setUp();
      for (let i = 0; i < 1000; i++) back.notify();
      await rig().machine.idle();
      const came = firstValueFrom(nic.frames$);
      back.fill(back.put([0, 0, 0, hello.length]), hello);
      Atomics.store(back.rx.words, 2, 1);
      back.notify();
      await came;
      expect(received).to.deep.equal([hello]);
      await finish();
    });

    it('hands out whole frames or ends, whatever is answered, and gives all back', async function () {
      this.timeout(120_000);
      const flags = fc.integer({ min: 0, max: 15 });
      const small = fc.integer({ min: -3, max: 2000 });
      const response = fc.tuple(fc.nat({ max: 65535 }), fc.oneof(fc.constant(0), fc.nat({ max: 5000 })), flags, small);
      let guests = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(response, { maxLength: 60 }), fc.nat({ max: 3 }), async (responses, more) => {
          const { machine } = rig();
          const guest = await machine.guest(`lied-to-${guests}`);
          ({ back, nic } = await RawBack.connect(machine, guest, {}, `netback-${guests++}`));
          let wrong = 0;
          nic.frames$.subscribe((batch) => {
            for (const frame of batch) if (frame.length < 14 || frame.length > 65535) wrong++;
          });
          for (const one of responses) back.put(one);
          await back.turn(responses.length + (more === 3 ? 300 : 0));
          expect(wrong).to.equal(0);
          const closed = nic.close();
          await back.closes();
          await closed;
          for (const { domid } of [guest, back.domain]) await machine.toolstack.destroy(domid);
        }),
        { numRuns: rig().platform === 'local' ? 60 : 5 },
      );
    });

    it('follows the carrier that the backend announces', async () => {
      await setUp();
      const seen: boolean[] = [];
      nic.carrier$.subscribe((up) => seen.push(up));
      await back.becomes('4', { carrier: '0' });
      await rig().machine.idle();
      await back.becomes('4', { carrier: '1' });
      await rig().machine.idle();
      expect(seen).to.deep.equal([true, false, true]);
      await finish();
    });
  });
});
