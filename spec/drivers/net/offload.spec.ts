import { expect } from 'chai';
import fc from 'fast-check';
import { folded, sumOf, verifyChecksum, writeBlankChecksum, writeChecksum } from '../../../drivers/net/checksum.js';
import { Headers, read16, write16 } from '../../../drivers/net/headers.js';
import { packetOf } from './packets.js';

const to = Uint8Array.of(2, 0, 0, 0, 0, 1);
const from = Uint8Array.of(2, 0, 0, 0, 0, 2);
const headers = new Headers();

describe('the Internet checksum (RFC 1071)', () => {
  it('is the ones’ complement sum of 16-bit words, whatever the length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 7 }), (bytes, before) => {
        const padded = Uint8Array.from([...new Uint8Array(before).fill(7), ...bytes]);
        let sum = 0n;
        for (let i = 0; i < bytes.length; i += 2) sum += BigInt(((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0));
        expect(folded(sumOf(padded, before, padded.length))).to.equal(
          Number(sum === 0n ? 0n : ((sum - 1n) % 0xffffn) + 1n),
        );
      }),
    );
  });

  it('is that of RFC 1071’s own example', () => {
    expect(folded(sumOf(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7), 0, 8))).to.equal(0xddf2);
  });

  for (const version of [4, 6] as const) {
    for (const protocol of ['tcp', 'udp'] as const) {
      it(`of ${protocol} over IPv${version}, finished from the pseudo-header’s alone, is the one that is made at once`, () => {
        for (const payload of [0, 1, 2, 3, 1400, 1401]) {
          const whole = packetOf({ to, from, version, protocol, payload });
          const blank = packetOf({ to, from, version, protocol, payload, blank: true });
          expect(headers.parse(blank, 0, blank.length)).to.equal(true);
          const folding = ~folded(sumOf(blank, headers.transport, headers.end)) & 0xffff;
          expect(folding === 0 && protocol === 'udp' ? 0xffff : folding).to.equal(read16(whole, headers.sum));
          writeChecksum(blank, headers);
          expect(blank).to.deep.equal(whole);
          expect(verifyChecksum(whole, headers)).to.equal(true);
          whole[whole.length - 1] = (whole[whole.length - 1] as number) ^ 1;
          expect(verifyChecksum(whole, headers)).to.equal(false);
        }
      });
    }
  }

  it('of UDP that comes to 0 is written as 0xffff, since 0 says that there is none', () => {
    const packet = packetOf({ to, from, protocol: 'udp', payload: 2 });
    headers.parse(packet, 0, packet.length);
    write16(packet, 42, 0);
    writeBlankChecksum(packet, headers);
    const rest = folded(sumOf(packet, headers.transport, headers.end));
    write16(packet, 42, 0xffff - rest);
    writeChecksum(packet, headers);
    expect(read16(packet, headers.sum)).to.equal(0xffff);
  });

  it('is not made of fragments, of what is cut short, and of anything else', () => {
    const good = packetOf({ to, from, payload: 100 });
    expect(headers.parse(good, 0, good.length)).to.equal(true);
    for (let length = 0; length < good.length; length++) expect(headers.parse(good, 0, length)).to.equal(false);
    const broken = (at: number, value: number): boolean => {
      const packet = good.slice();
      packet[at] = value;
      return headers.parse(packet, 0, packet.length);
    };
    expect(broken(20, 0x20)).to.equal(false); // more fragments
    expect(broken(21, 1)).to.equal(false); // an offset
    expect(broken(14, 0x44)).to.equal(false); // a header of 16 bytes
    expect(broken(14, 0x65)).to.equal(false); // IPv6, says IPv4's type
    expect(broken(23, 1)).to.equal(false); // ICMP
    expect(broken(46, 0x40)).to.equal(false); // a TCP header of 16 bytes
    expect(broken(46, 0xf0)).to.equal(true); // one of 60
    expect(broken(12, 0x81)).to.equal(false);
  });

  it('is found behind a VLAN tag and the options of IPv6', () => {
    const plain = packetOf({ to, from, payload: 10 });
    const tagged = Uint8Array.from([...plain.subarray(0, 12), 0x81, 0, 0, 5, ...plain.subarray(12)]);
    expect(headers.parse(tagged, 0, tagged.length)).to.equal(true);
    expect(headers.transport).to.equal(38);
    const six = packetOf({ to, from, version: 6, payload: 10 });
    const optioned = Uint8Array.from([...six.subarray(0, 54), 6, 0, 1, 4, 0, 0, 0, 0, ...six.subarray(54)]);
    optioned[20] = 0;
    write16(optioned, 18, six.length - 54 + 8);
    expect(headers.parse(optioned, 0, optioned.length)).to.equal(true);
    expect(headers.transport).to.equal(62);
    expect(verifyChecksum(optioned, headers)).to.equal(true);
    // As a fragment header: that of a packet in one piece hides nothing, any other does (RFC 8200).
    optioned[20] = 44;
    optioned.set([6, 0, 0, 0, 1, 2, 3, 4], 54);
    expect(headers.parse(optioned, 0, optioned.length) && headers.transport).to.equal(62);
    for (const [at, value] of [
      [57, 1],
      [57, 8],
      [56, 1],
    ] as const) {
      const fragment = optioned.slice();
      fragment[at] = value;
      expect(headers.parse(fragment, 0, fragment.length)).to.equal(false);
    }
    // As an authentication header, whose length counts by four.
    const authenticated = Uint8Array.from([...six.subarray(0, 54), 6, 4, ...new Uint8Array(22), ...six.subarray(54)]);
    authenticated[20] = 51;
    write16(authenticated, 18, six.length - 54 + 24);
    expect(headers.parse(authenticated, 0, authenticated.length) && headers.transport).to.equal(78);
    expect(verifyChecksum(authenticated, headers)).to.equal(true);
  });

  it('reads nothing beyond a frame, whatever is in it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        const frame = bytes.slice();
        if (frame.length > 14) frame.set(frame.length % 2 === 0 ? [8, 0, 0x45] : [0x86, 0xdd, 0x60], 12);
        if (!headers.parse(frame, 0, frame.length)) return;
        expect(headers.end).to.be.at.most(frame.length);
        expect(headers.payload).to.be.at.most(headers.end);
        expect(headers.sum + 2).to.be.at.most(headers.end);
      }),
    );
  });
});
