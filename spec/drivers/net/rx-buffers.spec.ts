import { expect } from 'chai';
import { firstValueFrom } from 'rxjs';
import { Clock, type Domid, type SharedPage } from '../../../core/index.js';
import { parseMac } from '../../../drivers/net/mac.js';
import type { OutgoingFrame } from '../../../drivers/net/nic.js';
import { frameOf } from './frames.js';
import { onLans, type Station } from './lan.js';
import { packetOf } from './packets.js';
import type { RawVif, RawVifOptions } from './raw-vif.js';

const flag = { dataValidated: 1, csumBlank: 2, more: 4, extra: 8 };
const address = '00:16:3e:66:66:66';
const mac = parseMac(address);

onLans('what a frontend is sent', ({ backend, station, raw, rig, log }) => {
  let bridge: Domid;
  let sender: Station;
  let vif: RawVif;
  let pages: SharedPage;
  const setUp = async (said: RawVifOptions['said'] = {}): Promise<void> => {
    bridge = await backend();
    sender = await station(bridge, { mtu: 65000 });
    vif = await raw(bridge, { mtu: 65000, said, mac: address });
    pages = vif.share1(256);
    // The bridge learns where it is.
    const hello = vif.share1();
    hello.bytes.set(frameOf({ to: sender.mac, from: mac, length: 60, fill: 0 }));
    vif.put({ gref: hello.ref, size: 60 });
    await vif.turn();
    vif.answers();
  };
  const post = (count: number, from = 0): void => {
    for (let i = 0; i < count; i++) vif.post(pages.refs[(from + i) % 256] as number, 1000 + from + i);
  };
  const send = async (...frames: readonly OutgoingFrame[]): Promise<void> => {
    expect(sender.nic.send(...frames)).to.equal(frames.length);
    await rig().machine.idle();
  };
  const finish = async (): Promise<void> => {
    await vif.close();
    await sender.nic.close();
  };
  const small = (fill: number, length = 60): Uint8Array => frameOf({ to: mac, from: sender.mac, length, fill });
  const pass = async (ms: number): Promise<void> => {
    await firstValueFrom(rig().machine.dom0.get(Clock).timer$(ms));
    await rig().machine.idle();
  };
  /** What needs minutes is for the simulated clock alone. */
  const whereTimeIsSimulated = (title: string, body: () => Promise<void>): void => {
    it(`${title} (skipped on threads: its clock is the host's)`, async function () {
      if (rig().platform === 'local') await body();
      else this.skip();
    });
  };

  it('comes in the order of the posted buffers, each under its own id, whatever ids those have', async () => {
    await setUp();
    const ids = [7, 7, 65535, 0, 300];
    for (const [i, id] of ids.entries()) vif.post(pages.refs[i] as number, id);
    await vif.turn();
    await send(...ids.map((_, i) => small(i)));
    const arrivals = vif.arrivals();
    expect(arrivals.map(({ id }) => id)).to.deep.equal(ids);
    expect(arrivals.map(({ status }) => status)).to.deep.equal(ids.map(() => 60));
    for (const i of ids.keys()) expect(pages.bytes.slice(i * 4096, i * 4096 + 60)).to.deep.equal(small(i));
    await finish();
  });

  it('takes a slot for each page of it, with more data to come on all but the last, and its segments in an extra after the first', async () => {
    await setUp();
    post(10);
    await vif.turn();
    const packet = packetOf({ to: mac, from: sender.mac, payload: 9000, blank: true });
    await send({ bytes: packet, checksum: 2, gso: { type: 1, size: 1448 } });
    const arrivals = vif.arrivals();
    expect(arrivals).to.have.length(4);
    const [first, extra, second, third] = arrivals;
    expect(first).to.include({ id: 1000, offset: 0, status: 4096 });
    expect(first?.flags).to.equal(flag.dataValidated | flag.csumBlank | flag.more | flag.extra);
    // netif_extra_info: type 1, no more, size 1448, TCPv4.
    expect(extra?.words).to.deep.equal([1 | (1448 << 16), 1]);
    expect(second).to.include({ id: 1002, status: 4096, flags: flag.more });
    expect(third).to.include({ id: 1003, status: packet.length - 8192, flags: 0 });
    const got = [0, 2, 3].flatMap((i) => [...pages.bytes.slice(i * 4096, i * 4096 + 4096)]).slice(0, packet.length);
    expect(Uint8Array.from(got)).to.deep.equal(packet);
    await finish();
  });

  it('says of its checksum what is known of it: nothing, that it is right, or that it is blank (netif.h)', async () => {
    await setUp();
    post(10);
    await vif.turn();
    const done = packetOf({ to: mac, from: sender.mac, payload: 100 });
    const blank = packetOf({ to: mac, from: sender.mac, payload: 100, blank: true });
    await send(done, { bytes: done, checksum: 1 }, { bytes: blank, checksum: 2 });
    expect(vif.arrivals().map(({ flags }) => flags)).to.deep.equal([
      0,
      flag.dataValidated,
      flag.dataValidated | flag.csumBlank,
    ]);
    await finish();
  });

  it('is finished for a frontend that takes nothing unfinished: segments of whole frames', async () => {
    await setUp({
      'feature-sg': '0',
      'feature-gso-tcpv4': '0',
      'feature-gso-tcpv6': '0',
      'feature-no-csum-offload': '1',
      'feature-ipv6-csum-offload': '0',
    });
    post(10);
    await vif.turn();
    for (const [version, type] of [
      [4, 1],
      [6, 2],
    ] as const) {
      const packet = packetOf({ to: mac, from: sender.mac, version, payload: 3000, blank: true });
      await send({ bytes: packet, checksum: 2, gso: { type, size: 1000 } });
      const headers = packet.length - 3000;
      const arrivals = vif.arrivals();
      expect(arrivals.map(({ status }) => status)).to.deep.equal([1000, 1000, 1000].map((size) => size + headers));
      expect(arrivals.map(({ flags }) => flags)).to.deep.equal([1, 1, 1]);
    }
    await finish();
  });

  it('waits when there are no buffers, and comes when there are, in its order; some are enough for some', async () => {
    await setUp();
    await send(...Array.from({ length: 20 }, (_, i) => small(i)));
    expect(vif.arrivals()).to.deep.equal([]);
    post(5);
    await vif.turn();
    expect(vif.arrivals()).to.have.length(5);
    expect(pages.bytes[14]).to.equal(small(0)[14]);
    post(15, 5);
    await vif.turn();
    expect(vif.arrivals()).to.have.length(15);
    expect(pages.bytes[19 * 4096 + 20]).to.equal(small(19)[20]);
    await finish();
  });

  it('waits in half a ring of pages, and what is more is dropped, in the middle of the sender’s upcall, and named once in the log (XSA-392, XSA-424)', async () => {
    await setUp();
    const frames = Array.from({ length: 64 }, (_, i) => small(i, 4096));
    for (let i = 0; i < 4; i++) {
      await sender.nic.sendAll(frames);
      await rig().machine.idle();
    }
    expect(log.filter((line) => /no-room/.test(line))).to.have.length(1);
    post(256);
    await vif.turn();
    expect(vif.arrivals().length).to.be.within(100, 128);
    await finish();
  });

  it('fails alone when its buffer cannot be copied to; the slot says so (XSA-367)', async () => {
    await setUp();
    vif.post(pages.refs[0] as number);
    vif.post(0x00ffffff);
    vif.post(pages.refs[2] as number);
    await vif.turn();
    await send(small(1), small(2), small(3));
    expect(vif.arrivals().map(({ status }) => status)).to.deep.equal([60, -1, 60]);
    await finish();
  });

  it('never goes to a buffer twice: each answer takes one (XSA-405)', async () => {
    await setUp();
    post(8);
    await vif.turn();
    for (let round = 0; round < 40; round++) {
      await send(...Array.from({ length: 8 }, (_, i) => small(round + i)));
      const arrivals = vif.arrivals();
      expect(new Set(arrivals.map(({ id }) => id)).size).to.equal(8);
      post(8, (round + 1) * 8);
      await vif.turn();
    }
    await finish();
  });

  whereTimeIsSimulated('waits 10 seconds, then it is dropped (netback: rx_drain_timeout_msecs)', async () => {
    await setUp();
    await send(small(1));
    await pass(9_900);
    expect(log.filter((line) => /expired/.test(line))).to.deep.equal([]);
    await send(small(2));
    await pass(200);
    expect(log.filter((line) => /expired/.test(line))).to.have.length(1);
    post(5);
    await vif.turn();
    expect(vif.arrivals()).to.have.length(1);
    expect(pages.bytes[15]).to.equal(small(2)[15]);
    await finish();
  });

  whereTimeIsSimulated(
    'is dropped at once when no buffers were posted for a minute, until there are some (netback: rx_stall_timeout_msecs)',
    async () => {
      await setUp();
      for (let i = 0; i < 7; i++) {
        await send(small(i));
        await pass(9_900);
      }
      expect(log.filter((line) => /carrier is off/.test(line))).to.have.length(1);
      await send(small(1));
      expect(log.filter((line) => /carrier-off/.test(line))).to.have.length(1);
      post(5);
      await vif.turn();
      expect(log.filter((line) => /carrier is on/.test(line))).to.have.length(1);
      await send(small(9));
      expect(vif.arrivals()).to.have.length(1);
      await finish();
    },
  );

  whereTimeIsSimulated(
    'stalls behind a single buffer that no large packet fits in, and no more waits than is bounded (XSA-392)',
    async () => {
      await setUp();
      post(1);
      await vif.turn();
      const packet = packetOf({ to: mac, from: sender.mac, payload: 60000, blank: true });
      for (let i = 0; i < 14; i++) {
        await send({ bytes: packet, checksum: 2, gso: { type: 1, size: 1448 } });
        await pass(4_900);
      }
      expect(vif.arrivals()).to.deep.equal([]);
      expect(log.filter((line) => /carrier is off/.test(line))).to.have.length(1);
      // Another buffer, and another, are not enough for what it stalled behind: 15 pages and what says how to cut them.
      for (let i = 1; i < 15; i++) {
        post(1, i);
        await vif.turn();
      }
      expect(log.filter((line) => /carrier is on/.test(line))).to.deep.equal([]);
      post(1, 15);
      await vif.turn();
      expect(log.filter((line) => /carrier is on/.test(line))).to.have.length(1);
      await send({ bytes: packet, checksum: 2, gso: { type: 1, size: 1448 } });
      expect(vif.arrivals()).to.have.length(16);
      await finish();
    },
  );

  whereTimeIsSimulated(
    'is looked after every 30 ms for a frontend that does not tell of buffers (netif.h feature-rx-notify)',
    async () => {
      await setUp({ 'feature-rx-notify': '0' });
      await send(small(1));
      post(1);
      // Published, but without an event.
      Atomics.store(vif.rx.words, 0, vif.rxProd);
      await pass(31);
      expect(vif.arrivals()).to.have.length(1);
      await send(small(2));
      await pass(31);
      expect(log.filter((line) => /expired/.test(line))).to.have.length(1);
      expect(log.filter((line) => /carrier/.test(line))).to.deep.equal([]);
      await finish();
    },
  );

  it('does not keep its vif from closing, however many buffers are posted', async () => {
    await setUp();
    post(256);
    await vif.turn();
    await finish();
    expect(log.filter((line) => /not answered/.test(line))).to.deep.equal([]);
  });

  it('more buffers than the ring holds end the vif, found out while another sends; the other goes on (XSA-39, XSA-90)', async () => {
    await setUp();
    const other = await station(bridge);
    Atomics.store(vif.rx.words, 0, 300);
    await send(small(1));
    await vif.backendIs('5', '6');
    expect(await vif.why()).to.match(/req_prod.* 300/);
    const hello = frameOf({ to: other.mac, from: sender.mac, length: 60, fill: 9 });
    await send(hello);
    await other.came(1);
    await other.nic.close();
    await finish();
  });
});
