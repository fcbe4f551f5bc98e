import { PeerFault } from '../errors.js';

/** Where one direction of a byte stream lies: byte offsets of its data and of its two 32-bit indices. */
export interface ByteRing {
  /** The stream as a fault names it: `req`, `out`. */
  readonly name: string;
  /** Offset of the first data byte in the view of the data. */
  readonly data: number;
  /** Bytes of data, a power of two. */
  readonly size: number;
  /** Offset of the consumer's index in the view of the indices. */
  readonly cons: number;
  /** Offset of the producer's index in the view of the indices. */
  readonly prod: number;
}

/** Runs shorter than this are copied byte by byte, because a view of the run costs more than that. */
const SHORT = 128;

const copy = (from: Uint8Array, at: number, to: Uint8Array, toAt: number, length: number): void => {
  if (length < SHORT) for (let i = 0; i < length; i++) to[toAt + i] = from[at + i] as number;
  else to.set(from.subarray(at, at + length), toAt);
};

/**
 * One end of a byte stream. Its own index is private and only ever written to the page: a peer that changes it there is found
 * out and not believed. The indices run free over 32 bits; equal is empty, `size` apart is full.
 */
abstract class ByteRingEnd {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #ring: ByteRing;
  readonly #ownWord: number;
  readonly #peerWord: number;
  #own: number;

  constructor(words: Int32Array, bytes: Uint8Array, ring: ByteRing, own: 'cons' | 'prod') {
    if (!(ring.size > 0) || (ring.size & (ring.size - 1)) !== 0) {
      throw new RangeError(`ring ${ring.name} must have a power of two of bytes, not ${ring.size}`);
    }
    if (ring.data + ring.size > bytes.length) throw new RangeError(`ring ${ring.name} ends outside its page`);
    this.#words = words;
    this.#bytes = bytes;
    this.#ring = ring;
    this.#ownWord = ring[own] >>> 2;
    this.#peerWord = ring[own === 'cons' ? 'prod' : 'cons'] >>> 2;
    this.#own = Atomics.load(words, this.#ownWord);
  }

  /** Takes this end's index from the page anew, after both ends have agreed to reset it (a XenStore reconnect). */
  resync(): void {
    this.#own = Atomics.load(this.#words, this.#ownWord);
  }

  /** Bytes between the indices, each index loaded once. */
  protected filled(consumer: boolean): number {
    const peer = Atomics.load(this.#words, this.#peerWord);
    const { name, size } = this.#ring;
    const own = Atomics.load(this.#words, this.#ownWord);
    if (own !== this.#own) throw new PeerFault(`${name}_${consumer ? 'cons' : 'prod'}`, own >>> 0);
    const used = (consumer ? peer - this.#own : this.#own - peer) >>> 0;
    if (used > size) throw new PeerFault(`${name}_prod - ${name}_cons`, used);
    return used;
  }

  /** Copies `length` bytes between the ring at this end's index and `other`, in two runs where the ring wraps. */
  protected move(other: Uint8Array, offset: number, length: number, consumer: boolean): void {
    if (length === 0) return;
    const { data, size } = this.#ring;
    const at = this.#own & (size - 1);
    const first = Math.min(length, size - at);
    if (consumer) {
      copy(this.#bytes, data + at, other, offset, first);
      copy(this.#bytes, data, other, offset + first, length - first);
    } else {
      copy(other, offset, this.#bytes, data + at, first);
      copy(other, offset + first, this.#bytes, data, length - first);
    }
    // The data is moved before the index tells of it: an atomic store is a full barrier.
    this.#own = (this.#own + length) | 0;
    Atomics.store(this.#words, this.#ownWord, this.#own);
  }

  protected get size(): number {
    return this.#ring.size;
  }
}

const clamp = (view: Uint8Array, offset: number, length: number): void => {
  if (offset < 0 || length < 0 || offset + length > view.length) {
    throw new RangeError(`${length} bytes at ${offset} lie outside a buffer of ${view.length}`);
  }
};

/**
 * The reading end of a byte stream over shared memory: console, xenstore, vchan, 9pfs. Each byte is copied once into the
 * caller's own buffer (io/console.h, io/xs_wire.h, io/libxenvchan.h, io/9pfs.h).
 */
export class ByteRingConsumer extends ByteRingEnd {
  /**
   * @param words the words that hold both indices
   * @param bytes the bytes that hold the data
   */
  constructor(words: Int32Array, bytes: Uint8Array, ring: ByteRing) {
    super(words, bytes, ring, 'cons');
  }

  /** Bytes that can be read now. @throws PeerFault when the indices are more than the ring apart (XSA-38, XSA-86) */
  available(): number {
    return this.filled(true);
  }

  /** Reads up to `length` bytes into `into`, and returns how many. @throws PeerFault as {@link available} */
  read(into: Uint8Array, offset = 0, length = into.length - offset): number {
    clamp(into, offset, length);
    const count = Math.min(length, this.filled(true));
    this.move(into, offset, count, true);
    return count;
  }
}

/** The writing end of a byte stream over shared memory; see {@link ByteRingConsumer}. */
export class ByteRingProducer extends ByteRingEnd {
  /**
   * @param words the words that hold both indices
   * @param bytes the bytes that hold the data
   */
  constructor(words: Int32Array, bytes: Uint8Array, ring: ByteRing) {
    super(words, bytes, ring, 'prod');
  }

  /** Bytes that can be written now. @throws PeerFault when the indices are more than the ring apart (XSA-38, XSA-86) */
  space(): number {
    return this.size - this.filled(false);
  }

  /** Writes up to `length` bytes of `from`, and returns how many. @throws PeerFault as {@link space} */
  write(from: Uint8Array, offset = 0, length = from.length - offset): number {
    clamp(from, offset, length);
    const count = Math.min(length, this.size - this.filled(false));
    this.move(from, offset, count, false);
    return count;
  }
}
