import { Observable } from 'rxjs';
import type { Domid, Port } from '../core/abi/units.js';
import { type Permission, type StoreOperations, XenStore } from '../core/domain/xenstore.js';
import { PeerFault, XenError } from '../core/errors.js';
import { MessageClient } from './message-client.js';
import { fromStrings, join, oneString, strings } from './payload.js';
import { formatPermission, parsePermissions } from './permissions.js';
import type { StoreTransport } from './transport.js';
import type { XsName } from './wire.js';

/** How often a transaction, or a listing in parts, is tried again when others change what it read. */
export const RETRIES_MAX = 1000;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

const isError = (error: unknown, code: string): boolean => error instanceof XenError && error.code === code;

/** Whether an error may come of a view of the store that never was. */
const isTorn = (error: unknown): error is XenError =>
  error instanceof XenError && (error.code === 'EINVAL' || error.code === 'EIO' || error.code === 'ENOENT');

/** The strings of a request. @throws XenError EINVAL when one holds a NUL, which would end it early */
const encode = (what: string, ...texts: readonly string[]): Uint8Array => {
  if (texts.some((text) => text.includes('\0'))) throw new XenError('EINVAL', `${what}: a NUL cannot be sent`);
  return join(...texts.map((text) => encoder.encode(`${text}\0`)));
};

/** Reads and writes of one transaction, or of none. */
class WireOperations implements StoreOperations {
  readonly #client: MessageClient;
  readonly #txId: number;
  #ended = false;
  /** What the store said no with. */
  readonly refusals = new WeakSet<object>();

  constructor(client: MessageClient, txId = 0) {
    this.#client = client;
    this.#txId = txId;
  }

  /** Its number can be given to another transaction from now on, so nothing more is sent with it. */
  end(): void {
    this.#ended = true;
  }

  async read(path: string): Promise<string | undefined> {
    const value = await this.#ask('READ', path);
    return value && decoder.decode(value);
  }

  async directory(path: string): Promise<readonly string[] | undefined> {
    try {
      const names = await this.#ask('DIRECTORY', path);
      return names && strings(names);
    } catch (error) {
      if (!isError(error, 'E2BIG')) throw error;
      return this.#directoryParts(path);
    }
  }

  async write(path: string, value: string): Promise<void> {
    await this.#send('WRITE', path, join(encode(`WRITE ${path}`, path), encoder.encode(value)));
  }

  async mkdir(path: string): Promise<void> {
    await this.#send('MKDIR', path);
  }

  async rm(path: string): Promise<void> {
    await this.#ask('RM', path);
  }

  async getPermissions(path: string): Promise<readonly Permission[] | undefined> {
    const permissions = await this.#ask('GET_PERMS', path);
    return permissions && parsePermissions(strings(permissions));
  }

  async setPermissions(path: string, permissions: readonly Permission[]): Promise<void> {
    await this.#send('SET_PERMS', path, encode(`SET_PERMS ${path}`, path, ...permissions.map(formatPermission)));
  }

