import { type Headers, ipProtocol, read16, write16 } from './headers.js';

/** The sum of 16-bit words of a range, added to `sum`; not folded. An odd byte at the end counts as a word's upper half (RFC 1071). */
export const sumOf = (bytes: Uint8Array, from: number, to: number, sum = 0): number => {
  let high = 0;
  let low = 0;
  let at = from;
  // At most 65535 bytes: either sum stays below 2^24.
  for (const end = from + ((to - from) & ~3); at < end; at += 4) {
    high += (bytes[at] as number) + (bytes[at + 2] as number);
    low += (bytes[at + 1] as number) + (bytes[at + 3] as number);
  }
  for (; at + 1 < to; at += 2) {
    high += bytes[at] as number;
    low += bytes[at + 1] as number;
  }
  if (at < to) high += bytes[at] as number;
  return sum + high * 256 + low;
};

/** A sum in 16 bits. */
export const folded = (sum: number): number => {
  let left = sum;
  while (left > 0xffff) left = (left % 0x10000) + Math.floor(left / 0x10000);
  return left;
};

/** The sum of the pseudo-header of a TCP or UDP datagram, not folded (RFC 793, RFC 8200 §8.1). */
export const pseudoHeader = (bytes: Uint8Array, { version, ip, transport, end, protocol }: Headers): number => {
  const addresses = version === 4 ? sumOf(bytes, ip + 12, ip + 20) : sumOf(bytes, ip + 8, ip + 40);
  return addresses + protocol + (end - transport);
};

/** Writes the checksum of a TCP or UDP datagram whose field may hold anything. */
export const writeChecksum = (bytes: Uint8Array, headers: Headers): void => {
  const { sum, transport, end, protocol } = headers;
  write16(bytes, sum, 0);
  const whole = ~folded(sumOf(bytes, transport, end, pseudoHeader(bytes, headers))) & 0xffff;
  write16(bytes, sum, whole === 0 && protocol === ipProtocol.udp ? 0xffff : whole);
};

/** Writes into the field what a sender leaves there that has its checksum finished by others: the sum of the pseudo-header. */
export const writeBlankChecksum = (bytes: Uint8Array, headers: Headers): void =>
  write16(bytes, headers.sum, folded(pseudoHeader(bytes, headers)));

/** Whether a datagram's checksum is right; a UDP datagram over IPv4 may have none. */
export const verifyChecksum = (bytes: Uint8Array, headers: Headers): boolean => {
  const { version, sum, transport, end, protocol } = headers;
  if (protocol === ipProtocol.udp && version === 4 && read16(bytes, sum) === 0) return true;
  return folded(sumOf(bytes, transport, end, pseudoHeader(bytes, headers))) === 0xffff;
};

/** Writes the checksum of an IPv4 header. */
export const writeIpv4Checksum = (bytes: Uint8Array, ip: number): void => {
  const header = ((bytes[ip] as number) & 15) * 4;
  write16(bytes, ip + 10, 0);
  write16(bytes, ip + 10, ~folded(sumOf(bytes, ip, ip + header)) & 0xffff);
};
