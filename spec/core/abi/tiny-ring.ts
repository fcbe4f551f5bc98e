import { BackRing, FrontRing, type RingOptions, struct, u32 } from '../../../core/index.js';

/** A ring of two words each way. */
export const tiny = {
  request: struct('tiny_request', { id: u32, value: u32 }),
  response: struct('tiny_response', { id: u32, value: u32 }),
  id: 'id',
} as const;
/** A page whose ring of 8-byte slots has exactly 4 of them. */
export const tinyPage = (): Int32Array => new Int32Array(new SharedArrayBuffer(64 + 4 * 8));
/** Where the shared indices lie (ring.h). */
export const word = { reqProd: 0, reqEvent: 1, rspProd: 2, rspEvent: 3 } as const;

/** Puts a request on the ring, and publishes it not. */
export const send = (
  front: FrontRing<typeof tiny.request, typeof tiny.response, 'id'>,
  id: number,
  value = id,
): void => {
  front.slot(id).set({ value });
  front.put();
};
/** Both ends of a ring of four slots. */
export const ends = (first = 0, options: RingOptions = {}) => {
  const words = tinyPage();
  const front = new FrontRing(words, tiny, { first, ...options });
  const back = new BackRing(words, tiny, options);
  return { words, front, back };
};
