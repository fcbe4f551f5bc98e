import { expect } from 'chai';
import { GrantTable } from '../../../core/index.js';
import { checksum, Frame } from '../../../drivers/net/frame.js';
import { gsoType } from '../../../drivers/net/wire.js';
import { frameOf } from './frames.js';
import { onLans } from './lan.js';
import { packetOf } from './packets.js';

onLans('guests on one bridge', ({ backend, station }) => {
  it('reach each other: the first frame is flooded, the answer goes to its port alone', async () => {
    const bridge = await backend();
    const [a, b, c] = [await station(bridge), await station(bridge), await station(bridge)];
    const hello = frameOf({ to: b.mac, from: a.mac, length: 60, fill: 1 });
    expect(a.nic.send(hello)).to.equal(1);
    await Promise.all([b.came(1), c.came(1)]);
    expect(b.received).to.deep.equal([hello]);
    expect(c.received).to.deep.equal([hello]);
    const answer = frameOf({ to: a.mac, from: b.mac, length: 1514, fill: 2 });
    b.nic.send(answer);
    await a.came(1);
    expect(a.received).to.deep.equal([answer]);
    expect(c.received).to.have.length(1);
    await Promise.all([a, b, c].map(({ nic }) => nic.close()));
  });

  it('get frames of every length whole, and in their order', async () => {
    const bridge = await backend();
    const [a, b] = [await station(bridge, { mtu: 65000 }), await station(bridge, { mtu: 65000 })];
    const lengths = [14, 15, 60, 255, 1514, 4095, 4096, 4097, 8191, 8192, 8193, 30000, 65000];
    const frames = lengths.map((length, i) => frameOf({ to: b.mac, from: a.mac, length, fill: i + 1 }));
    await a.nic.sendAll(frames);
    await b.came(frames.length);
    expect(b.received.map((frame) => frame.length)).to.deep.equal(lengths);
    expect(b.received).to.deep.equal(frames);
    await Promise.all([a, b].map(({ nic }) => nic.close()));
  });

  it('send frames from pages of their own, as they lie there, and no others’', async () => {
    const domid = await backend();
    const [a, b] = [await station(domid, { mtu: 65000 }), await station(domid, { mtu: 65000 })];
    const page = a.guest.get(GrantTable).alloc(3);
    const frame = new Frame(page);
    const sent = [60, 1514, 5000].map((length, i) => {
      const bytes = frameOf({ to: b.mac, from: a.mac, length, fill: i });
      page.bytes.set(bytes, i * 100);
      frame.set(i * 100, length, checksum.unknown, gsoType.none, 0);
      expect(a.nic.queue(0).transmitFrame(frame)).to.equal(true);
      return bytes;
    });
    a.nic.queue(0).push();
    await b.came(3);
    expect(b.received).to.deep.equal(sent);
    page[Symbol.dispose]();
    expect(() => a.nic.queue(0).transmitFrame(frame)).to.throw(TypeError);
    await Promise.all([a, b].map(({ nic }) => nic.close()));
  });

  it('take more frames than a ring has slots, batch after batch', async () => {
    const bridge = await backend();
    const [a, b] = [await station(bridge), await station(bridge)];
    const frames = Array.from({ length: 1000 }, (_, i) =>
      frameOf({ to: b.mac, from: a.mac, length: 100, fill: i & 255 }),
    );
    b.nic.send(frameOf({ to: a.mac, from: b.mac, length: 60, fill: 0 }));
    await a.came(1);
    for (let at = 0; at < frames.length; at += 100) {
      await a.nic.sendAll(frames.slice(at, at + 100));
      await b.came(at + 100);
    }
    expect(b.received).to.deep.equal(frames);
    await Promise.all([a, b].map(({ nic }) => nic.close()));
  });

  it('send more large packets than the ring has room for in segments, to a backend that takes none: each as there is room for all of it', async () => {
    const bridge = await backend({ 'feature-gso-tcpv4': false });
    const [a, b] = [await station(bridge, { mtu: 9000 }), await station(bridge, { mtu: 9000 })];
    b.nic.send(frameOf({ to: a.mac, from: b.mac, length: 60, fill: 0 }));
    await a.came(1);
    const large = (count: number, size: number) => {
      const bytes = packetOf({ to: b.mac, from: a.mac, payload: count * size, blank: true });
      return { bytes, checksum: checksum.blank, gso: { type: gsoType.tcpv4, size } };
    };
    const lengths: number[] = [];
    for (const [count, size] of [
      [40, 1000],
      [15, 4043],
      [8, 8000],
    ] as const) {
      for (let i = 0; i < 2; i++) {
        await a.nic.sendAll(Array.from({ length: 10 }, () => large(count, size)));
        lengths.push(...new Array<number>(10 * count).fill(54 + size));
        await b.came(lengths.length);
      }
    }
    expect(b.received.map(({ length }) => length)).to.deep.equal(lengths);
    expect(() => a.nic.send(large(600, 100))).to.throw(RangeError, '256 slots');
    await Promise.all([a, b].map(({ nic }) => nic.close()));
  });

  it('all get a broadcast as they take it: a checksum that is finished for one is not finished under the other’s', async () => {
    const bridge = await backend();
    const plain = { checksum4: false, checksum6: false };
    const [b, c, d] = [await station(bridge), await station(bridge, { features: plain }), await station(bridge)];
    const a = await station(bridge);
    const states: { readonly checksum: number; readonly bytes: Uint8Array }[] = [];
    for (const { nic } of [b, c, d])
      nic.frames$.subscribe((batch) => {
        for (const frame of batch) states.push({ checksum: frame.checksum, bytes: frame.copy() });
      });
    const to = new Uint8Array(6).fill(255);
    const blank = packetOf({ to, from: a.mac, protocol: 'udp', payload: 100, blank: true });
    a.nic.send({ bytes: blank, checksum: 2 });
    await Promise.all([b, c, d].map(({ came }) => came(1)));
    const whole = packetOf({ to, from: a.mac, protocol: 'udp', payload: 100 });
    expect(states).to.have.length(3);
    for (const { checksum, bytes } of states) expect(bytes).to.deep.equal(checksum === 2 ? blank : whole);
    expect(states.some(({ checksum }) => checksum === 1)).to.equal(true);
    await Promise.all([a, b, c, d].map(({ nic }) => nic.close()));
  });
});
