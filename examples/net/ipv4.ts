import { etherType, folded, read16, sumOf, write16, writeIpv4Checksum } from 'splitring/drivers/net';

/** An IPv4 address as a number, its first byte the highest. */
export type Ipv4 = number;

/** Reads `10.0.0.1`. @throws RangeError */
export const parseIpv4 = (text: string): Ipv4 => {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((part) => part > 255))
    throw new RangeError(`an IPv4 address is like 10.0.0.1, not ${JSON.stringify(text)}`);
  return parts.reduce((address, part) => address * 256 + part, 0);
};

/** `10.0.0.1`. */
export const showIpv4 = (address: Ipv4): string => [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');

export const read32 = (bytes: Uint8Array, at: number): number =>
  ((read16(bytes, at) << 16) | read16(bytes, at + 2)) >>> 0;
export const write32 = (bytes: Uint8Array, at: number, value: number): void => {
  write16(bytes, at, value >>> 16);
  write16(bytes, at + 2, value & 0xffff);
};

/** Bytes of the headers before a datagram's payload. */
export const IP_AT = 14;
export const PAYLOAD_AT = 34;

/** Writes the Ethernet and IPv4 headers before a payload of `length` bytes at {@link PAYLOAD_AT}. */
export const writeHeaders = (
  bytes: Uint8Array,
  { to, from }: { readonly to: Uint8Array; readonly from: Uint8Array },
  {
    source,
    destination,
    protocol,
    length,
    id,
  }: {
    readonly source: Ipv4;
    readonly destination: Ipv4;
    readonly protocol: number;
    readonly length: number;
    readonly id: number;
  },
): void => {
  bytes.set(to, 0);
  bytes.set(from, 6);
  write16(bytes, 12, etherType.ipv4);
  bytes[IP_AT] = 0x45;
  bytes[IP_AT + 1] = 0;
  write16(bytes, IP_AT + 2, 20 + length);
  write16(bytes, IP_AT + 4, id);
  write16(bytes, IP_AT + 6, 0x4000); // not to be fragmented
  bytes[IP_AT + 8] = 64;
  bytes[IP_AT + 9] = protocol;
  write32(bytes, IP_AT + 12, source);
  write32(bytes, IP_AT + 16, destination);
  writeIpv4Checksum(bytes, IP_AT);
};

/** The checksum over a range whose own field is zero (RFC 1071). */
export const internetChecksum = (bytes: Uint8Array, from: number, to: number): number =>
  ~folded(sumOf(bytes, from, to)) & 0xffff;
