import type { Subscription } from 'rxjs';
import type { ErrnoName } from '../core/abi/errno.js';
import { DOM0, type Domid, PAGE_SIZE, type Port } from '../core/abi/units.js';
import type { Clock } from '../core/domain/clock.js';
import type { EventChannels } from '../core/domain/event-channels.js';
import type { GrantTable, Page } from '../core/domain/grant-table.js';
import { subscribeLateEoi } from '../core/domain/late-eoi.js';
import { PeerFault, XenError } from '../core/errors.js';
import { Connection } from './connection.js';
import { domainOperations } from './domain-operations.js';
import type { DomainInfo } from './domains.js';
import { localChannelPair, type Post } from './local-channel.js';
import { type Operation, operations, type Request } from './operations.js';
import { fromStrings } from './payload.js';
import { GNTTAB_RESERVED_XENSTORE, GuestRing, StoreRing, serverFeature } from './ring-page.js';
import { Store } from './store.js';
import type { Transaction } from './transaction.js';
import type { StoreTransport } from './transport.js';
import { special } from './tree.js';
import { wireError, type XsMessage, type XsName, xs, xsName } from './wire.js';

/** What the store needs of the domain that it runs in. */
export interface XenStoreServerOptions {
  /** Maps the guests' ring pages. */
  readonly grants: GrantTable;
  /** Binds the guests' ports. */
  readonly channels: EventChannels;
  /** Runs a task later in the store's domain, never inside the call. */
  readonly post: Post;
  /** How long a guest that raises events without anything to tell is left unheard (XSA-391). */
  readonly clock: Clock;
  /** What the hypervisor says of a domain. */
  readonly domainInfo: DomainInfo;
  /**
   * Told of a client that broke the protocol, or whose channel is no more, and that is no longer served; the others are not
   * affected.
   */
  readonly onFault?: (domid: Domid, fault: PeerFault | XenError) => void;
}

interface Link {
  readonly connection: Connection;
  readonly ring: StoreRing;
  readonly subscription: Subscription;
  /** Whether its domain was introduced, rather than opened within this program. */
  readonly introduced: boolean;
}

/** Rounds of one message for each client before the store lets others of its domain run. */
const ROUNDS = 64;

const features = serverFeature.reconnection | serverFeature.error | serverFeature.watchDepth;
const ok = fromStrings('OK');

/**
 * The store: serves guests over their ring pages and programs of its own domain, one message of each in turn. It runs when a
 * channel has an upcall or a posted task comes, and does everything for a message before the next; what it writes to others
 * waits in their rings until they run.
 */
export class XenStoreServer implements Disposable {
  readonly #options: XenStoreServerOptions;
  readonly #store: Store;
  readonly #links = new Map<Connection, Link>();
  readonly #operations: ReadonlyMap<number, Operation>;
  #working = false;

  constructor(options: XenStoreServerOptions) {
    this.#options = options;
    this.#store = new Store(options.domainInfo, features);
    const all = { ...operations, ...domainOperations(this) };
    this.#operations = new Map(Object.entries(all).map(([name, operation]) => [xs[name as XsName], operation]));
  }

  /** The features that the store has, as bits of the ring page's `server_features`. */
  get features(): number {
    return features;
  }

  /** How many watches and transactions a domain has open, over all of its connections. */
  openBy(domid: Domid): { readonly watches: number; readonly transactions: number } {
    const own = this.#store.connections.filter((connection) => connection.domid === domid);
    return {
      watches: own.reduce((sum, { watches }) => sum + watches.length, 0),
      transactions: own.reduce((sum, { transactions }) => sum + transactions.size, 0),
    };
  }

