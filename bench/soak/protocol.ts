/** What a guest of the soak is started with. */
export type GuestCommandLine = {
  readonly seed: number;
  /** Its part of the image, in sectors of 512 bytes. */
  readonly first: number;
  readonly sectors: number;
  /** The model of that part, in shared memory. */
  readonly model: Uint8Array;
};

/** What a guest tells. */
export type GuestReport =
  | {
      readonly event: 'stands';
      /** Since the guest was booted. */
      readonly requests: number;
      readonly bytes: number;
      /** Requests that were issued again, because a link ended before they were answered. */
      readonly again: number;
      readonly connections: number;
      /** Bytes in use on its own heap. */
      readonly heapUsed: number;
    }
  /** The disk holds what it must not, or answered what it must not. */
  | { readonly event: 'differs'; readonly text: string }
  /** The guest was asked to stop: its whole part has been read, and was right. */
  | { readonly event: 'done' };

/** A domain's own node by which it is told what to do. */
export const ORDERS = 'data/orders';
/** `stop`: finish; `exit` and `throw`: end the thread, at once and by an error that nobody catches. */
export type Order = 'stop' | 'exit' | 'throw';
