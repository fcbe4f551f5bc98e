import { BackRing, FrontRing, type GrantRef, grantRef, i16, type Slot, struct, u16 } from '../../../core/index.js';
import { Requests } from '../../../core/xenbus/requests.js';
import { Responses } from '../../../core/xenbus/responses.js';
import { hookAtomics } from '../../support/atomics.js';

/** A ring of 8-byte slots, paired by `id`. */
export const paired = {
  request: struct('vrng_request', { id: u16, length: u16, gref: grantRef }),
  response: struct('vrng_response', { id: u16, status: i16 }),
  id: 'id',
} as const;

/** The same ring, answered in order. */
export const unpaired = { request: paired.request, response: paired.response } as const;

type Linger = (isThere: () => boolean) => boolean;

/** Both pumps over one ring of four slots, with what they raised, reported and refused. */
export const pumps = (first = 0, linger: Partial<Record<'front' | 'back', Linger>> = {}) => {
  const words = new Int32Array(new SharedArrayBuffer(64 + 4 * 8));
  const notified = { front: 0, back: 0 };
  const again = { front: 0, back: 0 };
  const errors: unknown[] = [];
  const refused: number[] = [];
  const onError = (error: unknown): void => {
    errors.push(error);
  };
  const requests = new Requests(new FrontRing(words, paired, { first }), {
    notify: () => {
      notified.back++;
    },
    again: () => {
      again.front++;
    },
    ...(linger.front && { linger: linger.front }),
    onError,
  });
  const responses = new Responses(new BackRing(words, paired), {
    notify: () => {
      notified.front++;
    },
    again: () => {
      again.back++;
    },
    ...(linger.back && { linger: linger.back }),
    refuse: (response, errno, request) => {
      refused.push(request.length);
      response.status = -errno;
    },
    onError,
  });
  return { words, requests, responses, notified, again, errors, refused };
};

/** Fills a request of `length` bytes. */
export const ask =
  (length: number) =>
  (slot: Slot<typeof paired.request, 'id'>): void => {
    slot.set({ length, gref: 9 as GrantRef });
  };

/** Lets all promises that can go on do so. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Runs what publishes on `words`, and counts how often a producer index is written there. */
export const publications = (words: Int32Array, index: number, run: () => unknown): number => {
  let count = 0;
  hookAtomics(
    { after: (of, word, _, kind) => void (of === words && word === index && kind === 'store' && count++) },
    run,
  );
  return count;
};
