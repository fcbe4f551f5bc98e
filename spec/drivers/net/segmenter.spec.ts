import { expect } from 'chai';
import fc from 'fast-check';
import type { Page } from '../../../core/index.js';
import { folded, sumOf, verifyChecksum, writeBlankChecksum, writeIpv4Checksum } from '../../../drivers/net/checksum.js';
import { checksum, Frame } from '../../../drivers/net/frame.js';
import { Headers, read16, write16 } from '../../../drivers/net/headers.js';
import { Segmenter } from '../../../drivers/net/segmenter.js';
import { gsoType } from '../../../drivers/net/wire.js';
import { packetOf } from './packets.js';

const to = Uint8Array.of(2, 0, 0, 0, 0, 1);
const from = Uint8Array.of(2, 0, 0, 0, 0, 2);

const pageOf = (bytes: Uint8Array): Page => ({ bytes, words: new Int32Array(0), [Symbol.dispose]() {} });

const inserted = (bytes: Uint8Array, at: number, more: readonly number[]): Uint8Array =>
  Uint8Array.from([...bytes.subarray(0, at), ...more, ...bytes.subarray(at)]);

/** What a packet may have besides the plainest headers. */
interface Shape {
  readonly version: 4 | 6;
  readonly vlan: boolean;
  /** Words of options of IPv4, or of eight bytes each of an extension header of IPv6. */
  readonly ipOptions: number;
  readonly tcpOptions: number;
  readonly payload: number;
  readonly tcpFlags: number;
  readonly id: number;
  /** Bytes behind the datagram, as of a padded frame. */
  readonly padding: number;
}

const shaped = ({ version, vlan, ipOptions, tcpOptions, payload, tcpFlags, id, padding }: Shape): Uint8Array => {
  let bytes = packetOf({ to, from, version, payload, tcpFlags, blank: true });
  const transport = version === 4 ? 34 : 54;
  bytes = inserted(
    bytes,
    transport + 20,
    Array.from({ length: tcpOptions * 4 }, (_, i) => i + 1),
  );
  bytes[transport + 12] = (5 + tcpOptions) << 4;
  if (version === 4) {
    write16(bytes, 18, id);
    bytes = inserted(
      bytes,
      34,
      Array.from({ length: ipOptions * 4 }, () => 1),
    );
    bytes[14] = 0x45 + ipOptions;
    write16(bytes, 16, bytes.length - 14);
    writeIpv4Checksum(bytes, 14);
  } else {
    const extension =
      ipOptions === 0 ? [] : [6, ipOptions - 1, 1, ipOptions * 8 - 4, ...new Uint8Array(ipOptions * 8 - 4)];
    if (ipOptions > 0) bytes[20] = 60;
    bytes = inserted(bytes, 54, extension);
    write16(bytes, 18, bytes.length - 54);
  }
  if (vlan) bytes = inserted(bytes, 12, [0x81, 0, 0x20, 5]);
  bytes = Uint8Array.from([...bytes, ...new Uint8Array(padding).fill(0xee)]);
  const headers = new Headers();
  headers.parse(bytes, 0, bytes.length);
  writeBlankChecksum(bytes, headers);
  return bytes;
};

const shape = fc.record<Shape>({
  version: fc.constantFrom(4, 6),
  vlan: fc.boolean(),
  ipOptions: fc.nat({ max: 10 }),
  tcpOptions: fc.nat({ max: 10 }),
  payload: fc.integer({ min: 1, max: 9000 }),
  tcpFlags: fc.nat({ max: 255 }),
  id: fc.constantFrom(0, 1, 0xfffe, 0xffff),
  padding: fc.nat({ max: 5 }),
});

const FIN_PSH = 0x09;
const CWR = 0x80;

