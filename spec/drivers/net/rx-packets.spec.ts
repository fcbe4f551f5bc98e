import { expect } from 'chai';
import fc from 'fast-check';
import { onEveryPlatform } from '../../../contract/index.js';
import { NetFrontend } from '../../../drivers/net/frontend.js';
import type { Nic } from '../../../drivers/net/nic.js';
import { vif } from '../../../drivers/net/protocol.js';
import { frameOf } from './frames.js';
import { packetOf } from './packets.js';
import { RawBack } from './raw-back.js';

const flag = { dataValidated: 1, csumBlank: 2, more: 4, extra: 8 };
const me = Uint8Array.of(0, 0x16, 0x3e, 0, 0, 1);
const other = Uint8Array.of(0, 0x16, 0x3e, 0, 0, 2);

/** The eight bytes of a netif_extra_info as the four numbers of a response. */
const extra = (type: number, more: boolean, ...rest: readonly number[]): readonly [number, number, number, number] => {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = rest;
  const signed = ((f << 8) | e) << 16;
  return [type | ((more ? 1 : 0) << 8), a | (b << 8), c | (d << 8), signed >> 16];
};
const gsoExtra = (more: boolean, size: number, type: number) => extra(1, more, size & 255, size >> 8, type, 0, 0, 0);

