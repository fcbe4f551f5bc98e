// Long, since a packet can be wrong in many ways, and each has its test.
import { expect } from 'chai';
import fc from 'fast-check';
import type { Domid, SharedPage } from '../../../core/index.js';
import { verifyChecksum } from '../../../drivers/net/checksum.js';
import { Headers } from '../../../drivers/net/headers.js';
import { frameOf } from './frames.js';
import { onLans, type Station } from './lan.js';
import { packetOf } from './packets.js';
import type { RawVif } from './raw-vif.js';

const [okay, error, NULL] = [0, -1, 1];
const flag = { csumBlank: 1, dataValidated: 2, more: 4, extra: 8 };
const source = Uint8Array.of(0, 0x16, 0x3e, 0x66, 0x66, 0x66);

onLans('what a frontend sends', ({ backend, station, raw, rig, log }) => {
  let bridge: Domid;
  let seen: Station;
  let vif: RawVif;
  let pages: SharedPage;
  /** What ends a vif is checked against this one, which must go on. */
  const setUp = async (): Promise<void> => {
    bridge = await backend();
    seen = await station(bridge, { mtu: 65000 });
    vif = await raw(bridge, { mtu: 65000 });
    pages = vif.share1(24);
  };

  /** Puts a frame on the ring in slots of these lengths, each from a page of its own. */
  const putSplit = (
    bytes: Uint8Array,
    lengths: readonly number[],
    flags = 0,
    extras: readonly (readonly number[])[] = [],
  ): void => {
    let at = 0;
    for (const [i, size] of lengths.entries()) {
      const more = i < lengths.length - 1 ? flag.more : 0;
      pages.bytes.set(bytes.subarray(at, at + size), i * 4096 + 8);
      const first = i === 0 ? flags | (extras.length > 0 ? flag.extra : 0) : 0;
      vif.put({ gref: pages.refs[i] as number, offset: 8, flags: more | first, size: i === 0 ? bytes.length : size });
      if (i === 0) for (const extra of extras) vif.putExtra(extra);
      at += size;
    }
  };

  const expectLive = async (): Promise<void> => {
    const before = seen.received.length;
    const hello = frameOf({ to: seen.mac, from: source, length: 60, fill: 3 });
    putSplit(hello, [60]);
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([okay]);
    await seen.came(before + 1);
    expect(seen.received.at(-1)).to.deep.equal(hello);
  };

  /** The vif has ended, and said why; the other goes on. */
  const expectEnded = async (why: RegExp): Promise<void> => {
    await vif.turn();
    await vif.backendIs('5', '6');
    expect(await vif.why()).to.match(why);
    const other = await station(bridge);
    const hello = frameOf({ to: seen.mac, from: other.mac, length: 60, fill: 4 });
    const before = seen.received.length;
    other.nic.send(hello);
    await seen.came(before + 1);
    await other.nic.close();
  };

  const finish = async (): Promise<void> => {
    await vif.close();
    await seen.nic.close();
  };

  it('arrives whatever its headers are split at, from the 14 bytes of the first slot on that netback asks for (XSA-423)', async () => {
    await setUp();
    const packet = packetOf({ to: seen.mac, from: source, payload: 80 });
    let arrived = 0;
    for (let split = 1; split < packet.length; split++) {
      putSplit(packet, [split, packet.length - split]);
      await vif.turn();
      expect(vif.statuses(), `split at ${split}`).to.deep.equal(split < 14 ? [error, error] : [okay, okay]);
      if (split >= 14) {
        await seen.came(++arrived);
        expect(seen.received.at(-1), `split at ${split}`).to.deep.equal(packet);
      }
    }
    expect(seen.received).to.have.length(packet.length - 14);
    await finish();
  });

  it('of 1 to 19 slots arrives; of 20 and 21 it is dropped, each slot answered (netback: XEN_NETBK_LEGACY_SLOTS_MAX)', async () => {
    await setUp();
    let arrived = 0;
    for (let slots = 1; slots <= 21; slots++) {
      const bytes = frameOf({ to: seen.mac, from: source, length: 14 + slots * 10, fill: slots });
      putSplit(bytes, [14 + 10, ...Array.from({ length: slots - 1 }, () => 10)]);
      await vif.turn();
      const status = slots <= 19 ? okay : error;
      expect(vif.statuses(), `${slots} slots`).to.deep.equal(Array.from({ length: slots }, () => status));
      if (slots > 19) continue;
      await seen.came(++arrived);
      expect(seen.received.at(-1)).to.deep.equal(bytes);
    }
    expect(log.filter((line) => /too-many-slots/.test(line))).to.have.length(1);
    await expectLive();
    await finish();
  });

  it('of 22 slots ends its vif, and no other (netback: fatal_skb_slots)', async () => {
    await setUp();
    const bytes = frameOf({ to: seen.mac, from: source, length: 14 + 22, fill: 1 });
    putSplit(bytes, [15, ...Array.from({ length: 21 }, () => 1)]);
    await expectEnded(/number of slots of a tx packet.* 22/);
    await finish();
  });

  it('of 18 slots that have a byte or none each arrives, or is too short, and nothing is read beyond (XSA-432, XSA-448)', async () => {
    await setUp();
    const bytes = frameOf({ to: seen.mac, from: source, length: 14, fill: 1 });
    putSplit(bytes, [14, ...Array.from({ length: 17 }, () => 0)]);
    await vif.turn();
    expect(vif.statuses()).to.deep.equal(Array.from({ length: 18 }, () => okay));
    await seen.came(1);
    expect(seen.received).to.deep.equal([bytes]);
    putSplit(
      frameOf({ to: seen.mac, from: source, length: 18, fill: 1 }),
      Array.from({ length: 18 }, () => 1),
    );
    await vif.turn();
    expect(vif.statuses()).to.deep.equal(Array.from({ length: 18 }, () => error));
    await expectLive();
    await finish();
  });

  it('may have slots without bytes whose page is not there: nothing is copied of them (XSA-448)', async () => {
    await setUp();
    const bytes = frameOf({ to: seen.mac, from: source, length: 60, fill: 1 });
    pages.bytes.set(bytes, 0);
    vif.put({ gref: pages.refs[0] as number, flags: flag.more, size: 60 });
    vif.put({ gref: 0x7fffffff, flags: flag.more, size: 0 });
    vif.put({ gref: 0, offset: 4096, size: 0 });
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([okay, okay, okay]);
    await seen.came(1);
    await finish();
  });

  it('that is too short, or whose slots add up to more than it, is refused, and the vif goes on', async () => {
    await setUp();
    const page = pages.refs[0] as number;
    for (const size of [0, 1, 13]) vif.put({ gref: page, size });
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([error, error, error]);
    vif.put({ gref: page, flags: flag.more, size: 100 });
    vif.put({ gref: page, flags: flag.more, size: 60 });
    vif.put({ gref: page, size: 60 });
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([error, error, error]);
    expect(log.filter((line) => /drops a frame/.test(line))).to.have.length(2);
    await expectLive();
    await finish();
  });

  for (const [what, put] of [
    ['its only slot', (page: number) => vif.put({ gref: page, offset: 4000, size: 97 })],
    [
      'a later slot',
      (page: number) => {
        vif.put({ gref: page, flags: flag.more, size: 200 });
        vif.put({ gref: page, offset: 4090, size: 7 });
      },
    ],
    [
      'the first slot of several',
      (page: number) => {
        vif.put({ gref: page, offset: 4050, flags: flag.more, size: 200 });
        vif.put({ gref: page, size: 100 });
      },
    ],
  ] as const) {
    it(`ends its vif when ${what} goes over its page's end`, async () => {
      await setUp();
      put(pages.refs[0] as number);
      await expectEnded(/end of a tx slot in its page/);
      await finish();
    });
  }

  it('fails alone when its page cannot be copied, at any place among others of its batch (XSA-361, XSA-365, XSA-367)', async () => {
    await setUp();
    const good = pages.refs[0] as number;
    pages.bytes.set(frameOf({ to: seen.mac, from: source, length: 60, fill: 5 }), 0);
    const count = 5;
    for (let bad = 0; bad < count; bad++) {
      for (let i = 0; i < count; i++) vif.put({ gref: i === bad ? 0x00ffffff : good, size: 60 });
      await vif.turn();
      expect(vif.statuses()).to.deep.equal(Array.from({ length: count }, (_, i) => (i === bad ? error : okay)));
    }
    await seen.came(count * (count - 1));
    expect(seen.received).to.have.length(count * (count - 1));
    await finish();
  });

  it('fails as a whole when one of its slots cannot be copied, whichever that is', async () => {
    await setUp();
    const good = pages.refs[0] as number;
    for (let bad = 0; bad < 4; bad++) {
      for (let i = 0; i < 4; i++)
        vif.put({ gref: i === bad ? 0x00ffffff : good, flags: i < 3 ? flag.more : 0, size: i === 0 ? 100 : 20 });
      await vif.turn();
      expect(vif.statuses()).to.deep.equal([error, error, error, error]);
    }
    expect(seen.received).to.have.length(0);
    await expectLive();
    await finish();
  });

  it('is answered in its order, each slot by its id, extras by NULL, and nothing of the backend lies behind (XSA-216)', async () => {
    await setUp();
    const packet = packetOf({ to: seen.mac, from: source, payload: 5000, blank: true });
    putSplit(packet, [54, 3000, 2000], flag.csumBlank | flag.dataValidated, [[1, 0, 0xb4, 5, 1, 0, 0, 0]]);
    putSplit(frameOf({ to: seen.mac, from: source, length: 60, fill: 1 }), [60]);
    const written = vif.tx.words.slice(16, 16 + 15);
    await vif.turn();
    // A netif_tx_response has four bytes and no holes; behind it is what the frontend itself wrote.
    const behind = (slot: number): readonly number[] => [...written.slice(slot * 3 + 1, slot * 3 + 3)];
    expect(vif.answers()).to.deep.equal([
      { id: 0, status: okay, rest: behind(0) },
      { id: 0, status: NULL, rest: behind(1) },
      { id: 2, status: okay, rest: behind(2) },
      { id: 3, status: okay, rest: behind(3) },
      { id: 4, status: okay, rest: behind(4) },
    ]);
    await finish();
  });

  it('may carry all known extras at once: segments, groups to join and leave, a hash', async () => {
    await setUp();
    const hash = [4, 1, 1, 1, 1, 2, 3, 4];
    const packet = packetOf({ to: seen.mac, from: source, payload: 2000, blank: true });
    putSplit(packet, [54, 2000], flag.csumBlank, [hash, [1, 0, 0xe8, 3, 1, 0, 0, 0]]);
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([okay, NULL, NULL, okay]);
    await seen.came(1);
    for (const type of [2, 3]) {
      vif.put({ gref: 0, flags: flag.extra, size: 0 });
      vif.putExtra([type, 0, 1, 0, 0x5e, 0, 0, 1]);
      await vif.turn();
      expect(vif.statuses()).to.deep.equal([okay, NULL]);
    }
    await finish();
  });

  for (const [what, extra, why] of [
    ['of type 0', [0, 0, 0, 0, 0, 0, 0, 0], /type of an extra.* 0/],
    ['of type 5, which Xen does not know', [5, 0, 0, 0, 0, 0, 0, 0], /type of an extra.* 5/],
    ['of type 255', [255, 0, 0, 0, 0, 0, 0, 0], /type of an extra.* 255/],
    ['of segments without bytes', [1, 0, 0, 0, 1, 0, 0, 0], /size of a GSO segment/],
    ['of segments of no type', [1, 0, 100, 0, 0, 0, 0, 0], /type of a GSO packet/],
    ['of segments of type 3', [1, 0, 100, 0, 3, 0, 0, 0], /type of a GSO packet/],
  ] as const) {
    it(`ends its vif when it has an extra ${what}`, async () => {
      await setUp();
      putSplit(packetOf({ to: seen.mac, from: source, payload: 100 }), [154], flag.csumBlank, [extra]);
      await expectEnded(why);
      await finish();
    });
  }

  it('has its extras after its first slot alone: a later one that speaks of some is data as any other', async () => {
    await setUp();
    const bytes = frameOf({ to: seen.mac, from: source, length: 90, fill: 1 });
    pages.bytes.set(bytes.subarray(0, 30), 0);
    pages.bytes.set(bytes.subarray(30, 60), 4096);
    pages.bytes.set(bytes.subarray(60), 8192);
    vif.put({ gref: pages.refs[0] as number, flags: flag.more, size: 90 });
    vif.put({ gref: pages.refs[1] as number, flags: flag.more | flag.extra, size: 30 });
    vif.put({ gref: pages.refs[2] as number, flags: flag.extra, size: 30 });
    await vif.turn();
    expect(vif.statuses()).to.deep.equal([okay, okay, okay]);
    await seen.came(1);
    expect(seen.received).to.deep.equal([bytes]);
    await finish();
  });

  it('ends its vif when its data comes before its extras: what it says is an extra is none', async () => {
    await setUp();
    vif.put({ gref: pages.refs[0] as number, flags: flag.more | flag.extra, size: 90 });
    vif.put({ gref: 0x40, size: 30 });
    vif.putExtra([1, 0, 100, 0, 1, 0, 0, 0]);
    await expectEnded(/type of an extra.* 64/);
    await finish();
  });

  it('ends its vif when it has nine extras, more than there are kinds', async () => {
    await setUp();
    putSplit(
      frameOf({ to: seen.mac, from: source, length: 60, fill: 1 }),
      [60],
      0,
      Array.from({ length: 9 }, (_, i) => [4, i < 8 ? 1 : 0, 0, 0, 0, 0, 0, 0]),
    );
    await expectEnded(/number of extras of a tx packet.* 9/);
    await finish();
  });

  it('ends its vif when its extras go on for ever', async () => {
    await setUp();
    vif.put({ gref: pages.refs[0] as number, flags: flag.extra, size: 60 });
    for (let i = 0; i < 255; i++) vif.putExtra([4, 1, 0, 0, 0, 0, 0, 0]);
    await expectEnded(/longer|more slots than its ring/);
    await finish();
  });

  for (const [cut, where] of [
    [1, 'before its extra'],
    [2, 'behind its extra'],
    [4, 'before its last slot'],
  ] as const) {
    it(`ends its vif when it is published in two parts, cut ${where}: netback waits for no rest`, async () => {
      await setUp();
      const packet = packetOf({ to: seen.mac, from: source, payload: 3000, blank: true });
      putSplit(packet, [54, 1000, 1000, 1000], flag.csumBlank, [[1, 0, 0xe8, 3, 1, 0, 0, 0]]);
      vif.push(vif.txProd - 5 + cut);
      await expectEndedWithout(new RegExp(`wants more slots than were published.* ${cut}`));
      expect(vif.answers()).to.deep.equal([]);
      expect(seen.received).to.deep.equal([]);
      await finish();
    });
  }

  it('more of it than the ring holds ends its vif: no index of the peer is believed (XSA-39)', async () => {
    await setUp();
    vif.push(257);
    await expectEndedWithout(/req_prod.* 257/);
    await finish();
  });

  const expectEndedWithout = async (why: RegExp): Promise<void> => {
    await rig().machine.idle();
    await vif.backendIs('5', '6');
    expect(await vif.why()).to.match(why);
  };

  it('whatever it is, ends its vif or is answered, and never disturbs another', async function () {
    this.timeout(120_000);
    bridge = await backend();
    const [a, b] = [await station(bridge), await station(bridge)];
    const slot = fc.record({
      page: fc.integer({ min: 0, max: 4 }),
      offset: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 5000 })),
      size: fc.oneof(fc.integer({ min: 14, max: 1500 }), fc.integer({ min: 0, max: 65535 })),
      flags: fc.integer({ min: 0, max: 15 }),
    });
    const extra = fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 8, maxLength: 8 });
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof({ weight: 4, arbitrary: slot }, extra), { maxLength: 40 }), async (slots) => {
        vif = await raw(bridge);
        const random = vif.share1(4);
        for (let i = 0; i < 4; i++)
          random.bytes.set(packetOf({ to: b.mac, from: source, payload: 200, blank: i % 2 === 0 }), i * 4096);
        for (const one of slots) {
          if ('size' in one) vif.put({ ...one, gref: random.refs[one.page] ?? 0x00ffff00 });
          else vif.putExtra(one);
        }
        await vif.turn();
        const hello = frameOf({ to: b.mac, from: a.mac, length: 60, fill: runs++ });
        a.nic.send(hello);
        await rig().machine.idle();
        expect(b.received.at(-1)).to.deep.equal(hello);
        if ((await vif.state()) === '4') expect(vif.answers().length).to.be.at.most(slots.length);
        else expect(await vif.why()).to.match(/^22 PeerFault/);
        await vif.close();
        const { toolstack } = rig().machine;
        for (const { domid, name } of await toolstack.domains())
          if (name.startsWith('raw')) await toolstack.destroy(domid);
      }),
      { numRuns: rig().platform === 'local' ? 60 : 5 },
    );
    await Promise.all([a, b].map(({ nic }) => nic.close()));
  });

  for (const version of [4, 6] as const) {
    it(`over IPv${version} has a blank checksum where it is large, though it does not say so (netback: checksum_setup)`, async () => {
      await setUp();
      const options = { to: seen.mac, from: source, version, payload: 3000 };
      const [whole, blank] = [packetOf(options), packetOf({ ...options, blank: true })];
      const states: (readonly [checksum: number, gso: number])[] = [];
      seen.nic.frames$.subscribe((batch) => {
        for (const frame of batch) states.push([frame.checksum, frame.gsoType]);
      });
      const type = version === 4 ? 1 : 2;
      const extras = [[1, 0, 0xe8, 3, type, 0, 0, 0]];
      for (const flags of [0, flag.dataValidated]) {
        putSplit(whole, [60, whole.length - 60], flags, extras);
        await vif.turn();
        expect(vif.statuses()).to.deep.equal([okay, NULL, okay]);
      }
      putSplit(frameOf({ to: seen.mac, from: source, length: 100, fill: 1 }), [100], 0, extras);
      await vif.turn();
      expect(vif.statuses()).to.deep.equal([okay, NULL]);
      await seen.came(2);
      expect(seen.received).to.deep.equal([blank, blank]);
      expect(states).to.deep.equal([
        [2, type],
        [2, type],
      ]);
      expect(log.filter((line) => /bad-checksum/.test(line))).to.have.length(1);
      await finish();
    });
  }

  it('is checksummed where its receiver wants that, and dropped when it is neither TCP nor UDP', async () => {
    await setUp();
    const plain = await station(bridge, { features: { checksum4: false, checksum6: false } });
    for (const version of [4, 6] as const) {
      for (const protocol of ['tcp', 'udp'] as const) {
        for (const payload of [0, 1, 999, 1000]) {
          const packet = packetOf({ to: plain.mac, from: source, version, protocol, payload, blank: true });
          const before = plain.received.length;
          putSplit(packet, [packet.length], flag.csumBlank | flag.dataValidated);
          await vif.turn();
          await plain.came(before + 1);
          const got = plain.received.at(-1) as Uint8Array;
          const headers = new Headers();
          expect(headers.parse(got, 0, got.length)).to.equal(true);
          expect(verifyChecksum(got, headers), `${protocol} over IPv${version}, ${payload} bytes`).to.equal(true);
        }
      }
    }
    putSplit(frameOf({ to: plain.mac, from: source, length: 60, fill: 1 }), [60], flag.csumBlank);
    await vif.turn();
    expect(vif.statuses().at(-1)).to.equal(okay);
    expect(log.some((line) => /bad-checksum/.test(line))).to.equal(true);
    await plain.nic.close();
    await finish();
  });
});
