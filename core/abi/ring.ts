import { PeerFault } from '../errors.js';
import { type Codec, codecFor } from './codec.js';
import type { Abi } from './layout.js';
import type { Struct } from './struct.js';

/** The words of a shared ring's page (ring.h `__name##_sring`). */
export const sring = {
  reqProd: 0,
  reqEvent: 1,
  rspProd: 2,
  rspEvent: 3,
  pad: 5,
  entries: 16,
} as const satisfies Readonly<Record<string, number>>;

/** What the two ends of a ring agree on. */
export interface RingFormat<Q extends Struct = Struct, R extends Struct = Struct, Id extends string = string> {
  readonly request: Q;
  readonly response: R;
  /** The member of both that pairs a response with its request; a ring without one is answered in order. */
  readonly id?: Id;
}

/** How slots of a ring make up packets: each data slot's flags say whether another follows, the first one's whether extras do. */
export interface PacketShape<X extends Struct = Struct> {
  /** The number among a slot's members that holds its flags. */
  readonly flags: string;
  /** The flag of a slot that another data slot of its packet follows (netif.h `NETTXF_more_data`). */
  readonly moreData: number;
  /** The flag of a first slot that extras follow, before all other data (netif.h `NETTXF_extra_info`). */
  readonly extraInfo: number;
  /** What lies in a slot that is an extra; its member `flags` says by `moreExtras` whether another follows. */
  readonly extra: X;
  readonly moreExtras: number;
  /**
   * Whether who sends a packet has to publish all of its slots at once: one that does not ends the link. Without it what there is of a packet
   * stays on the ring until its rest comes.
   */
  readonly whole?: boolean;
  /** Data slots of a packet that are copied; those of a longer one are only counted. */
  readonly slots: number;
  /** Extras of a packet that are copied; those of more are only counted. */
  readonly extras: number;
}

/** How one end of a ring is set up. */
export interface RingOptions {
  /** The ABI of the ring: the frontend's. The 64-bit one without it. */
  readonly abi?: Abi;
  /**
   * How many messages the other end may publish before it notifies, 1 without it (ring.h: setting the event index further ahead). A
   * frontend never waits for more than are outstanding; a backend that holds off must look at its ring on its own account too.
   */
  readonly holdOff?: number;
  /**
   * Has a backend note each response before it puts it into its slot, so that the next one to attach to the page knows which slots hold
   * responses that were not published, and which still hold requests, wherever the one before it died. `takeUp` goes on from the notes of
   * such a one; `begin` takes nothing on the page for a note: the frontend has just shared it.
   */
  readonly journal?: 'begin' | 'takeUp';
}

/** A ring's format in one ABI. */
export interface RingShape {
  readonly request: Codec;
  readonly response: Codec;
  /** Words of a slot, which holds a request or a response. */
  readonly slotWords: number;
  /** Slots, a power of two. */
  readonly entries: number;
}

/** How many slots of `slotBytes` a ring of `bytes` has (ring.h `__RING_SIZE`). */
export const ringEntries = (bytes: number, slotBytes: number): number => {
  const fitting = Math.floor((bytes - 4 * sring.entries) / slotBytes);
  if (fitting < 1) throw new RangeError(`${bytes} bytes hold no ring of ${slotBytes}-byte slots`);
  return 1 << (31 - Math.clz32(fitting));
};

/** @throws TypeError for messages that are no whole words, which no ring of Xen has */
export const ringShape = (
  words: Int32Array,
  format: RingFormat,
  { abi = 'x86_64-abi', holdOff = 1 }: RingOptions,
): RingShape => {
  if (!Number.isInteger(holdOff) || holdOff < 1)
    throw new RangeError(`a ring holds off 1 or more messages, not ${holdOff}`);
  const request = codecFor(format.request, abi, format.id);
  const response = codecFor(format.response, abi, format.id);
  const align = Math.max(request.layout.align, response.layout.align);
  const size = (Math.max(request.layout.size, response.layout.size) + align - 1) & -align;
  if (size % 4 !== 0 || request.layout.size % 4 !== 0 || response.layout.size % 4 !== 0) {
    throw new TypeError(
      `${format.request.name} and ${format.response.name} are no whole words, so no ring can hold them`,
    );
  }
  return { request, response, slotWords: size / 4, entries: ringEntries(words.byteLength, size) };
};

/** The fault of a peer whose producer index is further ahead than `limit` messages. */
export const overflow = (index: string, prod: number, cons: number, limit: number): PeerFault =>
  new PeerFault(`${index}, with at most ${limit} to come after ${cons >>> 0},`, prod >>> 0);