onEveryPlatform(vif, NetFrontend, import.meta.resolve('../../../drivers/net/module.js'), (_connect, rig) => {
  let back: RawBack;
  let nic: Nic;
  let received: { readonly bytes: Uint8Array; readonly checksum: number; readonly gso: readonly number[] }[];

  const setUp = async (): Promise<void> => {
    const { machine, guest } = rig();
    ({ back, nic } = await RawBack.connect(machine, guest));
    received = [];
    nic.frames$.subscribe((batch) => {
      for (const frame of batch)
        received.push({ bytes: frame.copy(), checksum: frame.checksum, gso: [frame.gsoType, frame.gsoSize] });
    });
  };
  const finish = async (): Promise<void> => {
    const closed = nic.close();
    await back.closes();
    await closed;
  };

  /** Puts a packet on the ring in slots of these lengths, at these offsets in their buffers, with extras after the first. */
  const put = (
    bytes: Uint8Array,
    lengths: readonly number[],
    {
      flags = 0,
      extras = [],
      offsets = [],
    }: {
      readonly flags?: number;
      readonly extras?: readonly (readonly [number, number, number, number])[];
      readonly offsets?: readonly number[];
    } = {},
  ): void => {
    let at = 0;
    for (const [i, size] of lengths.entries()) {
      const more = i < lengths.length - 1 ? flag.more : 0;
      const first = i === 0 ? flags | (extras.length > 0 ? flag.extra : 0) : 0;
      const offset = offsets[i] ?? 0;
      const slot = back.put([0, offset, more | first, size]);
      if (size > 0) back.fill(slot, bytes.subarray(at, at + size), offset);
      if (i === 0) for (const one of extras) back.put(one);
      at += size;
    }
  };
  const expectAllPosted = (): void => {
    expect(back.posted - Atomics.load(back.rx.words, 2)).to.equal(256);
  };

  describe('what a frontend receives', () => {
    it('arrives whatever its headers are split at, at every byte (XSA-423)', async () => {
      await setUp();
      const packet = packetOf({ to: me, from: other, payload: 30 });
      for (let split = 0; split <= packet.length; split++) {
        put(packet, [split, packet.length - split]);
        await back.turn();
        expect(received.at(-1)?.bytes, `split at ${split}`).to.deep.equal(packet);
      }
      expect(received).to.have.length(packet.length + 1);
      expectAllPosted();
      await finish();
    });

    it('of 1 to 19 slots arrives; of 20 and 21 it is dropped, and all buffers are posted again (netfront: xennet_get_responses)', async () => {
      await setUp();
      for (let slots = 1; slots <= 21; slots++) {
        const bytes = frameOf({ to: me, from: other, length: 14 + slots * 10, fill: slots });
        put(bytes, [24, ...Array.from({ length: slots - 1 }, () => 10)]);
        await back.turn();
        expect(received.length, `${slots} slots`).to.equal(Math.min(slots, 19));
        if (slots <= 19) expect(received.at(-1)?.bytes).to.deep.equal(bytes);
        expectAllPosted();
      }
      expect(nic.statistics.errors).to.equal(2);
      await finish();
    });

    it('of slots that have a byte or none arrives, wherever those without are (XSA-432, XSA-448)', async () => {
      await setUp();
      const bytes = frameOf({ to: me, from: other, length: 18, fill: 1 });
      put(
        bytes,
        Array.from({ length: 18 }, () => 1),
      );
      put(bytes, [0, 18]);
      put(bytes, [18, ...Array.from({ length: 18 }, () => 0)]);
      put(bytes, [9, 0, 0, 9, 0]);
      await back.turn();
      expect(received.map((one) => one.bytes)).to.deep.equal([bytes, bytes, bytes, bytes]);
      expectAllPosted();
      await finish();
    });

    it('may carry every known extra, in any order: segments, groups, a hash', async () => {
      await setUp();
      const packet = packetOf({ to: me, from: other, payload: 6000, blank: true });
      const kinds = [
        (more: boolean) => gsoExtra(more, 1448, 1),
        (more: boolean) => extra(2, more, 1, 0, 0x5e, 0, 0, 1),
        (more: boolean) => extra(3, more, 1, 0, 0x5e, 0, 0, 1),
        (more: boolean) => extra(4, more, 1, 1, 0xff, 0xff, 0xff, 0xff),
      ];
      for (let turn = 0; turn < kinds.length; turn++) {
        const order = [...kinds.slice(turn), ...kinds.slice(0, turn)];
        const extras = order.map((kind, i) => kind(i < order.length - 1));
        put(packet, [54, 4000, 2000], { flags: flag.csumBlank | flag.dataValidated, extras });
        await back.turn();
        expect(received.at(-1)).to.deep.equal({ bytes: packet, checksum: 2, gso: [1, 1448] });
        expectAllPosted();
      }
      await finish();
    });

    it('has its extras after its first slot alone: a later one that speaks of some is data as any other', async () => {
      await setUp();
      const bytes = frameOf({ to: me, from: other, length: 90, fill: 1 });
      for (const [i, flags] of [flag.more, flag.more | flag.extra, flag.extra].entries())
        back.fill(back.put([0, 0, flags, 30]), bytes.subarray(i * 30, i * 30 + 30));
      await back.turn();
      expect(received.map((one) => one.bytes)).to.deep.equal([bytes]);
      await finish();
    });

    it('is dropped when its data comes before its extras: what it says is an extra is none', async () => {
      await setUp();
      back.put([0, 0, flag.more | flag.extra, 30]);
      back.put([0x40, 0, 0, 30]);
      back.put(gsoExtra(false, 1448, 1));
      await back.turn();
      expect(received).to.deep.equal([]);
      expect(nic.statistics.errors).to.be.above(0);
      await finish();
    });

    it('says what is known of its checksum: nothing, that it is right, or that it is blank (netif.h)', async () => {
      await setUp();
      const packet = packetOf({ to: me, from: other, payload: 100, blank: true });
      for (const flags of [0, flag.dataValidated, flag.csumBlank, flag.csumBlank | flag.dataValidated])
        put(packet, [packet.length], { flags });
      await back.turn();
      expect(received.map((one) => one.checksum)).to.deep.equal([0, 1, 2, 2]);
      await finish();
    });

    for (const version of [4, 6] as const) {
      it(`over IPv${version} has a blank checksum where it is large, though its backend does not say so (netfront: checksum_setup)`, async () => {
        await setUp();
        const blank = packetOf({ to: me, from: other, version, payload: 3000, blank: true });
        const whole = packetOf({ to: me, from: other, version, payload: 3000 });
        const extras = [gsoExtra(false, 1000, version === 4 ? 1 : 2)];
        put(whole, [whole.length], { flags: flag.dataValidated, extras });
        put(frameOf({ to: me, from: other, length: 200, fill: 1 }), [200], { flags: flag.dataValidated, extras });
        await back.turn();
        expect(received).to.deep.equal([{ bytes: blank, checksum: 2, gso: [version === 4 ? 1 : 2, 1000] }]);
        expect(nic.statistics.errors).to.equal(1);
        expectAllPosted();
        await finish();
      });
    }

    it('arrives whole and in its order, however it is laid into its buffers and however many come at once', async function () {
      this.timeout(120_000);
      await setUp();
      const split = fc.record({
        lengths: fc.array(fc.oneof(fc.constant(0), fc.nat({ max: 40 }), fc.nat({ max: 3000 })), {
          minLength: 1,
          maxLength: 18,
        }),
        offset: fc.nat({ max: 1000 }),
        hashed: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(split, { minLength: 1, maxLength: 8 }), async (packets) => {
          received.length = 0;
          const sent = packets.map(({ lengths, offset, hashed }, i) => {
            const all = [20, ...lengths];
            const bytes = frameOf({ to: me, from: other, length: all.reduce((a, b) => a + b, 0), fill: i });
            put(bytes, all, {
              offsets: all.map((_, slot) => (offset * (slot + 1)) % 1090),
              extras: hashed ? [extra(4, false, 1, 1, i, 0, 0, 0)] : [],
            });
            return bytes;
          });
          await back.turn();
          expect(received.map((one) => one.bytes)).to.deep.equal(sent);
          expectAllPosted();
        }),
        { numRuns: rig().platform === 'local' ? 100 : 20 },
      );
      await finish();
    });

    it('comes into buffers of which each is posted once at a time (XSA-405)', async () => {
      await setUp();
      const hello = frameOf({ to: me, from: other, length: 60, fill: 1 });
      for (let round = 0; round < 20; round++) {
        const refs = Array.from({ length: 256 }, (_, i) => back.buffer(i));
        expect(new Set(refs).size, `round ${round}`).to.equal(256);
        // Good ones, bad ones, several slots, none whole.
        for (let i = 0; i < 13; i++) put(hello, i % 3 === 0 ? [60] : [30, 20, 10]);
        back.put([0, 5000, 0, 60]);
        put(
          hello,
          Array.from({ length: 20 }, () => 1),
        );
        await back.turn();
        expectAllPosted();
      }
      await finish();
    });
  });

  describe('a frontend', () => {
    it('refuses a backend that would flip its pages (netfront: feature-rx-copy)', async () => {
      const { machine, guest } = rig();
      const { back: flipping, nic: refused } = await RawBack.offer(machine, guest, { 'feature-rx-copy': '0' });
      await flipping.frontendIs('5', '6');
      expect(String(await refused.catch((error: unknown) => error))).to.match(/feature-rx-copy/);
      await flipping.closes();
    });

    it('follows the carrier by its key alone, whether or not the backend says its state anew (netif.h)', async () => {
      await setUp();
      const seen: boolean[] = [];
      const following = nic.carrier$.subscribe({ next: (up) => seen.push(up), complete: () => seen.push(false) });
      await rig().machine.idle();
      for (const text of ['0', '0', '1']) {
        await back.store.write(`${back.path}/carrier`, text);
        await rig().machine.idle();
      }
      await back.becomes('4', { carrier: '0' });
      await rig().machine.idle();
      await back.store.rm(`${back.path}/carrier`);
      await rig().machine.idle();
      expect(seen).to.deep.equal([true, false, true, false, true]);
      await finish();
      expect(seen).to.have.length(6);
      expect(following.closed).to.equal(true);
    });

    it('writes nothing of its own behind what it says on its rings: padding is zero (XSA-216)', async () => {
      await setUp();
      const packet = packetOf({ to: other, from: me, payload: 5000, blank: true });
      nic.send({ bytes: packet, checksum: 2, gso: { type: 1, size: 1448 } });
      await rig().machine.idle();
      const slots = Array.from({ length: 4 }, (_, i) => [...back.tx.words.slice(16 + i * 3, 19 + i * 3)]);
      // netif_extra_info_gso has a byte of padding, and the slot four bytes behind it.
      expect(slots[1]).to.deep.equal([1 | (1448 << 16), 1, 0]);
      expect(back.tx.words.slice(16 + 9).every((word) => word === 0)).to.equal(true);
      for (let i = 0; i < 256; i++) expect((back.rx.words[16 + i * 2] as number) >>> 16).to.equal(0);
      await finish();
    });
  });
});
