import { Observable } from 'rxjs';
import { checksum } from './frame.js';
import type { Passing, Vif } from './vif.js';
import { extraType, gsoType, rxFlag, txFlag } from './wire.js';

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;
/** LINKTYPE_ETHERNET. */
const ETHERNET = 1;
const option = { end: 0, comment: 1, name: 2, description: 3, resolution: 9, flags: 2 } as const;
/** EPB flags: which way a packet went, as its interface saw it. */
const way = { inbound: 1, outbound: 2 } as const;

/** Packets' options that are kept. */
const KEPT_OPTIONS = 256;

const padded = (length: number): number => (length + 3) & ~3;

/** One block of a file: its type, a fixed part, and options (draft-ietf-opsawg-pcapng). */
const block = (type: number, fixed: Uint8Array, options: readonly (readonly [number, Uint8Array])[]): Uint8Array => {
  const size = options.reduce((sum, [, value]) => sum + 4 + padded(value.length), options.length > 0 ? 4 : 0);
  const length = 12 + padded(fixed.length) + size;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  bytes.set(fixed, 8);
  let at = 8 + padded(fixed.length);
  for (const [code, value] of options) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  view.setUint32(length - 4, length, true);
  return bytes;
};

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Makes the blocks of a pcapng file, which Wireshark and tcpdump read: a section, its interfaces as they come, their packets. */
export class PcapngWriter {
  #interfaces = 0;
  readonly #options = new Map<number, Uint8Array>();

  /** The block that a file begins with. */
  section(): Uint8Array {
    const fixed = new Uint8Array(16);
    const view = new DataView(fixed.buffer);
    view.setUint32(0, BYTE_ORDER, true);
    view.setUint16(4, 1, true);
    view.setBigInt64(8, -1n, true);
    return block(SECTION, fixed, [[4, text('splitring')]]);
  }

  /** Another interface; its number is how many there were before. */
  interface(name: string, description: string): { readonly number: number; readonly block: Uint8Array } {
    const fixed = new Uint8Array(8);
    new DataView(fixed.buffer).setUint16(0, ETHERNET, true);
    const bytes = block(INTERFACE, fixed, [
      [option.name, text(name)],
      [option.description, text(description)],
      [option.resolution, Uint8Array.of(9)],
    ]);
    return { number: this.#interfaces++, block: bytes };
  }

  /** A packet that went through an interface `ns` nanoseconds after 1970. */
  packet(number: number, ns: bigint, passing: Passing): Uint8Array {
    const { frame, direction } = passing;
    const options = this.#optionsOf(passing);
    const at = 28 + padded(frame.length);
    const length = at + options.length + 4;
    const bytes = new Uint8Array(length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, ENHANCED_PACKET, true);
    view.setUint32(4, length, true);
    view.setUint32(8, number, true);
    view.setUint32(12, Number(ns >> 32n), true);
    view.setUint32(16, Number(ns & 0xffffffffn), true);
    view.setUint32(20, frame.length, true);
    view.setUint32(24, frame.length, true);
    bytes.set(frame.bytes.subarray(frame.offset, frame.offset + frame.length), 28);
    bytes.set(options, at);
    bytes[at + options.length - 8] = direction === 'tx' ? way.inbound : way.outbound;
    view.setUint32(length - 4, length, true);
    return bytes;
  }

  /** The options of a packet, with the way left to be said: their text is the same for most packets, and making it costs more than all else. */
  #optionsOf(passing: Passing): Uint8Array {
    const { direction, flags, slots, frame, extras } = passing;
    const ring = ((flags & 0xffff) * 64 + (slots & 63)) * 2 + (direction === 'tx' ? 0 : 1);
    const hashed = (extras & (1 << extraType.hash)) === 0 ? 0 : 1;
    const key = (((ring * 2 + hashed) * 4 + frame.checksum) * 4 + frame.gsoType) * 65536 + frame.gsoSize;
    let options = this.#options.get(key);
    if (options === undefined) {
      const what = text(comment(passing));
      options = new Uint8Array(4 + padded(what.length) + 8 + 4);
      const view = new DataView(options.buffer);
      view.setUint16(0, option.comment, true);
      view.setUint16(2, what.length, true);
      options.set(what, 4);
      view.setUint16(4 + padded(what.length), option.flags, true);
      view.setUint16(6 + padded(what.length), 4, true);
      // Guests choose what there is to say.
      if (this.#options.size === KEPT_OPTIONS) this.#options.clear();
      this.#options.set(key, options);
    }
    return options;
  }
}

const sums = { [checksum.unknown]: 'unknown', [checksum.validated]: 'validated', [checksum.blank]: 'blank' } as const;

/** What a ring says of a packet, besides its bytes. */
const comment = ({ direction, frame, flags, slots, extras }: Passing): string => {
  const names =
    direction === 'tx'
      ? [
          [txFlag.csumBlank, 'csum_blank'],
          [txFlag.dataValidated, 'data_validated'],
          [txFlag.moreData, 'more_data'],
          [txFlag.extraInfo, 'extra_info'],
        ]
      : [
          [rxFlag.csumBlank, 'csum_blank'],
          [rxFlag.dataValidated, 'data_validated'],
          [rxFlag.moreData, 'more_data'],
          [rxFlag.extraInfo, 'extra_info'],
        ];
  const set = names.flatMap(([bit, name]) => ((flags & Number(bit)) !== 0 ? [String(name)] : []));
  const gso = `${frame.gsoType === gsoType.tcpv4 ? 'tcpv4' : 'tcpv6'}, segments of ${frame.gsoSize}`;
  const told = [
    `${direction}: flags ${set.join('|') || 'none'}`,
    `slots ${slots}`,
    `checksum ${sums[frame.checksum]}`,
    ...(frame.gsoType === gsoType.none ? [] : [`extra gso ${gso}`]),
    ...((extras & (1 << extraType.hash)) === 0 ? [] : ['extra hash']),
  ];
  return told.join('; ');
};

/** Nanoseconds since 1970 of a time in ms. */
export const nanoseconds = (ms: number): bigint => BigInt(Math.round(ms * 1000)) * 1000n;

/** The blocks of a pcapng file of a vif: its two directions are an interface each. @param now milliseconds since 1970 */
export const pcapng$ = (vif: Pick<Vif, 'name' | 'passing$'>, now: () => number): Observable<Uint8Array> =>
  new Observable((subscriber) => {
    const writer = new PcapngWriter();
    subscriber.next(writer.section());
    const numbers = { tx: 0, rx: 0 };
    for (const direction of ['tx', 'rx'] as const) {
      const { number, block } = writer.interface(`${vif.name}-${direction}`, descriptions[direction]);
      numbers[direction] = number;
      subscriber.next(block);
    }
    return vif.passing$.subscribe({
      next: (passing) => subscriber.next(writer.packet(numbers[passing.direction], nanoseconds(now()), passing)),
      complete: () => subscriber.complete(),
    });
  });

/** What the interface of a direction is called in a file. */
export const descriptions = { tx: 'what the guest sends', rx: 'what the guest is sent' } as const;
