/** A packet of a capture. */
export interface CapturedPacket {
  /** Milliseconds since the first packet. */
  readonly time: number;
  readonly bytes: Uint8Array;
}

const ETHERNET = 1;
const pcapMagic = { micro: 0xa1b2c3d4, nano: 0xa1b23c4d } as const;
const SECTION = 0x0a0d0d0a;
const BYTE_ORDER = 0x1a2b3c4d;

/** A time in ms, at first of the file's own beginning. */
interface Timed {
  readonly ms: number;
  readonly bytes: Uint8Array;
}

/**
 * The Ethernet packets of a pcap or pcapng file, in either byte order.
 * @throws RangeError for a file that is neither, is cut short, or holds other than whole Ethernet packets
 */
export const readCapture = (file: Uint8Array): readonly CapturedPacket[] => {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 24) throw new RangeError('it is too short for a capture');
  const packets = view.getUint32(0, true) === SECTION ? [...pcapng(file, view)] : [...pcap(file, view)];
  const first = packets[0]?.ms ?? 0;
  return packets.map(({ ms, bytes }) => ({ time: ms - first, bytes }));
};

const whole = (file: Uint8Array, at: number, captured: number, length: number): Uint8Array => {
  if (captured !== length)
    throw new RangeError(`it holds ${captured} of a packet's ${length} bytes: capture whole packets`);
  if (at + captured > file.length) throw new RangeError('it is cut short in the middle of a packet');
  return file.subarray(at, at + captured);
};

function* pcap(file: Uint8Array, view: DataView): Generator<Timed> {
  const little = [true, false].find((order) =>
    (Object.values(pcapMagic) as readonly number[]).includes(view.getUint32(0, order)),
  );
  if (little === undefined) throw new RangeError('it is neither pcap nor pcapng');
  const unit = view.getUint32(0, little) === pcapMagic.nano ? 1e6 : 1e3;
  const link = view.getUint32(20, little) & 0xfffffff;
  if (link !== ETHERNET) throw new RangeError(`its packets are of link type ${link}, not of Ethernet`);
  for (let at = 24; at < file.length; ) {
    if (at + 16 > file.length) throw new RangeError('it is cut short in the middle of a packet');
    const [seconds, part, captured, length] = [0, 4, 8, 12].map((i) => view.getUint32(at + i, little)) as [
      number,
      number,
      number,
      number,
    ];
    yield { ms: seconds * 1000 + part / unit, bytes: whole(file, at + 16, captured, length) };
    at += 16 + captured;
  }
}

function* pcapng(file: Uint8Array, view: DataView): Generator<Timed> {
  let little = true;
  /** Of each interface of the section, how many of its units a millisecond has. */
  let units: number[] = [];
  for (let at = 0; at < file.length; ) {
    if (at + 12 > file.length) throw new RangeError('it is cut short in the middle of a block');
    if (view.getUint32(at, true) === SECTION) {
      little = view.getUint32(at + 8, true) === BYTE_ORDER;
      if (!little && view.getUint32(at + 8, false) !== BYTE_ORDER) throw new RangeError('its byte order is none');
      units = [];
    }
    const type = view.getUint32(at, little);
    const length = view.getUint32(at + 4, little);
    if (length < 12 || length % 4 !== 0 || at + length > file.length)
      throw new RangeError('it is cut short in the middle of a block');
    if (type === 1) units.push(interfaceUnit(view, at, length, little));
    if (type === 6) {
      const unit = units[view.getUint32(at + 8, little)];
      if (unit === undefined || length < 32)
        throw new RangeError('it has a packet of an interface that it does not name');
      const ticks = view.getUint32(at + 12, little) * 2 ** 32 + view.getUint32(at + 16, little);
      const captured = view.getUint32(at + 20, little);
      if (captured > length - 32) throw new RangeError('it has a packet that is longer than its block');
      yield { ms: ticks / unit, bytes: whole(file, at + 28, captured, view.getUint32(at + 24, little)) };
    }
    at += length;
  }
}

const interfaceUnit = (view: DataView, at: number, length: number, little: boolean): number => {
  const link = view.getUint16(at + 8, little);
  if (link !== ETHERNET) throw new RangeError(`it has packets of link type ${link}, not of Ethernet`);
  for (let option = at + 16; option + 4 <= at + length - 4; ) {
    const code = view.getUint16(option, little);
    const size = view.getUint16(option + 2, little);
    if (code === 9 && size === 1) {
      const value = view.getUint8(option + 4);
      return ((value & 0x80) === 0 ? 10 ** value : 2 ** (value & 0x7f)) / 1000;
    }
    if (code === 0) break;
    option += 4 + ((size + 3) & ~3);
  }
  return 1000;
};
