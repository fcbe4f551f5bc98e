import { folded, sumOf, writeBlankChecksum } from '../checksum.js';
import { checksum, type Frame } from '../frame.js';
import { type Headers, ipProtocol, write16 } from '../headers.js';
import type { DropReason } from '../port-statistics.js';
import { gsoType } from '../wire.js';

/** Bytes of the header that tells what a frame lacks (virtio_net.h `virtio_net_hdr`), as before each frame of a TAP device with IFF_VNET_HDR. */
export const VNET_HEADER = 10;

// Its members, which are little-endian: where they lie.
const FLAGS = 0;
const GSO_TYPE = 1;
const HEADER_LENGTH = 2;
const GSO_SIZE = 4;
const SUM_START = 6;
const SUM_OFFSET = 8;

/** virtio_net.h `VIRTIO_NET_HDR_F_*` and `VIRTIO_NET_HDR_GSO_*`. */
const NEEDS_SUM = 1;
const DATA_VALID = 2;
const TCPV4 = 1;
const TCPV6 = 4;
const ECN = 0x80;

const read = (bytes: Uint8Array, at: number): number => (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
const write = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
};

/**
 * Writes the header of a frame, a copy of whose bytes follows it in `out`; what is left to the kernel starts from the pseudo-header's sum,
 * whatever the frame had there.
 * @returns why the kernel would not take the frame; undefined when it does
 */
export const writeVnetHeader = (out: Uint8Array, frame: Frame, headers: Headers): DropReason | undefined => {
  out.fill(0, 0, VNET_HEADER);
  const isLarge = frame.gsoType !== gsoType.none;
  if (!isLarge && frame.checksum !== checksum.blank) return undefined;
  if (!headers.parse(out, VNET_HEADER, frame.length)) return isLarge ? 'bad-gso' : 'bad-checksum';
  const { transport, sum, payload, version, protocol } = headers;
  writeBlankChecksum(out, headers);
  out[FLAGS] = NEEDS_SUM;
  write(out, SUM_START, transport - VNET_HEADER);
  write(out, SUM_OFFSET, sum - transport);
  if (!isLarge) return undefined;
  const type = version === 4 ? gsoType.tcpv4 : gsoType.tcpv6;
  if (protocol !== ipProtocol.tcp || frame.gsoType !== type) return 'bad-gso';
  out[GSO_TYPE] = version === 4 ? TCPV4 : TCPV6;
  write(out, HEADER_LENGTH, payload - VNET_HEADER);
  write(out, GSO_SIZE, frame.gsoSize);
  return undefined;
};

/**
 * Sets a frame by the header in `header`, whose `length` bytes lie at `offset` of the frame's page. The kernel may leave the checksum of
 * anything to us; that of what is neither a TCP nor a UDP datagram is finished here.
 * @returns why the frame cannot be taken; undefined when it can
 */
export const readVnetHeader = (
  header: Uint8Array,
  frame: Frame,
  offset: number,
  length: number,
  headers: Headers,
): DropReason | undefined => {
  const flags = header[FLAGS] as number;
  const kind = (header[GSO_TYPE] as number) & ~ECN;
  frame.set(offset, length, (flags & DATA_VALID) !== 0 ? checksum.validated : checksum.unknown, gsoType.none, 0);
  if (kind !== 0) {
    if (kind !== TCPV4 && kind !== TCPV6) return 'bad-gso';
    frame.gsoType = kind === TCPV4 ? gsoType.tcpv4 : gsoType.tcpv6;
    frame.gsoSize = read(header, GSO_SIZE);
    frame.checksum = checksum.blank;
    return frame.gsoSize === 0 ? 'bad-gso' : undefined;
  }
  if ((flags & NEEDS_SUM) === 0) return undefined;
  const { bytes } = frame;
  const start = offset + read(header, SUM_START);
  const sum = start + read(header, SUM_OFFSET);
  if (headers.parse(bytes, offset, length) && headers.transport === start && headers.sum === sum) {
    frame.checksum = checksum.blank;
    return undefined;
  }
  const end = offset + length;
  if (sum + 2 > end) return 'bad-checksum';
  // The field has the sum of a pseudo-header, which counts.
  write16(bytes, sum, ~folded(sumOf(bytes, start, end)) & 0xffff || 0xffff);
  frame.checksum = checksum.validated;
  return undefined;
};
