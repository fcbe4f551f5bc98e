import type { Observable } from 'rxjs';

/** One end of a byte stream between a client and the store. */
export interface StoreTransport extends Disposable {
  /** Emits when there may be bytes to read, or room to write; completes when the stream is gone. */
  readonly ready$: Observable<void>;
  /**
   * Reads up to `length` bytes and returns how many, 0 for none now.
   * @throws PeerFault when the other end broke the protocol; Disconnected or XenError when it is gone
   */
  read(into: Uint8Array, offset: number, length: number): number;
  /** Writes up to `length` bytes and returns how many, 0 for none now. @throws PeerFault as {@link read} */
  write(from: Uint8Array, offset: number, length: number): number;
}