  /** The store's own connection for a program of dom0, as a stream of the same bytes as a guest's; close it by disposal. */
  open(): StoreTransport {
    const memory = new SharedArrayBuffer(PAGE_SIZE);
    const page: Page = { bytes: new Uint8Array(memory), words: new Int32Array(memory), [Symbol.dispose]: () => {} };
    const [own, other] = localChannelPair(this.#options.post);
    const link = this.#serve(DOM0, new StoreRing(page, own), features, false);
    const guest = new GuestRing(page, other);
    return {
      ready$: guest.ready$,
      read: (into, offset, length) => guest.read(into, offset, length),
      write: (from, offset, length) => guest.write(from, offset, length),
      [Symbol.dispose]: () => {
        guest[Symbol.dispose]();
        this.#close(link);
      },
    };
  }

  /**
   * Maps a domain's ring page, binds its port and begins to serve it; for a domain that is served, takes its new page and port
   * and forgets what was under way (XS_INTRODUCE, XSA-425).
   * @throws XenError of the grant table or the event channel
   */
  introduce(domid: Domid, port: Port): void {
    if (domid === 0) throw new XenError('EINVAL', 'domain 0 is always served');
    const { grants, channels } = this.#options;
    const old = this.#link(domid);
    const page = grants.map(domid, [GNTTAB_RESERVED_XENSTORE]);
    let ring: StoreRing;
    try {
      ring = new StoreRing(page, channels.bindInterdomain(domid, port));
    } catch (error) {
      page[Symbol.dispose]();
      throw error;
    }
    const domain = this.#store.domains.findOrAdd(domid);
    if (old !== undefined) this.#close(old);
    const link = this.#serve(domid, ring, domain.features, true);
    link.connection.target = old?.connection.target;
    if (domain.introduced) return;
    domain.introduced = true;
    this.#store.fireSpecial(special.introduceDomain, domid);
    this.#later();
  }

  /**
   * Stops serving a domain, removes the nodes that it owned and what it was allowed, and announces it (XS_RELEASE).
   * @throws XenError ENOENT when it is not introduced
   */
  release(domid: Domid): void {
    const link = this.#link(domid);
    if (link === undefined) throw new XenError('ENOENT', `domain ${domid} is not introduced`);
    this.#close(link);
    this.#store.forget(domid);
    this.#later();
  }

  /** Lets a domain do what another may, for a device model (XS_SET_TARGET). @throws XenError ENOENT */
  setTarget(domid: Domid, target: Domid): void {
    const link = this.#link(domid);
    if (link === undefined || this.#link(target) === undefined) {
      throw new XenError('ENOENT', `domain ${link === undefined ? domid : target} is not introduced`);
    }
    link.connection.target = target;
  }

  /**
   * Looks which domains have died or shut down, and releases or announces them; to be called when the hypervisor says that
   * some domain has changed (VIRQ_DOM_EXC, xenstored `check_domains`).
   */
  checkDomains(): void {
    let announce = false;
    for (const domain of this.#store.domains.all()) {
      const state = this.#store.domains.state(domain.domid);
      if (state === undefined || (state === 'dying' && domain.introduced)) {
        const link = this.#link(domain.domid);
        if (link !== undefined) this.#close(link);
        this.#store.forget(domain.domid);
      } else if (state === 'shutdown' && domain.introduced && !domain.shutdown) {
        domain.shutdown = true;
        announce = true;
        this.#store.fireSpecial(special.releaseDomain, domain.domid, 'depth');
      }
    }
    if (announce) this.#store.fireSpecial(special.releaseDomain, 0, 'nodepth');
    this.#later();
  }

  /** Stops serving everybody, and tells them so in their pages. */
  [Symbol.dispose](): void {
    for (const link of [...this.#links.values()]) {
      if (!link.connection.dropped) link.ring.fail(link.connection.drop());
      this.#close(link);
    }
  }

  #link(domid: Domid): Link | undefined {
    return [...this.#links.values()].find(({ introduced, connection }) => introduced && connection.domid === domid);
  }

  #serve(domid: Domid, ring: StoreRing, offered: number, introduced: boolean): Link {
    const connection = new Connection(domid, ring, offered);
    ring.reset(offered);
    this.#store.connections.push(connection);
    // A program of the store's own domain is trusted with it.
    const subscription = !introduced
      ? ring.ready$.subscribe(() => this.#work())
      : subscribeLateEoi(ring.channel, this.#options.clock, () => {
          const news = ring.hasNews();
          this.#work();
          return news && !connection.dropped;
        });
    const link = { connection, ring, introduced, subscription };
    this.#links.set(connection, link);
    return link;
  }

  #close(link: Link): void {
    if (!this.#links.delete(link.connection)) return;
    this.#store.connections.splice(this.#store.connections.indexOf(link.connection), 1);
    link.connection.drop();
    link.subscription.unsubscribe();
    link.ring[Symbol.dispose]();
  }

  /** Sees to it that queued events go out, unless the store is at work anyway. */
  #later(): void {
    if (!this.#working) this.#options.post(() => this.#work());
  }

  /** Serves one message of each client in turn until none has more. */
  #work(): void {
    if (this.#working) return;
    this.#working = true;
    try {
      for (let round = 0; round < ROUNDS; round++) {
        let progress = false;
        for (const link of [...this.#links.values()]) progress = this.#step(link) || progress;
        if (!progress) return;
      }
    } finally {
      this.#working = false;
    }
    this.#later();
  }

  #step(link: Link): boolean {
    const { connection, ring } = link;
    if (!this.#links.has(connection)) return false;
    if (ring.reconnecting) {
      connection.reset();
      ring.reset(connection.features);
    }
    if (connection.dropped) return false;
    try {
      return connection.step((message) => this.#handle(connection, message));
    } catch (fault) {
      if (!(fault instanceof PeerFault || fault instanceof XenError)) throw fault;
      const error = connection.drop(fault);
      if (fault instanceof PeerFault) ring.fail(error);
      this.#options.onFault?.(connection.domid as Domid, fault);
      return false;
    }
  }

  #handle(connection: Connection, message: XsMessage): void {
    try {
      const operation = this.#operations.get(message.type);
      if (operation === undefined) throw new XenError('ENOSYS', xsName(message.type));
      if (operation.privileged === true && !connection.privileged) throw new XenError('EACCES', xsName(message.type));
      const transaction = operation.outsideTransactions === true ? undefined : this.#transaction(connection, message);
      const reply: Request['reply'] = (payload = ok) => connection.reply(message, payload);
      operation.run({ store: this.#store, connection, message, transaction, reply });
    } catch (error) {
      if (!(error instanceof XenError)) throw error;
      const name: ErrnoName = wireError(error.errno);
      connection.reply(message, fromStrings(name), xs.ERROR);
    }
  }

  #transaction(connection: Connection, { txId }: XsMessage): Transaction | undefined {
    if (txId === 0) return undefined;
    const transaction = connection.transactions.get(txId);
    if (transaction === undefined) throw new XenError('ENOENT', `transaction ${txId}`);
    return transaction;
  }
}
