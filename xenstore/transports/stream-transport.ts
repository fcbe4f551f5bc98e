import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Observable, Subject } from 'rxjs';
import { Disconnected } from '../../core/errors.js';
import type { StoreTransport } from '../transport.js';

/** Where xenstored listens in the domain that it runs in, unless it was told otherwise (xs_daemon_socket). */
export const XENSTORED_SOCKET = '/run/xenstored/socket';

/** The store's messages over a stream of Node's: xenstored's socket, or /dev/xen/xenbus. Each write is handed on as it is, in one piece. */
export class StreamTransport implements StoreTransport {
  readonly #stream: Duplex;
  readonly #ready$ = new Subject<void>();
  readonly ready$: Observable<void> = this.#ready$.asObservable();
  readonly #chunks: Uint8Array[] = [];
  /** Bytes of the first chunk that were read. */
  #read = 0;
  #error: Error | undefined;
  readonly #lost: Promise<Error>;

  /** @param stream belongs to the transport from now on */
  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('data', (chunk: Uint8Array) => {
      this.#chunks.push(chunk);
      this.#ready$.next();
    });
    stream.on('drain', () => this.#ready$.next());
    stream.on('error', (error: Error) => {
      this.#error ??= error;
    });
    this.#lost = new Promise((resolve) => {
      const over = (): void => {
        this.#error ??= new Disconnected('the store has closed the connection');
        resolve(this.#error);
        this.#ready$.complete();
      };
      stream.on('end', over);
      stream.on('close', over);
    });
  }

  /** Resolves, with the reason, when the stream is gone, whichever end has closed it. */
  get lost(): Promise<Error> {
    return this.#lost;
  }

  read(into: Uint8Array, offset: number, length: number): number {
    const [chunk] = this.#chunks;
    if (chunk === undefined) return 0;
    const bytes = chunk.subarray(this.#read, this.#read + length);
    into.set(bytes, offset);
    this.#read += bytes.length;
    if (this.#read === chunk.length) {
      this.#chunks.shift();
      this.#read = 0;
    }
    return bytes.length;
  }

  write(from: Uint8Array, offset: number, length: number): number {
    if (this.#error !== undefined) throw new Disconnected(this.#error.message);
    if (this.#stream.writableNeedDrain) return 0;
    this.#stream.write(from.slice(offset, offset + length));
    return length;
  }

  [Symbol.dispose](): void {
    this.#error ??= new Disconnected('this end has closed the connection');
    this.#stream.destroy();
  }
}

/** Connects to xenstored's socket. @throws the system's error: ENOENT when there is none, EACCES, ECONNREFUSED */
export const connectStore = (path: string = XENSTORED_SOCKET): Promise<StreamTransport> =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(new StreamTransport(socket));
    });
  });
