import { expect } from 'chai';
import fc from 'fast-check';
import {
  encodeMessage,
  HEADER_SIZE,
  MessageReader,
  OversizedMessage,
  wireError,
  type XsMessage,
  xs,
  xsErrors,
  xsName,
} from '../../xenstore/wire.js';

const u32 = fc.nat(0xffffffff);
const message = fc.record({
  type: u32,
  reqId: u32,
  txId: u32,
  payload: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ minLength: 4090, maxLength: 4096 })),
});

/** A source that gives `bytes` in portions of the given sizes, and then no more. */
const source = (bytes: Uint8Array, portions: readonly number[]) => {
  let at = 0;
  let portion = 0;
  let left = portions[0] ?? bytes.length;
  return {
    take: (into: Uint8Array, offset: number, length: number): number => {
      const count = Math.min(length, left, bytes.length - at);
      into.set(bytes.subarray(at, at + count), offset);
      at += count;
      left -= count;
      return count;
    },
    more: (): boolean => {
      left = portions[++portion] ?? bytes.length;
      return portion <= portions.length;
    },
    get taken(): number {
      return at;
    },
  };
};

describe('the wire (io/xs_wire.h)', () => {
  it('has a header of four little-endian words: type, req_id, tx_id, len', () => {
    const bytes = encodeMessage({
      type: xs.WRITE,
      reqId: 0x01020304,
      txId: 0xfffffffe,
      payload: Uint8Array.of(97, 0, 98),
    });
    expect(Buffer.from(bytes).toString('hex')).to.equal('0b00000004030201feffffff03000000610062');
  });

  it('numbers its messages as xsd_sockmsg_type does', () => {
    expect(xs).to.include({ CONTROL: 0, WATCH: 4, WRITE: 11, WATCH_EVENT: 15, ERROR: 16, RESET_WATCHES: 21 });
    expect(xs).to.include({ DIRECTORY_PART: 22, GET_FEATURE: 23, SET_FEATURE: 24, GET_QUOTA: 25, SET_QUOTA: 26 });
    expect(xsName(15)).to.equal('WATCH_EVENT');
    expect(xsName(0xffff)).to.equal('type 65535');
  });

  it('names the errors of xsd_errors, and calls every other EINVAL (xenstored send_error)', () => {
    expect(xsErrors).to.have.length(16);
    expect(wireError(2)).to.equal('ENOENT');
    expect(wireError(1)).to.equal('EPERM');
    expect(wireError(3)).to.equal('EINVAL');
  });

  it('refuses to send more than 4096 bytes of payload', () => {
    const long = { type: xs.READ, reqId: 1, txId: 0, payload: new Uint8Array(4097) };
    expect(() => encodeMessage(long)).to.throw(RangeError, 'READ has 4097 bytes');
    expect(encodeMessage({ ...long, payload: new Uint8Array(4096) })).to.have.length(HEADER_SIZE + 4096);
  });

  it('takes a header that claims more than 4096 bytes for a fault, before any of them comes', () => {
    const header = new Uint8Array(HEADER_SIZE);
    new DataView(header.buffer).setUint32(12, 4097, true);
    expect(() => new MessageReader().next(source(header, [HEADER_SIZE]).take)).to.throw(
      OversizedMessage,
      'xsd_sockmsg len cannot be 4097',
    );
  });

  it('reads any messages, however they are split, and no byte beyond the one it is asked for', () => {
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 1500 }), { maxLength: 40 }),
        (messages, portions) => {
          const encoded = messages.map(encodeMessage);
          const from = source(Uint8Array.from(encoded.flatMap((bytes) => [...bytes])), portions);
          const reader = new MessageReader();
          const got: XsMessage[] = [];
          let sent = 0;
          do {
            for (let next = reader.next(from.take); next !== undefined; next = reader.next(from.take)) {
              sent += encoded[got.length]?.length ?? 0;
              got.push(next);
              expect(from.taken).to.equal(sent);
            }
          } while (from.more());
          expect(got).to.deep.equal(messages);
        },
      ),
    );
  });

  it('begins anew after a reset in the middle of a message', () => {
    const reader = new MessageReader();
    const first = encodeMessage({ type: xs.READ, reqId: 1, txId: 0, payload: Uint8Array.of(1, 2, 3) });
    expect(reader.next(source(first, [18]).take)).to.equal(undefined);
    reader.reset();
    expect(reader.next(source(first, [19]).take)).to.deep.include({ reqId: 1 });
  });
});
