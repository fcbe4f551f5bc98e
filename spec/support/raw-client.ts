import { fromStrings, fromText, join, toText } from '../../xenstore/payload.js';
import type { StoreTransport } from '../../xenstore/transport.js';
import { encodeMessage, MessageReader, type XsMessage, type XsName, xs, xsName } from '../../xenstore/wire.js';

/** One end of the store's protocol, message by message: what an expert would type at it. */
export class RawClient {
  readonly transport: StoreTransport;
  readonly name: string;
  readonly #machine: { run(): void };
  readonly #reader = new MessageReader();
  #reqId = 0;

  constructor(transport: StoreTransport, machine: { run(): void }, name = 'd0') {
    this.transport = transport;
    this.name = name;
    this.#machine = machine;
    // Without a subscriber the channel is masked and nothing would come.
    transport.ready$.subscribe();
  }

  /** Sends a request and runs the store; every message up to its reply, as `READ x` or `WATCH_EVENT /a|token`. */
  all(name: XsName | number, ...texts: readonly string[]): string[] {
    return this.inTx(0, name, ...texts);
  }

  /** As {@link all}, within a transaction. */
  inTx(txId: number, name: XsName | number, ...texts: readonly string[]): string[] {
    const value = name === 'WRITE' ? texts[1] : undefined;
    const payload = value === undefined ? fromStrings(...texts) : join(fromStrings(texts[0] ?? ''), fromText(value));
    return this.bytes(name, payload, txId);
  }

  /** As {@link all}, with any payload. */
  bytes(name: XsName | number, payload: Uint8Array, txId = 0): string[] {
    const type = typeof name === 'number' ? name : xs[name];
    const reqId = ++this.#reqId;
    this.push(encodeMessage({ type, reqId, txId, payload }));
    const seen: string[] = [];
    for (let message = this.next(); message !== undefined; message = this.next()) {
      if (message.type !== xs.WATCH_EVENT && message.reqId !== reqId) throw new Error('a reply to another request');
      seen.push(this.show(message));
      if (message.type !== xs.WATCH_EVENT) break;
    }
    return seen;
  }

  /** The reply alone: the text behind the type's name; an error's name as it is. */
  do(name: XsName | number, ...texts: readonly string[]): string {
    return this.#reply(this.all(name, ...texts));
  }

  /** As {@link do}, within a transaction. */
  doIn(txId: number, name: XsName | number, ...texts: readonly string[]): string {
    return this.#reply(this.inTx(txId, name, ...texts));
  }

  /** Starts a transaction, and returns its number. */
  start(): number {
    return Number(this.do('TRANSACTION_START', ''));
  }

  /** Ends a transaction. */
  end(txId: number, how: 'T' | 'F' = 'T'): string {
    return this.doIn(txId, 'TRANSACTION_END', how);
  }

  /** The events that wait, as `path|token`. */
  events(): string[] {
    this.#machine.run();
    const seen: string[] = [];
    for (let message = this.next(); message !== undefined; message = this.next()) {
      seen.push(this.show(message).replace(/^WATCH_EVENT /, ''));
    }
    return seen;
  }

  /** Writes bytes as the ring has room. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const count = this.transport.write(bytes, at, bytes.length - at);
      at += count;
      this.#machine.run();
      if (count === 0) throw new Error('the ring is full and the store does not read it');
    }
    this.#machine.run();
  }

  /** The next message, if the store has sent one. */
  next(): XsMessage | undefined {
    this.#machine.run();
    for (;;) {
      let moved = false;
      const message = this.#reader.next((into, offset, length) => {
        const count = this.transport.read(into, offset, length);
        moved ||= count > 0;
        return count;
      });
      if (message !== undefined || !moved) return message;
      this.#machine.run();
    }
  }

  show({ type, payload }: XsMessage): string {
    const text = toText(payload).replace(/\0$/, '').replaceAll('\0', '|');
    return `${xsName(type)} ${text}`;
  }

  #reply(seen: readonly string[]): string {
    const last = seen.at(-1) ?? 'nothing';
    return last.replace(/^[A-Z_]+ /, '');
  }
}
