import type { Subscription } from 'rxjs';
import { type ErrnoName, errno } from '../core/abi/errno.js';
import { Disconnected, PeerFault, XenError } from '../core/errors.js';
import { oneString, strings } from './payload.js';
import type { StoreTransport } from './transport.js';
import { encodeMessage, MessageReader, PAYLOAD_MAX, type XsMessage, type XsName, xs, xsName } from './wire.js';

interface Pending {
  readonly name: XsName;
  /** What is asked, as an error tells it. */
  readonly what: string;
  readonly resolve: (payload: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/** Who is told of the events of one watch. */
export interface WatchListener {
  event(path: string): void;
  /** The connection is lost; without an error it was closed by this end. */
  lost(error: Error | undefined): void;
}

const errnoOf = (name: string | undefined): ErrnoName => {
  // oxenstored's name for a quota error, which xs_wire.h does not have.
  if (name === 'EQUOTA') return 'ENOSPC';
  return name !== undefined && name in errno ? (name as ErrnoName) : 'EINVAL';
};

/**
 * Requests and replies over a byte stream: any number under way, replies in any order and mixed with events. What the stream
 * does not take yet waits here, which is never more than what callers wait for.
 */
export class MessageClient implements Disposable {
  readonly #transport: StoreTransport;
  readonly #reader = new MessageReader();
  readonly #source = (into: Uint8Array, offset: number, length: number): number =>
    this.#transport.read(into, offset, length);
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Map<string, WatchListener>();
  readonly #subscription: Subscription;
  #out: Uint8Array[] = [];
  #written = 0;
  #nextId = 1;
  #lost: Error | undefined;

  constructor(transport: StoreTransport) {
    this.#transport = transport;
    this.#subscription = transport.ready$.subscribe({
      next: () => this.#pump(),
      complete: () => this.#lose(new Disconnected('the connection to the store is closed')),
    });
  }

  /**
   * Sends a request and waits for its reply.
   * @param what the operation and its path, for the error
   * @throws XenError as the store answers, E2BIG when the request is too long; Disconnected or PeerFault when the connection
   *   is lost before the reply
   */
  request(name: XsName, payload: Uint8Array, what: string, txId = 0): Promise<Uint8Array> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    if (payload.length > PAYLOAD_MAX) {
      return Promise.reject(new XenError('E2BIG', `${what}: a request has at most ${PAYLOAD_MAX} bytes`));
    }
    return new Promise((resolve, reject) => {
      const reqId = this.#newId();
      this.#pending.set(reqId, { name, what, resolve, reject });
      this.#out.push(encodeMessage({ type: xs[name], reqId, txId, payload }));
      this.#guard(() => this.#flush());
    });
  }

  /** How many listen. */
  get listening(): number {
    return this.#listeners.size;
  }

  /** Tells `listener` of the events that carry `token`, until {@link unlisten}. */
  listen(token: string, listener: WatchListener): void {
    if (this.#lost !== undefined) listener.lost(this.#lost);
    else this.#listeners.set(token, listener);
  }

  /** Events that carry `token` are dropped from now on. @returns whether the connection is still there */
  unlisten(token: string): boolean {
    this.#listeners.delete(token);
    return this.#lost === undefined;
  }

  /** Closes the connection; what waits is rejected with Disconnected. */
  [Symbol.dispose](): void {
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    this.#lose(new Disconnected('the connection to the store was closed by this end'));
    for (const listener of listeners) listener.lost(undefined);
    this.#transport[Symbol.dispose]();
  }

  #newId(): number {
    while (this.#nextId === 0 || this.#pending.has(this.#nextId)) this.#nextId = (this.#nextId + 1) >>> 0;
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    return id;
  }

  #pump(): void {
    this.#guard(() => {
      for (let message = this.#next(); message !== undefined; message = this.#next()) this.#take(message);
      this.#flush();
    });
  }

  #next(): XsMessage | undefined {
    return this.#lost === undefined ? this.#reader.next(this.#source) : undefined;
  }

  #take({ type, reqId, payload }: XsMessage): void {
    if (type === xs.WATCH_EVENT) {
      const [path, token] = strings(payload);
      if (path === undefined || token === undefined) throw new PeerFault('WATCH_EVENT without a path and a token');
      this.#listeners.get(token)?.event(path);
      return;
    }
    const pending = this.#pending.get(reqId);
    if (pending === undefined) return;
    this.#pending.delete(reqId);
    if (type === xs.ERROR) {
      const name = oneString(payload);
      pending.reject(new XenError(errnoOf(name), pending.what));
    } else if (type === xs[pending.name]) {
      pending.resolve(payload);
    } else {
      const fault = new PeerFault(`the reply to ${pending.name}`, xsName(type));
      pending.reject(fault);
      throw fault;
    }
  }

  #flush(): void {
    if (this.#lost !== undefined) return;
    let done = 0;
    for (const bytes of this.#out) {
      this.#written += this.#transport.write(bytes, this.#written, bytes.length - this.#written);
      if (this.#written < bytes.length) break;
      this.#written = 0;
      done++;
    }
    if (done > 0) this.#out.splice(0, done);
  }

  /** A connection on which either end broke the protocol is lost, and one whose channel is no more. */
  #guard(body: () => void): void {
    try {
      body();
    } catch (error) {
      if (error instanceof PeerFault || error instanceof Disconnected) this.#lose(error);
      else if (error instanceof XenError)
        this.#lose(new Disconnected(`the way to the store is gone: ${error.message}`));
      else throw error;
    }
  }

  #lose(error: Error): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    this.#out = [];
    this.#subscription.unsubscribe();
    const pending = [...this.#pending.values()];
    const listeners = [...this.#listeners.values()];
    this.#pending.clear();
    this.#listeners.clear();
    for (const { reject } of pending) reject(error);
    for (const listener of listeners) listener.lost(error);
  }
}
