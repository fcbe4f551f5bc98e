import { asDomid, asGrantRef, asPort, type Domid, type GrantRef, PAGE_SIZE, type Port } from '../../core/abi/units.js';
import { type EventChannel, EventChannels } from '../../core/domain/event-channels.js';
import { GrantTable, type Page, type SharedPage } from '../../core/domain/grant-table.js';
import { XenError } from '../../core/errors.js';
import { LocalClock } from '../../platform/local/local-clock.js';
import { type DomainState, localChannelPair, RingXenStore, ringPage, XenStoreServer } from '../../xenstore/index.js';
import { GuestRing } from '../../xenstore/ring-page.js';
import { RawClient } from './raw-client.js';

/** A page of memory that both ends see. */
export const memoryPage = (): Page => {
  const memory = new SharedArrayBuffer(PAGE_SIZE);
  return { bytes: new Uint8Array(memory), words: new Int32Array(memory), [Symbol.dispose]: () => {} };
};

/** The pages that guests grant to the store, as reference 1 of each. */
class GrantedPages extends GrantTable {
  readonly pages = new Map<Domid, Page>();
  /** Domains whose page is mapped now, once for each mapping. */
  readonly mapped: Domid[] = [];

  override map(peer: Domid, refs: readonly GrantRef[]): Page {
    const page = this.pages.get(peer);
    if (page === undefined || refs.length !== 1 || refs[0] !== 1) throw new XenError('EINVAL', `map ${peer}: ${refs}`);
    this.mapped.push(peer);
    const unmap = (): void => {
      this.mapped.splice(this.mapped.indexOf(peer), 1);
    };
    return { bytes: page.bytes, words: page.words, [Symbol.dispose]: unmap };
  }

  override alloc(): Page {
    return memoryPage();
  }

  override share(): SharedPage {
    return { ...memoryPage(), ref: asGrantRef(8), refs: [asGrantRef(8)], inUse: false };
  }

  override mapEach(peer: Domid, refs: readonly GrantRef[]): readonly Page[] {
    return refs.map((ref) => this.map(peer, [ref]));
  }

  override copyTo(): void {}

  override copyFrom(): void {}

  override copyBetween(): void {}

  override copier(): () => void {
    return () => {};
  }

  override get size() {
    return { entries: 512, maxEntries: 512 };
  }
}

/** The ports that guests have allocated for the store. */
class GuestPorts extends EventChannels {
  readonly ends = new Map<string, EventChannel>();

  override bindInterdomain(remote: Domid, port: Port): EventChannel {
    const end = this.ends.get(`${remote}:${port}`);
    if (end === undefined) throw new XenError('EINVAL', `domain ${remote} has no port ${port}`);
    return end;
  }

  override allocUnbound(remote: Domid): EventChannel {
    throw new XenError('ENOSPC', `no port for ${remote}`);
  }
}

/** A guest as the store meets it: its ring page and its end of the channel. */
export interface Guest {
  readonly domid: Domid;
  readonly page: Page;
  readonly channel: EventChannel;
  readonly port: Port;
  word(at: keyof typeof ringPage | number): number;
  setWord(at: number, value: number): void;
}

/** A store with guests in one program; nothing runs before {@link run} lets it. */
export class StoreMachine {
  readonly grants = new GrantedPages();
  readonly ports = new GuestPorts();
  readonly faults: string[] = [];
  /** What the hypervisor says of domains; those that are not here do not exist. */
  readonly states = new Map<number, DomainState>();
  readonly server: XenStoreServer;
  /** Stands still, but for those who move it. */
  readonly clock = new LocalClock(true);
  /** Which of the waiting tasks runs next, of `count`. */
  pick: (count: number) => number = () => 0;
  readonly #tasks: (() => void)[] = [];
  #dom0: RawClient | undefined;
  #nextPort = 1;

  constructor() {
    this.server = new XenStoreServer({
      grants: this.grants,
      channels: this.ports,
      clock: this.clock,
      post: this.post,
      domainInfo: (domid) => this.states.get(domid),
      onFault: (domid, fault) => this.faults.push(`${domid}: ${fault.message}`),
    });
  }

  readonly post = (task: () => void): void => {
    this.#tasks.push(task);
  };

  /** How many tasks wait. */
  get waiting(): number {
    return this.#tasks.length;
  }

  /** Runs one task. */
  step(): void {
    const [task] = this.#tasks.splice(this.pick(this.#tasks.length), 1);
    task?.();
  }

  /** Runs until nothing waits. */
  run(): void {
    while (this.#tasks.length > 0) this.step();
  }

  /** Runs until nothing waits and no promise leads to more. */
  async settle(): Promise<void> {
    do {
      this.run();
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#tasks.length > 0);
  }

  /** What `work` resolves to, with everything run that it waits for. */
  async finish<T>(work: Promise<T>): Promise<T> {
    let done = false;
    const end = (): void => {
      done = true;
    };
    work.then(end, end);
    for (let turns = 0; !done && turns < 20_000; turns++) await this.settle();
    if (!done) throw new Error('nothing is left to run, and the promise still waits');
    return work;
  }

  /** dom0, message by message. */
  get dom0(): RawClient {
    this.#dom0 ??= new RawClient(this.server.open(), this);
    return this.#dom0;
  }

  /** A domain that exists but is not introduced. */
  create(domid: number): Guest {
    const page = memoryPage();
    const [own, store] = localChannelPair(this.post);
    const port = asPort(this.#nextPort++);
    this.states.set(domid, 'running');
    this.grants.pages.set(asDomid(domid), page);
    this.ports.ends.set(`${domid}:${port}`, store);
    const offset = (at: keyof typeof ringPage | number): number =>
      typeof at === 'number' ? at : (ringPage[at] as number);
    return {
      domid: asDomid(domid),
      page,
      channel: own,
      port,
      word: (at) => Atomics.load(page.words, offset(at) >> 2) >>> 0,
      setWord: (at, value) => {
        Atomics.store(page.words, at >> 2, value | 0);
      },
    };
  }

  /** An introduced domain. */
  boot(domid: number): Guest {
    const guest = this.create(domid);
    this.server.introduce(guest.domid, guest.port);
    this.run();
    return guest;
  }

  /** An introduced domain, message by message. */
  raw(domid: number): RawClient {
    const guest = this.boot(domid);
    return new RawClient(new GuestRing(guest.page, guest.channel), this, `d${domid}`);
  }

  /** An introduced domain's client. */
  ring(domid: number): RingXenStore {
    const guest = this.boot(domid);
    return new RingXenStore(guest.page, guest.channel);
  }
}
