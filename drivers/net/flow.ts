import { etherType, ipProtocol, read16 } from './headers.js';

/**
 * A number that the frames of one flow share: by the addresses of IP and the ports of TCP and UDP; else by the stations. Ports count only
 * where they lie right behind a header without options, of a packet that is no fragment: a later fragment has data in their place.
 */
export const flowOf = (bytes: Uint8Array, offset: number, length: number): number => {
  const ip = offset + 14;
  const type = length >= 34 ? read16(bytes, offset + 12) : 0;
  let from = offset;
  let to = offset + 12;
  if (type === etherType.ipv4) {
    from = ip + 12;
    to = ip + 20;
    const isWhole = (read16(bytes, ip + 6) & 0x3fff) === 0;
    const protocol = bytes[ip + 9];
    if (bytes[ip] === 0x45 && isWhole && (protocol === ipProtocol.tcp || protocol === ipProtocol.udp) && length >= 38)
      to = ip + 24;
  } else if (type === etherType.ipv6 && length >= 54) {
    const protocol = bytes[ip + 6];
    from = ip + 8;
    to = ip + ((protocol === ipProtocol.tcp || protocol === ipProtocol.udp) && length >= 58 ? 44 : 40);
  }
  let hash = 0;
  for (let at = from; at < to; at += 2) hash = Math.imul(hash ^ read16(bytes, at), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
};
