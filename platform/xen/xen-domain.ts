import {
  asDomid,
  asError,
  boot,
  Cleanup,
  Domain,
  type DomainConfig,
  type DomainModule,
  type Domid,
  errorText,
  type LogEntry,
  PeerFault,
  type Plain,
  Program,
  type XenStore,
} from '../../core/index.js';
import type { MachineLogEntry } from '../../core/toolstack/index.js';
import { faultEntry } from '../hypervisor/fault-entry.js';
import { HostClock } from '../hypervisor/host-clock.js';
import { Arena } from './arena.js';
import { bindXenDomain } from './bind-domain.js';
import { checkXen, openDevice, type XenDevice } from './device.js';
import { XenEventChannels } from './event-channels.js';
import { XenGrantTable } from './grant-table.js';
import { loadLibc } from './libc.js';
import { type OpenStore, openStore, type StoreWay } from './open-store.js';

/** What the code in the domain is started with, and where it tells what. */
export interface XenDomainOptions extends Pick<DomainConfig, 'cmdline' | 'offer'> {
  /** What the log calls the domain; its name in the store without it. */
  readonly name?: string;
  /** How the store is reached; by xenstored's socket without it, where there is one. */
  readonly store?: StoreWay;
  readonly log?: (entry: MachineLogEntry) => void;
  readonly report?: (value: Plain) => void;
}

/** What a process holds of its domain: each number is zero when all devices are gone. */
export interface XenHoldings {
  /** Event channels that are open. */
  readonly ports: number;
  /** Runs of pages that are granted to others. */
  readonly grants: number;
  /** Runs of others' pages that are mapped. */
  readonly mappings: number;
  /** Runs of own pages handed out. */
  readonly pages: number;
  readonly watches: number;
}

/**
 * The domain of real Xen that this process runs in, dom0 or another, as the code of a driver sees any domain: its event channels, grants and
 * the store, through the devices of Linux. What it holds goes back when it is disposed of, and when the process ends, however it does.
 */
export class XenDomain implements Disposable {
  readonly domain: Domain;
  readonly #store: OpenStore;
  readonly #grants: XenGrantTable;
  readonly #channels: XenEventChannels;
  readonly #cleanup: Cleanup;

  /** @throws XenUnavailable, in one line, where there is no Xen, no right to use it, or no koffi */
  static async open(options: XenDomainOptions = {}): Promise<XenDomain> {
    checkXen();
    const cleanup = new Cleanup();
    try {
      const libc = await loadLibc();
      const gntdev = cleanup.use(openDevice('gntdev'));
      // Opened late, and closed after all that lies in it has been given back.
      const later = cleanup.use(new Cleanup());
      const arena = new Arena(libc);
      const openGntalloc = (): XenDevice => later.use(openDevice('gntalloc'));
      const grants = cleanup.use(new XenGrantTable({ libc, arena, gntdev, openGntalloc }));
      const clock = new HostClock(0);
      let name = options.name ?? 'this domain';
      let domid = asDomid(0);
      const log = (entry: LogEntry): void => options.log?.({ ...entry, time: clock.now(), domid, domain: name });
      const channels = cleanup.use(
        new XenEventChannels(libc, arena, openDevice('evtchn'), (error) => log(faultEntry('event channels', error))),
      );
      const store = cleanup.use(await openStore(options.store));
      domid = await ownDomid(store.store);
      name = options.name ?? (await store.store.read('name')) ?? `domain ${domid}`;
      const domain = cleanup.use(new Domain(domid, name));
      const report = options.report ?? ((): void => {});
      bindXenDomain(domain, options, { clock, channels, grants, store: store.store, log, report });
      return new XenDomain(domain, store, grants, channels, cleanup);
    } catch (error) {
      cleanup[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(
    domain: Domain,
    store: OpenStore,
    grants: XenGrantTable,
    channels: XenEventChannels,
    cleanup: Cleanup,
  ) {
    this.domain = domain;
    this.#store = store;
    this.#grants = grants;
    this.#channels = channels;
    this.#cleanup = cleanup;
  }

  /** Resolves, with the reason, when the store or the event channels are lost: nothing can go on then. */
  get lost(): Promise<Error> {
    return Promise.race([this.#store.lost, this.#channels.lost]);
  }

  get holdings(): XenHoldings {
    const { owned, shared, mapped } = this.#grants.counts;
    return {
      ports: this.#channels.open,
      grants: shared,
      mappings: mapped,
      pages: owned,
      watches: this.#store.store.watches,
    };
  }

  /**
   * Loads a module's bindings, serves the devices of the backends that it exports, and starts its program.
   * @param typeOf the directory below `backend` that a class of devices has; its own name without it
   * @returns what settles when the program ends; undefined where there is none
   * @throws Error when the module does not load, naming it and the reason
   */
  async boot(
    url: string,
    typeOf?: (device: string) => string,
  ): Promise<{ readonly program: Promise<void> | undefined }> {
    const { domain } = this;
    try {
      boot(domain, (await import(url)) as DomainModule, url, typeOf);
      const program = domain.container.isBound(Program) ? domain.get(Program).run() : undefined;
      return { program };
    } catch (error) {
      const { message } = asError(error);
      throw new Error(message.includes(url) ? message : `${url} does not load: ${errorText(error)}`, { cause: error });
    }
  }

  /** Gives back all that the domain's code holds, without a word to the other ends: a backend that is started again goes on. */
  [Symbol.dispose](): void {
    this.#cleanup[Symbol.dispose]();
  }
}

/** A domain's own number, as the toolstack has written it for the domain to read. */
const ownDomid = async (store: XenStore): Promise<Domid> => {
  const text = await store.read('domid');
  // xenstored's socket is dom0's, be it told of or not.
  if (text === undefined) return asDomid(0);
  if (!/^[0-9]{1,5}$/.test(text)) throw new PeerFault('domid', text);
  return asDomid(Number(text));
};
