import { expect } from 'chai';
import type { Clock, GrantTable, Page } from '../../../core/index.js';
import { Bridge, type BridgePort, type BridgeSide } from '../../../drivers/net/bridge.js';
import { verifyChecksum } from '../../../drivers/net/checksum.js';
import { AGEING } from '../../../drivers/net/forwarding-table.js';
import { type Checksum, checksum, Frame } from '../../../drivers/net/frame.js';
import { Headers, read16 } from '../../../drivers/net/headers.js';
import { PortStatistics } from '../../../drivers/net/port-statistics.js';
import { noOffloads, type Offloads } from '../../../drivers/net/protocol.js';
import { type GsoType, gsoType } from '../../../drivers/net/wire.js';
import { frameOf } from './frames.js';
import { packetOf } from './packets.js';

const pageOf = (bytes: Uint8Array): Page => ({
  bytes,
  words: new Int32Array(0),
  [Symbol.dispose]() {},
});

const all: Offloads = { sg: true, gso4: true, gso6: true, checksum4: true, checksum6: true };

/** A port that keeps what it is sent. */
class Keeper implements BridgePort {
  readonly statistics = new PortStatistics();
  readonly got: { readonly bytes: Uint8Array; readonly checksum: Checksum; readonly gso: GsoType }[] = [];
  readonly side: BridgeSide;
  flushes = 0;

  constructor(
    bridge: Bridge,
    readonly mac: Uint8Array,
    readonly offloads: Offloads = all,
    readonly mtu = 1500,
    readonly name = 'keeper',
  ) {
    this.side = bridge.join(this);
  }

  deliver(frame: Frame): void {
    this.got.push({ bytes: frame.copy(), checksum: frame.checksum, gso: frame.gsoType });
  }

  flush(): void {
    this.flushes++;
  }

  publish(): void {}

  send(bytes: Uint8Array, sum: Checksum = checksum.unknown, type: GsoType = gsoType.none, size = 0): void {
    const frame = new Frame(pageOf(Uint8Array.from([...new Uint8Array(100), ...bytes])));
    frame.set(100, bytes.length, sum, type, size);
    this.side.receive(frame);
    this.side.flush();
    this.side.publish();
  }

  /** What came since the last time. */
  take(): readonly Uint8Array[] {
    return this.got.splice(0).map(({ bytes }) => bytes);
  }
}

