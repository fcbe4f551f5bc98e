import { Headers, ipProtocol, write16, writeBlankChecksum, writeIpv4Checksum } from '../../../drivers/net/index.js';

/** A TCP packet over IPv4 of `size` bytes, 54 of which are headers, its checksum blank. */
export const packetHeader = (from: Uint8Array, to: Uint8Array, size: number): Uint8Array => {
  const bytes = new Uint8Array(size);
  bytes.set(to, 0);
  bytes.set(from, 6);
  write16(bytes, 12, 0x0800);
  bytes[14] = 0x45;
  write16(bytes, 16, size - 14);
  bytes[22] = 64;
  bytes[23] = ipProtocol.tcp;
  bytes.set([10, 0, 0, 1, 10, 0, 0, 2], 26);
  writeIpv4Checksum(bytes, 14);
  bytes[46] = 0x50;
  const headers = new Headers();
  if (headers.parse(bytes, 0, size)) writeBlankChecksum(bytes, headers);
  return bytes;
};