describe('the segments of a large packet', () => {
  const cut = (packet: Uint8Array, type: 1 | 2, size: number): readonly Uint8Array[] | undefined => {
    const frame = new Frame(pageOf(Uint8Array.from([...new Uint8Array(33), ...packet])));
    frame.set(33, packet.length, checksum.blank, type, size);
    const segments: Uint8Array[] = [];
    const segmenter = new Segmenter(pageOf(new Uint8Array(65536)));
    return segmenter.segment(frame, new Headers(), (segment) => {
      expect([segment.checksum, segment.gsoType]).to.deep.equal([checksum.validated, gsoType.none]);
      segments.push(segment.copy());
    })
      ? segments
      : undefined;
  };

  it('are whole TCP packets that carry its data in its order, behind tags, options and extensions, with each length, number and checksum right', () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 48, max: 3000 }), (one, size) => {
        const packet = shaped(one);
        const whole = new Headers();
        expect(whole.parse(packet, 0, packet.length)).to.equal(true);
        const segments = cut(packet, one.version === 4 ? 1 : 2, size) ?? [];
        expect(segments).to.have.length(Math.ceil(one.payload / size));
        const sequence = ((read16(packet, whole.transport + 4) << 16) | read16(packet, whole.transport + 6)) >>> 0;
        const flags = packet[whole.transport + 13] as number;
        let done = 0;
        for (const [i, segment] of segments.entries()) {
          const last = i === segments.length - 1;
          const headers = new Headers();
          expect(headers.parse(segment, 0, segment.length)).to.equal(true);
          expect(headers.end).to.equal(segment.length);
          expect(headers.payload).to.equal(whole.payload);
          const part = segment.subarray(headers.payload);
          expect(part.length).to.equal(last ? one.payload - done : size);
          expect(part).to.deep.equal(packet.subarray(whole.payload + done, whole.payload + done + part.length));
          expect(verifyChecksum(segment, headers)).to.equal(true);
          const at = headers.transport;
          const number = ((read16(segment, at + 4) << 16) | read16(segment, at + 6)) >>> 0;
          expect(number).to.equal((sequence + done) >>> 0);
          // RFC 3168: CWR is told once; FIN and PSH belong to the end.
          expect(segment[at + 13]).to.equal(flags & ~(last ? 0 : FIN_PSH) & ~(i === 0 ? 0 : CWR));
          if (one.version === 4) {
            const { ip } = headers;
            expect(read16(segment, ip + 4)).to.equal((one.id + i) & 0xffff);
            expect(folded(sumOf(segment, ip, headers.transport))).to.equal(0xffff);
          }
          // Everything else of the headers is the packet's own.
          const same = (bytes: Uint8Array, { ip, transport }: Headers): Uint8Array => {
            const header = bytes.slice(0, whole.payload);
            header.fill(0, ip + (one.version === 4 ? 2 : 4), ip + 6);
            if (one.version === 4) header.fill(0, ip + 10, ip + 12);
            header.fill(0, transport + 4, transport + 8);
            header[transport + 13] = 0;
            header.fill(0, transport + 16, transport + 18);
            return header;
          };
          expect(same(segment, headers)).to.deep.equal(same(packet, whole));
          done += part.length;
        }
        expect(done).to.equal(one.payload);
      }),
    );
  });

  it('are one where there is no data, and none of what is no TCP packet of its type', () => {
    const bare = packetOf({ to, from, payload: 0, blank: true });
    expect(cut(bare, 1, 1000)).to.have.length(1);
    expect(cut(bare, 2, 1000)).to.equal(undefined);
    const fragment = packetOf({ to, from, payload: 3000, blank: true });
    fragment[20] = 0x20;
    expect(cut(fragment, 1, 1000)).to.equal(undefined);
    const short = packetOf({ to, from, payload: 3000, blank: true });
    expect(cut(short.subarray(0, 53), 1, 1000)).to.equal(undefined);
  });

  it('may be as long as a packet can be', () => {
    const packet = packetOf({ to, from, payload: 65_535 - 54, blank: true });
    expect((cut(packet, 1, 65_000) ?? []).map(({ length }) => length)).to.deep.equal([65_054, 65_535 - 65_000]);
  });
});
