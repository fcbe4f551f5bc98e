import { type ErrnoName, errno } from '../core/abi/errno.js';
import { PeerFault } from '../core/errors.js';

/** The types of message, by name (io/xs_wire.h `xsd_sockmsg_type`). */
export const xs = {
  CONTROL: 0,
  DIRECTORY: 1,
  READ: 2,
  GET_PERMS: 3,
  WATCH: 4,
  UNWATCH: 5,
  TRANSACTION_START: 6,
  TRANSACTION_END: 7,
  INTRODUCE: 8,
  RELEASE: 9,
  GET_DOMAIN_PATH: 10,
  WRITE: 11,
  MKDIR: 12,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
  IS_DOMAIN_INTRODUCED: 17,
  RESUME: 18,
  SET_TARGET: 19,
  RESTRICT: 20,
  RESET_WATCHES: 21,
  DIRECTORY_PART: 22,
  GET_FEATURE: 23,
  SET_FEATURE: 24,
  GET_QUOTA: 25,
  SET_QUOTA: 26,
} as const satisfies Readonly<Record<string, number>>;

/** The name of a message's type. */
export type XsName = keyof typeof xs;

const names = new Map<number, XsName>(Object.entries(xs).map(([name, type]) => [type, name as XsName]));

/** `WATCH_EVENT` for 15; `type 99` for one that xs_wire.h does not define. */
export const xsName = (type: number): string => names.get(type) ?? `type ${type}`;

/** The errors that have a name on the wire; the first stands for all that have none (xs_wire.h `xsd_errors`, send_error). */
export const xsErrors = [
  'EINVAL',
  'EACCES',
  'EEXIST',
  'EISDIR',
  'ENOENT',
  'ENOMEM',
  'ENOSPC',
  'EIO',
  'ENOTEMPTY',
  'ENOSYS',
  'EROFS',
  'EBUSY',
  'EAGAIN',
  'EISCONN',
  'E2BIG',
  'EPERM',
] as const satisfies readonly ErrnoName[];

/** The name that stands for an error number on the wire. */
export const wireError = (number: number): (typeof xsErrors)[number] =>
  xsErrors.find((name) => errno[name] === number) ?? 'EINVAL';

/** The most bytes of payload in either direction; a client that sends more is cut off (xs_wire.h `XENSTORE_PAYLOAD_MAX`). */
export const PAYLOAD_MAX = 4096;

/** Bytes of the header, `struct xsd_sockmsg`: type, req_id, tx_id, len, each 32 bits little-endian. */
export const HEADER_SIZE = 16;

/** One message; `payload` belongs to it alone. */
export interface XsMessage {
  readonly type: number;
  /** Chosen by the client, repeated in the reply; 0 in a WATCH_EVENT. */
  readonly reqId: number;
  /** The transaction, 0 for none. */
  readonly txId: number;
  readonly payload: Uint8Array;
}

/** A message as it goes over the wire. @throws RangeError when the payload is longer than {@link PAYLOAD_MAX} */
export const encodeMessage = ({ type, reqId, txId, payload }: XsMessage): Uint8Array => {
  if (payload.length > PAYLOAD_MAX) {
    throw new RangeError(
      `${xsName(type)} has ${payload.length} bytes of payload; no more than ${PAYLOAD_MAX} may be sent`,
    );
  }
  const bytes = new Uint8Array(HEADER_SIZE + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, reqId, true);
  view.setUint32(8, txId, true);
  view.setUint32(12, payload.length, true);
  bytes.set(payload, HEADER_SIZE);
  return bytes;
};

/** A header that claims more payload than may be sent: the connection is cut (docs/misc/xenstore.txt). */
export class OversizedMessage extends PeerFault {
  constructor(length: number) {
    super('xsd_sockmsg len', length);
  }
}

/** Moves up to `length` bytes into `into` at `offset` and returns how many. */
export type ByteSource = (into: Uint8Array, offset: number, length: number) => number;

/**
 * Takes messages from a byte stream however it is cut into pieces, and no byte beyond the end of the message: what is not yet
 * asked for stays with the sender.
 */
export class MessageReader {
  readonly #header = new Uint8Array(HEADER_SIZE);
  readonly #view = new DataView(this.#header.buffer);
  #payload: Uint8Array | undefined;
  #used = 0;

  /**
   * The next message, or undefined while it is not complete.
   * @throws OversizedMessage, and whatever the source throws
   */
  next(source: ByteSource): XsMessage | undefined {
    if (this.#payload === undefined) {
      if (!this.#fill(source, this.#header)) return undefined;
      const length = this.#view.getUint32(12, true);
      if (length > PAYLOAD_MAX) throw new OversizedMessage(length);
      this.#payload = new Uint8Array(length);
      this.#used = 0;
    }
    const payload = this.#payload;
    if (!this.#fill(source, payload)) return undefined;
    const view = this.#view;
    this.reset();
    return {
      type: view.getUint32(0, true),
      reqId: view.getUint32(4, true),
      txId: view.getUint32(8, true),
      payload,
    };
  }

  /** Forgets a message that has begun. */
  reset(): void {
    this.#payload = undefined;
    this.#used = 0;
  }

  /** Reads on until `into` is full or the source is empty. */
  #fill(source: ByteSource, into: Uint8Array): boolean {
    while (this.#used < into.length) {
      const count = source(into, this.#used, into.length - this.#used);
      if (count === 0) return false;
      this.#used += count;
    }
    return true;
  }
}
