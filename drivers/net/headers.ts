/** Types of Ethernet payload (if_ether.h `ETH_P_*`). */
export const etherType = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;
/** Protocols over IP (in.h `IPPROTO_*`). */
export const ipProtocol = { icmp: 1, tcp: 6, udp: 17 } as const;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION = 60;
/** Whether a header may lie between IPv6's and the transport's (skb_checksum_setup_ipv6). */
const isExtension = (next: number): boolean =>
  next === HOP_BY_HOP || next === ROUTING || next === FRAGMENT || next === AUTHENTICATION || next === DESTINATION;

/** A 16-bit number of a header. */
export const read16 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
/** Writes a 16-bit number of a header. */
export const write16 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
};

/**
 * Where the headers of a frame's TCP or UDP datagram lie, for checksums and segmentation; all places are absolute in the memory that was
 * parsed. One object is used again and again.
 */
export class Headers {
  /** 4 or 6. */
  version = 0;
  /** Where the IP header begins, and the transport's. */
  ip = 0;
  transport = 0;
  /** {@link ipProtocol}'s tcp or udp. */
  protocol = 0;
  /** Where the transport's checksum lies, and where its header ends. */
  sum = 0;
  payload = 0;
  /** Where the datagram ends, by its IP header: a short frame is padded. */
  end = 0;
  /** Whether {@link parse} said no only because what it would have looked at is not here. */
  short = false;
  /** Where what is here ends. */
  #here = 0;

  /** Whether the frame holds a whole TCP or UDP datagram, not a fragment of one, with all of its headers. @param here how many of its bytes can be looked at */
  parse(bytes: Uint8Array, at: number, length: number, here = length): boolean {
    const end = at + length;
    this.#here = at + here;
    this.short = false;
    if (here < length && here < 18) return this.#isShort();
    if (length < 14) return false;
    let ip = at + 14;
    let type = read16(bytes, at + 12);
    if (type === etherType.vlan) {
      if (length < 18) return false;
      type = read16(bytes, at + 16);
      ip += 4;
    }
    this.ip = ip;
    const found = type === etherType.ipv4 ? this.#ipv4(bytes, end) : type === etherType.ipv6 && this.#ipv6(bytes, end);
    return found && this.#transport(bytes);
  }

  #ipv4(bytes: Uint8Array, end: number): boolean {
    const { ip } = this;
    if (ip + 20 > end) return false;
    if (ip + 20 > this.#here) return this.#isShort();
    if ((bytes[ip] as number) >> 4 !== 4) return false;
    const header = ((bytes[ip] as number) & 15) * 4;
    const total = read16(bytes, ip + 2);
    if (header < 20 || total < header || ip + total > end) return false;
    // More fragments, or an offset: the checksum is over all of them.
    if ((read16(bytes, ip + 6) & 0x3fff) !== 0) return false;
    this.version = 4;
    this.transport = ip + header;
    this.protocol = bytes[ip + 9] as number;
    this.end = ip + total;
    return true;
  }

  #ipv6(bytes: Uint8Array, end: number): boolean {
    const { ip } = this;
    if (ip + 40 > end) return false;
    if (ip + 40 > this.#here) return this.#isShort();
    if ((bytes[ip] as number) >> 4 !== 6) return false;
    const last = ip + 40 + read16(bytes, ip + 4);
    if (last > end) return false;
    let next = bytes[ip + 6] as number;
    let at = ip + 40;
    while (isExtension(next)) {
      if (at + 8 > last) return false;
      if (at + 8 > this.#here) return this.#isShort();
      // A fragment that is all of its packet is none (RFC 8200 §4.5).
      if (next === FRAGMENT && (read16(bytes, at + 2) & 0xfff9) !== 0) return false;
      const size = bytes[at + 1] as number;
      const length = next === FRAGMENT ? 8 : next === AUTHENTICATION ? (size + 2) * 4 : (size + 1) * 8;
      next = bytes[at] as number;
      at += length;
    }
    this.version = 6;
    this.transport = at;
    this.protocol = next;
    this.end = last;
    return true;
  }

  #transport(bytes: Uint8Array): boolean {
    const { transport, end, protocol } = this;
    if (protocol === ipProtocol.udp) {
      if (transport + 8 > end) return false;
      if (transport + 8 > this.#here) return this.#isShort();
      this.sum = transport + 6;
      this.payload = transport + 8;
      return true;
    }
    if (protocol !== ipProtocol.tcp || transport + 20 > end) return false;
    if (transport + 20 > this.#here) return this.#isShort();
    const header = ((bytes[transport + 12] as number) >> 4) * 4;
    if (header < 20 || transport + header > end) return false;
    this.sum = transport + 16;
    this.payload = transport + header;
    return true;
  }

  #isShort(): false {
    this.short = true;
    return false;
  }
}
