import type { Observable } from 'rxjs';
import { type Permission, type StoreOperations, XenStore } from '../../core/domain/xenstore.js';
import { WireXenStore } from '../../xenstore/index.js';
import type { StreamTransport } from '../../xenstore/transports/stream-transport.js';

/**
 * The store through two connections, of which one has the watches alone: where both share a descriptor of /dev/xen/xenbus, a WATCH or
 * UNWATCH that meets another request stops the whole domain's store for ever. Linux holds the descriptor's lock while it waits for the
 * watch's reply, and its thread wants that lock to hand out the other reply first (xenbus_dev_frontend.c `xenbus_file_write`,
 * `xenbus_dev_queue_reply`).
 */
export class DeviceXenStore extends XenStore implements Disposable {
  readonly #requests: WireXenStore;
  readonly #watches: WireXenStore;

  constructor(requests: StreamTransport, watches: StreamTransport) {
    super();
    this.#requests = new WireXenStore(requests);
    this.#watches = new WireXenStore(watches);
  }

  override read(path: string): Promise<string | undefined> {
    return this.#requests.read(path);
  }

  override directory(path: string): Promise<readonly string[] | undefined> {
    return this.#requests.directory(path);
  }

  override write(path: string, value: string): Promise<void> {
    return this.#requests.write(path, value);
  }

  override mkdir(path: string): Promise<void> {
    return this.#requests.mkdir(path);
  }

  override rm(path: string): Promise<void> {
    return this.#requests.rm(path);
  }

  override getPermissions(path: string): Promise<readonly Permission[] | undefined> {
    return this.#requests.getPermissions(path);
  }

  override setPermissions(path: string, permissions: readonly Permission[]): Promise<void> {
    return this.#requests.setPermissions(path, permissions);
  }

  override transaction<T>(body: (store: StoreOperations) => Promise<T>): Promise<T> {
    return this.#requests.transaction(body);
  }

  override watch$(path: string): Observable<string> {
    return this.#watches.watch$(path);
  }

  /** Watches that somebody is subscribed to. */
  get watches(): number {
    return this.#watches.watches;
  }

  /** Closes both connections. */
  [Symbol.dispose](): void {
    this.#requests[Symbol.dispose]();
    this.#watches[Symbol.dispose]();
  }
}
