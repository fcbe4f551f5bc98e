import { expect } from 'chai';
import fc from 'fast-check';
import { type ByteRing, ByteRingConsumer, ByteRingProducer } from '../../../core/abi/byte-ring.js';
import { PeerFault } from '../../../core/errors.js';

const ring: ByteRing = { name: 'req', data: 0, size: 1024, cons: 2048, prod: 2052 };
const small: ByteRing = { name: 'small', data: 64, size: 16, cons: 0, prod: 4 };
const START = 0xfffffff0;

const page = (start = START, at = ring) => {
  const memory = new SharedArrayBuffer(4096);
  const bytes = new Uint8Array(memory);
  const words = new Int32Array(memory);
  words[at.cons >> 2] = start | 0;
  words[at.prod >> 2] = start | 0;
  return { bytes, words };
};
const ends = (start = START, at = ring) => {
  const { bytes, words } = page(start, at);
  return {
    bytes,
    words,
    producer: new ByteRingProducer(words, bytes, at),
    consumer: new ByteRingConsumer(words, bytes, at),
  };
};
const numbers = (length: number, from = 1) => Uint8Array.from({ length }, (_, i) => (from + i * 7) & 0xff);

describe('a byte ring (io/console.h, io/xs_wire.h)', () => {
  it('is empty where the indices are equal, whatever they are', () => {
    for (const start of [0, 5, START, 0x7fffffff]) {
      const { producer, consumer } = ends(start);
      expect(consumer.available()).to.equal(0);
      expect(producer.space()).to.equal(1024);
    }
  });

  it('is full where the indices are its size apart', () => {
    const { producer, consumer, words } = ends();
    expect(producer.write(numbers(1500))).to.equal(1024);
    expect(producer.space()).to.equal(0);
    expect(producer.write(numbers(1))).to.equal(0);
    expect(consumer.available()).to.equal(1024);
    expect((words[ring.prod >> 2] as number) >>> 0).to.equal(START + 1024 - 2 ** 32);
  });

  it('carries a message split at every offset 1 … 1023, over the wrap of 32 bits', () => {
    const message = numbers(1024);
    for (let split = 1; split < 1024; split++) {
      const { producer, consumer } = ends();
      const got = new Uint8Array(1024);
      expect(producer.write(message, 0, split)).to.equal(split);
      expect(consumer.read(got)).to.equal(split);
      expect(producer.write(message, split)).to.equal(1024 - split);
      expect(consumer.read(got, split)).to.equal(1024 - split);
      expect(got).to.deep.equal(message);
    }
  });

  it('reads no more than is asked for, and leaves the rest', () => {
    const { producer, consumer } = ends();
    producer.write(numbers(10));
    const got = new Uint8Array(4);
    expect(consumer.read(got, 1, 2)).to.equal(2);
    expect([...got]).to.deep.equal([0, 1, 8, 0]);
    expect(consumer.available()).to.equal(8);
  });

  it('puts data at its offset and index modulo its size, and touches nothing else', () => {
    const { producer, bytes } = ends(14, small);
    producer.write(Uint8Array.of(1, 2, 3));
    expect([...bytes.subarray(64, 80)]).to.deep.equal([3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    expect(bytes.subarray(80).every((byte) => byte === 0)).to.equal(true);
  });

  it('moves an index only after the data: at each store of prod the bytes are there, at each of cons they are taken', () => {
    const { producer, consumer, bytes } = ends(0, small);
    const store = Atomics.store;
    const seen: string[] = [];
    const spy = ((words: Int32Array, at: number, value: number) => {
      seen.push(`${at === 1 ? 'prod' : 'cons'}=${value} data=${bytes[64]} taken=${got[0]}`);
      return store(words, at, value);
    }) as typeof Atomics.store;
    const got = new Uint8Array(4);
    Atomics.store = spy;
    try {
      producer.write(Uint8Array.of(9, 9, 9, 9));
      consumer.read(got);
    } finally {
      Atomics.store = store;
    }
    expect(seen).to.deep.equal(['prod=4 data=9 taken=0', 'cons=4 data=9 taken=9']);
  });

  it('takes a producer further ahead than the ring for a fault (XSA-38, XSA-86)', () => {
    for (const ahead of [1025, 2048, 0x80000000, 0xffffffff]) {
      const { consumer, words } = ends();
      words[ring.prod >> 2] = (START + ahead) | 0;
      expect(() => consumer.available()).to.throw(PeerFault, 'req_prod - req_cons');
      expect(() => consumer.read(new Uint8Array(1))).to.throw(PeerFault);
    }
  });

  it('takes a consumer that has passed the producer for a fault (XSA-38)', () => {
    const { producer, words } = ends();
    words[ring.cons >> 2] = (START + 1) | 0;
    expect(() => producer.space()).to.throw(PeerFault, 'req_prod - req_cons');
    expect(() => producer.write(numbers(1))).to.throw(PeerFault);
  });

  it('takes its own index, changed by the peer, for a fault', () => {
    const { producer, consumer, words } = ends();
    words[ring.cons >> 2] = (START + 8) | 0;
    words[ring.prod >> 2] = (START + 8) | 0;
    expect(() => consumer.available()).to.throw(PeerFault, 'req_cons cannot be 4294967288');
    expect(() => producer.space()).to.throw(PeerFault, 'req_prod cannot be 4294967288');
  });

  it('begins again from the page when resynced, as after a reconnect', () => {
    const { producer, consumer, words } = ends();
    producer.write(numbers(3));
    words[ring.cons >> 2] = 0;
    words[ring.prod >> 2] = 0;
    producer.resync();
    consumer.resync();
    expect(consumer.available()).to.equal(0);
    expect(producer.write(numbers(3))).to.equal(3);
    expect(consumer.read(new Uint8Array(3))).to.equal(3);
  });

  it('refuses a size that is no power of two, and data outside its page', () => {
    const { bytes, words } = page();
    expect(() => new ByteRingProducer(words, bytes, { ...ring, size: 1000 })).to.throw(RangeError, 'power of two');
    expect(() => new ByteRingConsumer(words, bytes, { ...ring, data: 3500 })).to.throw(RangeError, 'outside');
    const { producer } = ends();
    expect(() => producer.write(numbers(3), 2, 5)).to.throw(RangeError);
  });

  it('delivers any stream in order, in whatever portions it is written and read', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ write: fc.nat(40), read: fc.nat(40) }), { maxLength: 200 }),
        fc.nat(0xffffffff),
        (steps, start) => {
          const { producer, consumer } = ends(start, small);
          let sent = 0;
          let received = 0;
          for (const step of steps) {
            const out = Uint8Array.from({ length: step.write }, (_, i) => (sent + i) & 0xff);
            sent += producer.write(out);
            const into = new Uint8Array(step.read);
            const got = consumer.read(into);
            for (let i = 0; i < got; i++) expect(into[i]).to.equal((received + i) & 0xff);
            received += got;
            expect(consumer.available()).to.equal(sent - received);
            expect(producer.space()).to.equal(16 - (sent - received));
          }
        },
      ),
    );
  });
});
