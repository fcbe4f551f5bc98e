import { writeBlankChecksum, writeChecksum, writeIpv4Checksum } from '../../../drivers/net/checksum.js';
import { Headers, write16 } from '../../../drivers/net/headers.js';

/** How a TCP or UDP packet is made. */
export interface PacketOptions {
  readonly to: Uint8Array;
  readonly from: Uint8Array;
  readonly version?: 4 | 6;
  readonly protocol?: 'tcp' | 'udp';
  readonly payload: number;
  /** Whether its checksum is left to others. */
  readonly blank?: boolean;
  readonly tcpFlags?: number;
  /** The source port. */
  readonly port?: number;
}

/** A packet whose payload counts on; 54 bytes of headers for TCP over IPv4. */
export const packetOf = ({
  to,
  from,
  version = 4,
  protocol = 'tcp',
  payload,
  blank = false,
  tcpFlags = 0x18,
  port = 1000,
}: PacketOptions): Uint8Array => {
  const ip = version === 4 ? 20 : 40;
  const transport = protocol === 'tcp' ? 20 : 8;
  const bytes = new Uint8Array(14 + ip + transport + payload);
  bytes.set(to, 0);
  bytes.set(from, 6);
  write16(bytes, 12, version === 4 ? 0x0800 : 0x86dd);
  if (version === 4) {
    bytes[14] = 0x45;
    write16(bytes, 16, bytes.length - 14);
    write16(bytes, 18, 0x1234);
    bytes[22] = 64;
    bytes[23] = protocol === 'tcp' ? 6 : 17;
    bytes.set([10, 0, 0, 1, 10, 0, 0, 2], 26);
    writeIpv4Checksum(bytes, 14);
  } else {
    bytes[14] = 0x60;
    write16(bytes, 18, bytes.length - 54);
    bytes[20] = protocol === 'tcp' ? 6 : 17;
    bytes[21] = 64;
    for (let i = 0; i < 32; i++) bytes[22 + i] = i;
  }
  const at = 14 + ip;
  write16(bytes, at, port);
  write16(bytes, at + 2, 2000);
  if (protocol === 'tcp') {
    write16(bytes, at + 4, 0xffff);
    write16(bytes, at + 6, 0xff00);
    bytes[at + 12] = 0x50;
    bytes[at + 13] = tcpFlags;
    write16(bytes, at + 14, 512);
  } else write16(bytes, at + 4, 8 + payload);
  for (let i = 0; i < payload; i++) bytes[at + transport + i] = i * 7;
  const headers = new Headers();
  headers.parse(bytes, 0, bytes.length);
  if (blank) writeBlankChecksum(bytes, headers);
  else writeChecksum(bytes, headers);
  return bytes;
};
