import { expect } from 'chai';
import fc from 'fast-check';
import type { Page } from '../../../../core/index.js';
import { folded, sumOf, verifyChecksum } from '../../../../drivers/net/checksum.js';
import { type Checksum, checksum, Frame } from '../../../../drivers/net/frame.js';
import { Headers, read16, write16 } from '../../../../drivers/net/headers.js';
import { readVnetHeader, VNET_HEADER, writeVnetHeader } from '../../../../drivers/net/host/vnet-header.js';
import { type GsoType, gsoType } from '../../../../drivers/net/wire.js';
import { frameOf } from '../frames.js';
import { packetOf } from '../packets.js';

const to = Uint8Array.of(2, 0, 0, 0, 0, 1);
const from = Uint8Array.of(2, 0, 0, 0, 0, 2);
const headers = new Headers();
/** Where frames lie in their page: not at its beginning. */
const AT = 64;

const frameIn = (bytes: Uint8Array): Frame => {
  const page: Page = {
    bytes: Uint8Array.from([...new Uint8Array(AT), ...bytes]),
    words: new Int32Array(0),
    [Symbol.dispose]() {},
  };
  return new Frame(page);
};

/** What is written before a frame, and behind that the frame. */
const written = (
  bytes: Uint8Array,
  sum: Checksum,
  type: GsoType = gsoType.none,
  size = 0,
): { readonly header: readonly number[]; readonly bytes: Uint8Array; readonly refused: string | undefined } => {
  const frame = frameIn(bytes);
  frame.set(AT, bytes.length, sum, type, size);
  const out = new Uint8Array(VNET_HEADER + bytes.length).fill(0xee, 0, VNET_HEADER);
  out.set(bytes, VNET_HEADER);
  const refused = writeVnetHeader(out, frame, headers);
  return { header: [...out.subarray(0, VNET_HEADER)], bytes: out.subarray(VNET_HEADER), refused };
};

/** A frame as it is set by a header. */
const taken = (
  header: readonly number[],
  bytes: Uint8Array,
): { readonly frame: Frame; readonly refused: string | undefined } => {
  const frame = frameIn(bytes);
  const refused = readVnetHeader(Uint8Array.from(header), frame, AT, bytes.length, headers);
  return { frame, refused };
};

