import { PeerFault, XenError } from '../core/errors.js';
import { fromStrings } from './payload.js';
import type { Caller } from './permissions.js';
import { ringError } from './ring-page.js';
import { TRANSACTION_NODES_MAX, Transaction } from './transaction.js';
import type { StoreTransport } from './transport.js';
import type { Watch } from './watches.js';
import { encodeMessage, MessageReader, OversizedMessage, PAYLOAD_MAX, type XsMessage, xs, xsName } from './wire.js';

/** Replies that may wait to be read before no more requests are (xenstored `outstanding`). */
export const OUTSTANDING_MAX = 20;

/** Bytes that may wait for a guest before further events for it are lost (xenstored's hard quota `memory`). */
export const PENDING_MAX = 2560 * 1024;

interface Outgoing {
  readonly bytes: Uint8Array;
  /** Path and token of an event that merges with a later one that is the same. */
  readonly mergeable: string | undefined;
  readonly reply: boolean;
}

/** One client of the store: what it has open, and what waits to be written to it. */
export class Connection implements Caller {
  readonly domid: number;
  readonly privileged: boolean;
  /** The domain that this one also acts for (SET_TARGET). */
  target: number | undefined;
  /** The features that it may use. */
  features: number;
  /** In the order in which they were set. */
  readonly watches: Watch[] = [];
  /** Its open transactions, by their number. */
  readonly transactions = new Map<number, Transaction>();
  readonly #transport: StoreTransport;
  readonly #reader = new MessageReader();
  readonly #source = (into: Uint8Array, offset: number, length: number): number =>
    this.#transport.read(into, offset, length);
  #out: Outgoing[] = [];
  #written = 0;
  #pending = 0;
  #replies = 0;
  readonly #events = new Set<string>();
  #nextTransaction = 1;
  #dropped = false;

  constructor(domid: number, transport: StoreTransport, features: number) {
    this.domid = domid;
    this.privileged = domid === 0;
    this.#transport = transport;
    this.features = features;
  }

  /** Whether it is no longer served, because it broke the protocol or was released. */
  get dropped(): boolean {
    return this.#dropped;
  }

  /** Bytes that wait to be written. */
  get pending(): number {
    return this.#pending;
  }

  /**
   * Writes what there is room for, then hands on at most one request; a client that does not read its replies is not read.
   * @returns whether anything was done
   * @throws PeerFault when the client broke the protocol; {@link drop} it
   */
  step(handle: (message: XsMessage) => void): boolean {
    const written = this.#flush();
    if (this.#replies >= OUTSTANDING_MAX) return written;
    const message = this.#reader.next(this.#source);
    if (message === undefined) return written;
    handle(message);
    this.#flush();
    return true;
  }

  /** Queues a reply. @throws XenError E2BIG when it is too long */
  reply(to: XsMessage, payload: Uint8Array, type = to.type): void {
    if (payload.length > PAYLOAD_MAX) throw new XenError('E2BIG', `${xsName(type)} of ${payload.length} bytes`);
    this.#replies++;
    this.#push({ bytes: encodeMessage({ ...to, type, payload }), mergeable: undefined, reply: true });
  }

  /**
   * Queues an event, unless the same one waits already (special ones never merge), it is longer than a payload can be
   * (XSA-324), or a guest does not read what it has (xenstored `send_event`).
   */
  sendEvent(watch: Watch, path: string): void {
    const payload = fromStrings(path.slice(watch.prefix), watch.token);
    if (payload.length > PAYLOAD_MAX || this.#dropped) return;
    const mergeable = path.startsWith('@') ? undefined : `${path.slice(watch.prefix)}\0${watch.token}`;
    if (mergeable !== undefined && this.#events.has(mergeable)) return;
    const bytes = encodeMessage({ type: xs.WATCH_EVENT, reqId: 0, txId: 0, payload });
    if (!this.privileged && this.#pending + bytes.length > PENDING_MAX) return;
    if (mergeable !== undefined) this.#events.add(mergeable);
    this.#push({ bytes, mergeable, reply: false });
  }

  /** A new transaction; numbers run through 32 bits, without 0 and those in use. */
  startTransaction(): Transaction {
    while (this.#nextTransaction === 0 || this.transactions.has(this.#nextTransaction)) this.#countTransaction();
    const transaction = new Transaction(this.#nextTransaction, this.privileged ? Infinity : TRANSACTION_NODES_MAX);
    this.#countTransaction();
    this.transactions.set(transaction.id, transaction);
    return transaction;
  }

  /** Forgets watches and transactions (RESET_WATCHES). */
  resetWatches(): void {
    this.watches.length = 0;
    this.transactions.clear();
  }

  /** Begins anew on the same transport, after a reconnect or a second INTRODUCE: everything that was under way is gone. */
  reset(): void {
    this.resetWatches();
    this.#reader.reset();
    this.#clear();
    this.#dropped = false;
  }

  /** Serves the client no longer. @returns what to put into the ring page's `error` */
  drop(fault?: Error): number {
    this.reset();
    this.#dropped = true;
    if (!(fault instanceof PeerFault)) return ringError.communication;
    return fault instanceof OversizedMessage ? ringError.protocol : ringError.ringIndex;
  }

  #countTransaction(): void {
    this.#nextTransaction = (this.#nextTransaction + 1) >>> 0;
  }

  #push(message: Outgoing): void {
    this.#out.push(message);
    this.#pending += message.bytes.length;
  }

  #clear(): void {
    this.#out = [];
    this.#events.clear();
    this.#written = 0;
    this.#pending = 0;
    this.#replies = 0;
  }

  /** Writes on while there is room. */
  #flush(): boolean {
    let progress = false;
    let done = 0;
    for (const { bytes, mergeable, reply } of this.#out) {
      const count = this.#transport.write(bytes, this.#written, bytes.length - this.#written);
      progress ||= count > 0;
      this.#pending -= count;
      this.#written += count;
      if (this.#written < bytes.length) break;
      this.#written = 0;
      done++;
      if (reply) this.#replies--;
      if (mergeable !== undefined) this.#events.delete(mergeable);
    }
    if (done > 0) this.#out.splice(0, done);
    return progress;
  }
}