  /** The reply; undefined for ENOENT. */
  async #ask(name: XsName, path: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#send(name, path);
    } catch (error) {
      if (isError(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  async #send(name: XsName, path: string, payload = encode(`${name} ${path}`, path)): Promise<Uint8Array> {
    if (this.#ended)
      throw new TypeError(`${name} ${path}: the transaction has ended; await everything within its body`);
    try {
      return await this.#client.request(name, payload, `${name} ${path}`, this.#txId);
    } catch (error) {
      if (error instanceof XenError) this.refusals.add(error);
      throw error;
    }
  }

  /** A listing longer than a reply can be: in parts, again from the start when the node changes in between. */
  async #directoryParts(path: string): Promise<readonly string[] | undefined> {
    for (let attempt = 0; attempt < RETRIES_MAX; attempt++) {
      const names: string[] = [];
      let offset = 0;
      let first: string | undefined;
      for (;;) {
        const payload = encode(`DIRECTORY_PART ${path}`, path, String(offset));
        const [generation, ...part] = strings(await this.#send('DIRECTORY_PART', path, payload));
        first ??= generation;
        if (generation !== first) break;
        const last = part.at(-1) === '';
        names.push(...(last ? part.slice(0, -1) : part));
        if (last) return names;
        if (part.length === 0) throw new PeerFault('DIRECTORY_PART without an end');
        for (const name of part) offset += name.length + 1;
      }
    }
    throw new XenError('EAGAIN', `DIRECTORY_PART ${path}: changed in each of ${RETRIES_MAX} tries`);
  }
}

/** A client of the store over any stream of its messages. */
export class WireXenStore extends XenStore implements Disposable {
  readonly #client: MessageClient;
  readonly #plain: WireOperations;
  #tokens = 0;

  constructor(transport: StoreTransport) {
    super();
    this.#client = new MessageClient(transport);
    this.#plain = new WireOperations(this.#client);
  }

  override read(path: string): Promise<string | undefined> {
    return this.#plain.read(path);
  }

  override directory(path: string): Promise<readonly string[] | undefined> {
    return this.#plain.directory(path);
  }

  override write(path: string, value: string): Promise<void> {
    return this.#plain.write(path, value);
  }

  override mkdir(path: string): Promise<void> {
    return this.#plain.mkdir(path);
  }

  override rm(path: string): Promise<void> {
    return this.#plain.rm(path);
  }

  override getPermissions(path: string): Promise<readonly Permission[] | undefined> {
    return this.#plain.getPermissions(path);
  }

  override setPermissions(path: string, permissions: readonly Permission[]): Promise<void> {
    return this.#plain.setPermissions(path, permissions);
  }

  /** Watches that somebody is subscribed to. */
  get watches(): number {
    return this.#client.listening;
  }

  /** @throws XenError EAGAIN when others got in between in each of {@link RETRIES_MAX} tries; otherwise as the token says */
  override async transaction<T>(body: (store: StoreOperations) => Promise<T>): Promise<T> {
    let refused = '';
    for (let attempt = 0; attempt < RETRIES_MAX; attempt++) {
      const txId = Number(oneString(await this.#simple('TRANSACTION_START', '')));
      if (!(txId > 0)) throw new PeerFault('the number of a transaction', txId);
      const operations = new WireOperations(this.#client, txId);
      const end = (how: 'T' | 'F'): Promise<Uint8Array> => {
        operations.end();
        return this.#client.request('TRANSACTION_END', fromStrings(how), `TRANSACTION_END ${how}`, txId);
      };
      let result: T;
      try {
        result = await body(operations);
      } catch (error) {
        // Whatever the store says to it, the transaction is over and the body's error is the one that counts.
        await end('F').catch(() => {});
        // The store takes no snapshot: a node may be seen from before another's commit and its parent from after it, which is refused
        // here (xenstored `_rm`, `remove_child_entry`) and would be EAGAIN at the end. What is refused twice in the same way, is so.
        if (!isTorn(error) || !operations.refusals.has(error) || error.message === refused) throw error;
        refused = error.message;
        continue;
      }
      try {
        await end('T');
        return result;
      } catch (error) {
        if (isError(error, 'EAGAIN')) continue;
        // The owner of what is written has gone meanwhile, and with it the node (xenstored `acc_fix_domains`).
        if (!isError(error, 'ENOMEM') || refused === 'ENOMEM') throw error;
        refused = 'ENOMEM';
      }
    }
    throw new XenError('EAGAIN', `TRANSACTION_END T: others changed what it read in each of ${RETRIES_MAX} tries`);
  }

  override watch$(path: string): Observable<string> {
    return new Observable((subscriber) => {
      const token = `w${++this.#tokens}`;
      this.#client.listen(token, {
        event: (changed) => subscriber.next(changed),
        lost: (error) => (error === undefined ? subscriber.complete() : subscriber.error(error)),
      });
      let set = true;
      this.#simple('WATCH', path, token).catch((error: unknown) => {
        set = false;
        subscriber.error(error);
      });
      return () => {
        if (!this.#client.unlisten(token) || !set) return;
        // Nobody is left to be told; without the connection the watch is gone as well.
        this.#simple('UNWATCH', path, token).catch(() => {});
      };
    });
  }

  /**
   * Tells the store to serve a domain on its ring page, granted as reference 1, and on an unbound port of it; for dom0.
   * @throws XenError EINVAL, ESRCH, EACCES
   */
  async introduce(domid: Domid, port: Port): Promise<void> {
    // The second parameter was the page's frame number; xenstored has not looked at it since it maps by grant.
    await this.#simple('INTRODUCE', String(domid), '0', String(port));
  }

  /** Tells the store that a domain is gone, so that its nodes go as well; for dom0. @throws XenError ENOENT, EACCES, EINVAL */
  async release(domid: Domid): Promise<void> {
    await this.#simple('RELEASE', String(domid));
  }

  /** Whether the store serves a domain; for dom0. @throws XenError EACCES */
  async isIntroduced(domid: Domid): Promise<boolean> {
    return oneString(await this.#simple('IS_DOMAIN_INTRODUCED', String(domid))) === 'T';
  }

  /** A domain's own directory, against which its relative paths are taken. */
  async domainPath(domid: Domid): Promise<string> {
    const payload = await this.#simple('GET_DOMAIN_PATH', String(domid));
    const path = oneString(payload);
    if (path === undefined) throw new PeerFault('GET_DOMAIN_PATH without a path');
    return path;
  }

  /** Closes the connection: what waits is rejected with Disconnected, and watches complete. */
  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }

  async #simple(name: XsName, ...texts: readonly string[]): Promise<Uint8Array> {
    const what = `${name} ${texts.join(' ')}`.trimEnd();
    return this.#client.request(name, encode(what, ...texts), what);
  }
}