describe('the header of virtio_net.h, which a TAP device has before its frames', () => {
  it('is all zeros for a frame that lacks nothing', () => {
    const bytes = frameOf({ to, from, length: 60, fill: 1 });
    for (const sum of [checksum.unknown, checksum.validated]) {
      const { header, bytes: after, refused } = written(bytes, sum);
      expect(header).to.deep.equal(new Array(VNET_HEADER).fill(0));
      expect(after).to.deep.equal(bytes);
      expect(refused).to.equal(undefined);
    }
    const { frame } = taken(new Array(VNET_HEADER).fill(0), bytes);
    expect(frame).to.include({ offset: AT, length: 60, checksum: checksum.unknown, gsoType: gsoType.none });
    expect(frame.copy()).to.deep.equal(bytes);
  });

  for (const version of [4, 6] as const) {
    const transport = version === 4 ? 34 : 54;
    for (const protocol of ['tcp', 'udp'] as const) {
      it(`says where the checksum of ${protocol} over IPv${version} begins and goes, and has the pseudo-header’s sum there`, () => {
        const blank = packetOf({ to, from, version, protocol, payload: 101, blank: true });
        // Whatever a guest has left in the field (netback.c: `checksum_setup`).
        const left = blank.slice();
        write16(left, transport + (protocol === 'tcp' ? 16 : 6), 0xbeef);
        const { header, bytes, refused } = written(left, checksum.blank);
        expect(header).to.deep.equal([1, 0, 0, 0, 0, 0, transport, 0, protocol === 'tcp' ? 16 : 6, 0]);
        expect(bytes).to.deep.equal(blank);
        expect(refused).to.equal(undefined);
        const { frame } = taken(header, blank);
        expect(frame).to.include({ checksum: checksum.blank, gsoType: gsoType.none });
        expect(frame.copy()).to.deep.equal(blank);
      });
    }

    it(`says of a large packet over IPv${version} how it is to be cut`, () => {
      const type = version === 4 ? gsoType.tcpv4 : gsoType.tcpv6;
      const packet = packetOf({ to, from, version, payload: 5000, blank: true });
      const { header, refused } = written(packet, checksum.blank, type, 1448);
      const length = transport + 20;
      expect(header).to.deep.equal([1, version === 4 ? 1 : 4, length, 0, 1448 & 255, 1448 >> 8, transport, 0, 16, 0]);
      expect(refused).to.equal(undefined);
      const { frame } = taken(header, packet);
      expect(frame).to.include({ checksum: checksum.blank, gsoType: type, gsoSize: 1448, length: packet.length });
    });
  }

  it('is not written for what the kernel would refuse: a large packet that is no TCP packet of its type, a blank checksum of neither TCP nor UDP', () => {
    const udp = packetOf({ to, from, protocol: 'udp', payload: 5000, blank: true });
    const tcp = packetOf({ to, from, payload: 5000, blank: true });
    const other = frameOf({ to, from, length: 100, fill: 1 });
    expect(written(udp, checksum.blank, gsoType.tcpv4, 1000).refused).to.equal('bad-gso');
    expect(written(tcp, checksum.blank, gsoType.tcpv6, 1000).refused).to.equal('bad-gso');
    expect(written(other, checksum.blank, gsoType.tcpv4, 1000).refused).to.equal('bad-gso');
    expect(written(other, checksum.blank).refused).to.equal('bad-checksum');
  });

  it('may vouch for a checksum (VIRTIO_NET_HDR_F_DATA_VALID)', () => {
    const { frame } = taken([2, 0, 0, 0, 0, 0, 0, 0, 0, 0], packetOf({ to, from, payload: 10 }));
    expect(frame.checksum).to.equal(checksum.validated);
  });

  it('may leave a checksum that no ring can: it is finished, as skb_checksum_help does', () => {
    // TCP in UDP: the kernel leaves the inner checksum.
    const inner = packetOf({ to, from, payload: 33, blank: true }).subarray(14);
    const outer = packetOf({ to, from, protocol: 'udp', payload: inner.length });
    outer.set(inner, 42);
    const start = 42 + 20;
    const { frame, refused } = taken([1, 0, 0, 0, 0, 0, start, 0, 16, 0], outer);
    expect(refused).to.equal(undefined);
    expect(frame.checksum).to.equal(checksum.validated);
    const packet = Uint8Array.from([...outer.subarray(0, 14), ...frame.copy().subarray(42)]);
    expect(headers.parse(packet, 0, packet.length) && verifyChecksum(packet, headers)).to.equal(true);
    expect(frame.copy().subarray(0, 42)).to.deep.equal(outer.subarray(0, 42));
  });

  it('has a checksum that comes to 0 written as 0xffff (CSUM_MANGLED_0)', () => {
    const bytes = frameOf({ to, from, length: 60, fill: 1 });
    write16(bytes, 40, 0);
    write16(bytes, 40, 0xffff - folded(sumOf(bytes, 20, 60)));
    const { frame } = taken([1, 0, 0, 0, 0, 0, 20, 0, 20, 0], bytes);
    expect(read16(frame.copy(), 40)).to.equal(0xffff);
  });

  it('is refused where it names another kind of segmentation, none of a size, and a checksum outside the frame', () => {
    const bytes = packetOf({ to, from, payload: 100, blank: true });
    expect(taken([1, 3, 0, 0, 100, 0, 34, 0, 16, 0], bytes).refused).to.equal('bad-gso');
    expect(taken([1, 5, 0, 0, 100, 0, 34, 0, 16, 0], bytes).refused).to.equal('bad-gso');
    expect(taken([1, 1, 0, 0, 0, 0, 34, 0, 16, 0], bytes).refused).to.equal('bad-gso');
    expect(taken([1, 0, 0, 0, 0, 0, bytes.length, 0, 0, 0], bytes).refused).to.equal('bad-checksum');
    expect(taken([1, 0, 0, 0, 0, 0, 34, 0, bytes.length - 35, 0], bytes).refused).to.equal('bad-checksum');
    expect(taken([1, 0, 0, 0, 0, 0, 34, 0, bytes.length - 36, 0], bytes).refused).to.equal(undefined);
  });

  it('touches nothing but a checksum within the frame, whatever it says', () => {
    const header = fc.uint8Array({ minLength: VNET_HEADER, maxLength: VNET_HEADER });
    fc.assert(
      fc.property(header, fc.uint8Array({ minLength: 14, maxLength: 200 }), (said, bytes) => {
        const { frame } = taken([...said], bytes);
        expect([...frame.bytes.subarray(0, AT)]).to.deep.equal(new Array(AT).fill(0));
        const changed = [...frame.copy()].flatMap((byte, i) => (byte === bytes[i] ? [] : [i]));
        expect(changed.length === 0 || (changed.at(-1) as number) - (changed[0] as number) <= 1).to.equal(true);
      }),
    );
  });
});
