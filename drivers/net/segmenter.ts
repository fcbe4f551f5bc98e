import type { Page } from '../../core/index.js';
import { writeChecksum, writeIpv4Checksum } from './checksum.js';
import { checksum, Frame } from './frame.js';
import { type Headers, ipProtocol, read16, write16 } from './headers.js';
import { gsoType } from './wire.js';

/** The smallest segments that are made of a large packet: smaller ones would make a thousand frames of one (tcp_min_snd_mss). */
export const MIN_SEGMENT = 48;

const FIN_AND_PSH = 0x09;
const CWR = 0x80;

/** Cuts a large TCP packet into frames, as a network card does: headers are repeated, numbered on, and summed. */
export class Segmenter {
  readonly #frame: Frame;

  /** @param page private, for one frame at a time: as large as a frame can be */
  constructor(page: Page) {
    this.#frame = new Frame(page);
  }

  /**
   * Hands each segment of a packet to `each`, valid during the call; whether that was possible: not if it is no TCP packet of its type, or
   * its segments are too small.
   */
  segment(packet: Frame, headers: Headers, each: (frame: Frame) => void): boolean {
    const { bytes, offset, length, gsoSize } = packet;
    if (gsoSize < MIN_SEGMENT || !headers.parse(bytes, offset, length) || headers.protocol !== ipProtocol.tcp)
      return false;
    if (headers.version !== (packet.gsoType === gsoType.tcpv4 ? 4 : 6)) return false;
    const { ip, transport, payload, end, version } = headers;
    const header = payload - offset;
    const frame = this.#frame;
    if (header + gsoSize > frame.bytes.length) return false;
    const out = frame.bytes;
    const flags = bytes[transport + 13] as number;
    const sequence = ((read16(bytes, transport + 4) << 16) | read16(bytes, transport + 6)) >>> 0;
    const id = read16(bytes, ip + 4);
    const part = { ip: ip - offset, transport: transport - offset };
    for (let at = payload, i = 0; at < end || i === 0; at += gsoSize, i++) {
      const size = Math.min(gsoSize, end - at);
      out.set(bytes.subarray(offset, payload));
      out.set(bytes.subarray(at, at + size), header);
      const number = (sequence + (at - payload)) >>> 0;
      write16(out, part.transport + 4, number >>> 16);
      write16(out, part.transport + 6, number & 0xffff);
      out[part.transport + 13] = flags & ~(at + size < end ? FIN_AND_PSH : 0) & ~(i > 0 ? CWR : 0);
      const total = header + size;
      if (version === 4) {
        write16(out, part.ip + 2, total - part.ip);
        write16(out, part.ip + 4, (id + i) & 0xffff);
        writeIpv4Checksum(out, part.ip);
      } else write16(out, part.ip + 4, total - part.ip - 40);
      headers.parse(out, 0, total);
      writeChecksum(out, headers);
      frame.set(0, total, checksum.validated, gsoType.none, 0);
      each(frame);
    }
    return true;
  }
}