describe('a bridge', () => {
  let now = 0;
  const clock = { now: () => now } as Clock;
  const grants = { alloc: (pages = 1) => pageOf(new Uint8Array(pages * 4096)) } as unknown as GrantTable;
  let bridge: Bridge;
  const macOf = (i: number): Uint8Array => Uint8Array.of(2, 0, 0, 0, i >> 8, i & 255);
  const keeper = (i: number, offloads?: Offloads, mtu?: number): Keeper => new Keeper(bridge, macOf(i), offloads, mtu);
  const hello = (from: Keeper, to: Uint8Array, length = 60): Uint8Array =>
    frameOf({ to, from: from.mac, length, fill: 1 });

  beforeEach(() => {
    now = 0;
    bridge = new Bridge(clock, grants);
  });

  it('floods frames to stations that it has not heard of, learns where those that send are, and never sends a frame back', () => {
    const [a, b, c] = [keeper(1), keeper(2), keeper(3)];
    a.send(hello(a, b.mac));
    expect([a, b, c].map((port) => port.take().length)).to.deep.equal([0, 1, 1]);
    b.send(hello(b, a.mac));
    expect([a, b, c].map((port) => port.take().length)).to.deep.equal([1, 0, 0]);
    a.send(hello(a, b.mac));
    expect([a, b, c].map((port) => port.take().length)).to.deep.equal([0, 1, 0]);
    a.send(hello(a, a.mac));
    expect([a, b, c].map((port) => port.take().length)).to.deep.equal([0, 0, 0]);
    expect(bridge.stations).to.equal(2);
    expect(a.statistics).to.include({ received: 3, receivedBytes: 180, flooded: 1 });
  });

  it('floods broadcasts and groups always', () => {
    const [a, b, c] = [keeper(1), keeper(2), keeper(3)];
    for (const to of [
      new Uint8Array(6).fill(255),
      Uint8Array.of(1, 0, 0x5e, 0, 0, 1),
      Uint8Array.of(0x33, 0x33, 0, 0, 0, 1),
    ]) {
      a.send(hello(a, to));
      expect([a, b, c].map((port) => port.take().length)).to.deep.equal([0, 1, 1]);
    }
  });

  it('takes no frame from a group, as none is sent by one', () => {
    const [a, b] = [keeper(1), keeper(2)];
    const frame = hello(a, b.mac);
    frame[6] = 3;
    a.send(frame);
    expect(b.take()).to.deep.equal([]);
    expect(a.statistics.dropped['own-source']).to.equal(1);
    expect(bridge.stations).to.equal(0);
  });

  it('finds a station again that has moved to another port', () => {
    const [a, b, c] = [keeper(1), keeper(2), keeper(3)];
    b.send(hello(b, a.mac));
    c.send(hello(b, a.mac));
    for (const port of [a, b, c]) port.take();
    a.send(hello(a, b.mac));
    expect([b, c].map((port) => port.take().length)).to.deep.equal([0, 1]);
  });

  it('forgets a station that was not heard of for five minutes, and the stations of a port that leaves', () => {
    const [a, b, c] = [keeper(1), keeper(2), keeper(3)];
    b.send(hello(b, a.mac));
    c.take();
    now += AGEING;
    a.send(hello(a, b.mac));
    expect(c.take()).to.have.length(0);
    now += 1;
    a.send(hello(a, b.mac));
    expect(c.take()).to.have.length(1);
    b.send(hello(b, a.mac));
    b.side[Symbol.dispose]();
    a.send(hello(a, b.mac));
    expect(c.take()).to.have.length(1);
    expect(bridge.ports).to.deep.equal([a, c]);
  });

  it('has room for thousands of stations and takes no more memory: it keeps those heard of last', () => {
    const [a, b] = [keeper(0), keeper(1)];
    for (let i = 2; i < 20_000; i++) {
      now += 1;
      a.send(frameOf({ to: b.mac, from: macOf(i), length: 60, fill: 1 }));
    }
    expect(bridge.stations).to.be.within(3000, 4096);
    b.take();
    b.send(hello(b, macOf(19_999)));
    expect(a.take()).to.have.length(1);
  });

  it('counts what it sends on and does not', () => {
    const [a, b] = [keeper(1), keeper(2, { ...all, sg: false }, 1500)];
    a.send(hello(a, b.mac, 1518));
    a.send(hello(a, b.mac, 1519));
    a.send(hello(a, b.mac, 5000));
    expect(b.take()).to.have.length(1);
    expect(b.statistics.dropped['too-long']).to.equal(2);
  });

  for (const version of [4, 6] as const) {
    it(`finishes the checksum over IPv${version} for a port that cannot, and leaves it for one that can`, () => {
      const [a, b, c] = [keeper(1), keeper(2, { ...all, checksum4: false, checksum6: false }), keeper(3)];
      // Flooded: the one that can comes first and last.
      const blank = packetOf({ to: new Uint8Array(6).fill(255), from: a.mac, version, payload: 333, blank: true });
      const first = keeper(4);
      a.send(blank, checksum.blank);
      const [finished] = b.got;
      expect(finished?.checksum).to.equal(checksum.validated);
      const headers = new Headers();
      const bytes = finished?.bytes as Uint8Array;
      expect(headers.parse(bytes, 0, bytes.length) && verifyChecksum(bytes, headers)).to.equal(true);
      expect(b.statistics.checksummed).to.equal(1);
      for (const port of [c, first]) {
        const [got] = port.got;
        if (got?.checksum === checksum.blank) expect(got.bytes).to.deep.equal(blank);
        else expect(got?.bytes).to.deep.equal(bytes);
      }
    });

    it(`cuts a large packet over IPv${version} for a port that cannot, by TCP's rules`, () => {
      const [a, b] = [keeper(1), keeper(2, { ...noOffloads })];
      const packet = packetOf({ to: b.mac, from: a.mac, version, payload: 2500, blank: true, tcpFlags: 0x99 });
      a.send(packet, checksum.blank, version === 4 ? gsoType.tcpv4 : gsoType.tcpv6, 1000);
      const segments = b.take();
      const headers = new Headers();
      let payload: number[] = [];
      let sequence = 0xffffff00;
      for (const [i, segment] of segments.entries()) {
        expect(headers.parse(segment, 0, segment.length)).to.equal(true);
        expect(verifyChecksum(segment, headers)).to.equal(true);
        expect(headers.end).to.equal(segment.length);
        const { transport } = headers;
        expect(((read16(segment, transport + 4) << 16) | read16(segment, transport + 6)) >>> 0).to.equal(sequence);
        sequence = (sequence + segment.length - headers.payload) >>> 0;
        // CWR in the first alone; FIN and PSH in the last.
        expect(segment[transport + 13]).to.equal([0x90, 0x10, 0x19][i]);
        if (version === 4) expect(read16(segment, 18)).to.equal(0x1234 + i);
        payload = [...payload, ...segment.subarray(headers.payload)];
      }
      expect(segments).to.have.length(3);
      expect(payload).to.deep.equal([...packet.subarray(packet.length - 2500)]);
      expect(b.statistics.segmented).to.equal(1);
    });
  }

  it('cuts nothing into a thousand frames: segments of less than 48 bytes are dropped', () => {
    const [a, b] = [keeper(1), keeper(2, { ...noOffloads })];
    const packet = packetOf({ to: b.mac, from: a.mac, payload: 2500, blank: true });
    a.send(packet, checksum.blank, gsoType.tcpv4, 47);
    a.send(packet, checksum.blank, gsoType.tcpv6, 1000);
    a.send(
      packetOf({ to: b.mac, from: a.mac, protocol: 'udp', payload: 2500, blank: true }),
      checksum.blank,
      gsoType.tcpv4,
      1000,
    );
    expect(b.take()).to.deep.equal([]);
    expect(b.statistics.dropped['bad-gso']).to.equal(3);
  });
});
