import { expect } from 'chai';
import { Subject } from 'rxjs';
import type { Page } from '../../../core/index.js';
import { checksum, Frame } from '../../../drivers/net/frame.js';
import { readCapture } from '../../../drivers/net/pcap-reader.js';
import { pcapng$ } from '../../../drivers/net/pcapng.js';
import type { Passing } from '../../../drivers/net/vif.js';
import { gsoType } from '../../../drivers/net/wire.js';

const frameIn = (bytes: Uint8Array): Frame => {
  const memory = Uint8Array.from([...new Uint8Array(9), ...bytes]);
  const page: Page = { bytes: memory, words: new Int32Array(0), [Symbol.dispose]() {} };
  const frame = new Frame(page);
  frame.set(9, bytes.length, checksum.blank, gsoType.tcpv4, 1448);
  return frame;
};

const joined = (blocks: readonly Uint8Array[]): Uint8Array => Uint8Array.from(blocks.flatMap((block) => [...block]));

describe('a capture', () => {
  /** What is written of some packets, and of how many blocks. */
  const captured = (
    ...packets: readonly Uint8Array[]
  ): { readonly file: Uint8Array; readonly blocks: Uint8Array[] } => {
    const passing$ = new Subject<Passing>();
    const blocks: Uint8Array[] = [];
    let now = 1_700_000_000_000;
    pcapng$({ name: 'vif7.0', passing$ }, () => now).subscribe((block) => blocks.push(block));
    for (const [i, bytes] of packets.entries()) {
      passing$.next({ direction: i % 2 === 0 ? 'tx' : 'rx', frame: frameIn(bytes), flags: 15, slots: 2, extras: 18 });
      now += 1.5;
    }
    passing$.complete();
    return { file: joined(blocks), blocks };
  };

  it('of a vif has an interface for each direction, and each packet’s flags, extras and checksum as its comment', () => {
    const { blocks } = captured(new Uint8Array(60).fill(1), new Uint8Array(61).fill(2));
    const types = blocks.map((block) => new DataView(block.buffer).getUint32(0, true));
    expect(types).to.deep.equal([0x0a0d0d0a, 1, 1, 6, 6]);
    const texts = blocks.map((block) => new TextDecoder('latin1').decode(block));
    expect(texts[1]).to.include('vif7.0-tx');
    expect(texts[2]).to.include('vif7.0-rx');
    expect(texts[3]).to.include(
      'tx: flags csum_blank|data_validated|more_data|extra_info; slots 2; checksum blank; extra gso tcpv4, segments of 1448; extra hash',
    );
    for (const block of blocks) {
      const view = new DataView(block.buffer);
      expect(view.getUint32(4, true)).to.equal(block.length);
      expect(view.getUint32(block.length - 4, true)).to.equal(block.length);
      expect(block.length % 4).to.equal(0);
    }
  });

  it('says of each packet what is its own, though texts are made once: no two of these are the same', () => {
    const passing$ = new Subject<Passing>();
    const seen = new Set<string>();
    pcapng$({ name: 'vif7.0', passing$ }, () => 0).subscribe((block) => {
      if (new DataView(block.buffer).getUint32(0, true) === 6)
        seen.add(/[tr]x: flags [ -~]*/.exec(new TextDecoder('latin1').decode(block))?.[0] ?? '');
    });
    let count = 0;
    const frame = frameIn(new Uint8Array(60));
    for (const direction of ['tx', 'rx'] as const)
      for (const flags of [0, 1, 2, 4, 8, 15])
        for (const slots of [1, 2, 19])
          for (const extras of [0, 16])
            for (const sum of [0, 1, 2] as const)
              for (const [type, size] of [
                [0, 0],
                [1, 1448],
                [1, 1449],
                [2, 1448],
              ] as const) {
                frame.set(9, 60, sum, type, size);
                passing$.next({ direction, frame, flags, slots, extras });
                count++;
              }
    expect(seen.size).to.equal(count);
  });

  it('is read again as it was written, with its times', () => {
    const packets = [1, 59, 60, 61, 62, 1514].map((length, i) => new Uint8Array(length).fill(i + 1));
    const read = readCapture(captured(...packets).file);
    expect(read.map(({ bytes }) => bytes)).to.deep.equal(packets);
    expect(read.map(({ time }) => Math.round(time * 2) / 2)).to.deep.equal([0, 1.5, 3, 4.5, 6, 7.5]);
  });

  const pcap = (little: boolean, magic: number): Uint8Array => {
    const file = new Uint8Array(24 + 2 * (16 + 20));
    const view = new DataView(file.buffer);
    view.setUint32(0, magic, little);
    view.setUint32(20, 1, little);
    for (const [i, at] of [24, 60].entries()) {
      view.setUint32(at, 1000 + i, little);
      view.setUint32(at + 4, 500, little);
      view.setUint32(at + 8, 20, little);
      view.setUint32(at + 12, 20, little);
      file.fill(i + 1, at + 16, at + 36);
    }
    return file;
  };

  for (const little of [true, false]) {
    for (const magic of [0xa1b2c3d4, 0xa1b23c4d]) {
      it(`is read in the older format too, ${little ? 'little' : 'big'}-endian, magic ${magic.toString(16)}`, () => {
        expect(readCapture(pcap(little, magic))).to.deep.equal([
          { time: 0, bytes: new Uint8Array(20).fill(1) },
          { time: 1000, bytes: new Uint8Array(20).fill(2) },
        ]);
      });
    }
  }

  it('that is cut short, of other packets or of nothing known is refused, wherever it ends', () => {
    const { file } = captured(new Uint8Array(60).fill(1));
    const blocksEnd = new Set([file.length]);
    for (let at = 0; at < file.length; ) {
      at += new DataView(file.buffer).getUint32(at + 4, true);
      blocksEnd.add(at);
    }
    for (let end = 0; end < file.length; end++) {
      if (!blocksEnd.has(end)) expect(() => readCapture(file.subarray(0, end)), String(end)).to.throw(RangeError);
    }
    expect(() => readCapture(new Uint8Array(100))).to.throw(RangeError, 'neither pcap nor pcapng');
    const other = pcap(true, 0xa1b2c3d4);
    other[20] = 101;
    expect(() => readCapture(other)).to.throw(RangeError, 'link type 101');
    const short = pcap(true, 0xa1b2c3d4);
    short[24 + 12] = 30;
    expect(() => readCapture(short)).to.throw(RangeError, '20 of a packet’s 30'.replace('’', "'"));
  });
});
