import { expect } from 'chai';
import fc from 'fast-check';
import { asDomid, type Domid } from '../../core/abi/units.js';
import { Disconnected } from '../../core/errors.js';
import { DOMID_XEN } from '../../core/hypervisor/domains.js';
import { Hypervisor } from '../../core/hypervisor/hypervisor.js';
import { HypervisorEventChannels } from '../../platform/hypervisor/event-channels.js';
import { HypervisorGrantTable } from '../../platform/hypervisor/grant-table.js';
import { LocalClock } from '../../platform/local/local-clock.js';
import {
  DirectXenStore,
  GNTTAB_RESERVED_XENSTORE,
  RingXenStore,
  ringPage,
  XenStoreServer,
} from '../../xenstore/index.js';

const DOM0 = asDomid(0);

/** The store in domain 0 and guests, on our own Xen; a domain runs when it is entered, and not before. */
class XenMachine {
  readonly hypervisor = Hypervisor.create({ bytes: 4 * 2 ** 20, domains: 8 });
  readonly channels = new Map<Domid, HypervisorEventChannels>();
  readonly grants: HypervisorGrantTable;
  readonly server: XenStoreServer;
  readonly dom0: DirectXenStore;
  readonly faults: string[] = [];
  /** Which of the domains that could run does. */
  pick: (count: number) => number = () => 0;
  readonly #tasks: (() => void)[] = [];

  constructor() {
    this.#create(DOM0);
    this.grants = new HypervisorGrantTable(this.hypervisor, DOM0);
    this.server = new XenStoreServer({
      grants: this.grants,
      channels: this.#channels(DOM0),
      clock: new LocalClock(true),
      post: (task) => this.#tasks.push(task),
      domainInfo: (domid) =>
        ({ none: undefined, alive: 'running', dying: 'dying', zombie: 'dying' })[
          this.hypervisor.domains.lifeOf(domid)
        ] as 'running',
      onFault: (domid, fault) => this.faults.push(`${domid}: ${fault.message}`),
    });
    this.dom0 = new DirectXenStore(this.server);
  }

  /** A guest with its ring page as reference 1, introduced. */
  boot(number: number) {
    const domid = asDomid(number);
    this.#create(domid);
    const grants = new HypervisorGrantTable(this.hypervisor, domid);
    const frame = this.hypervisor.pages.populate(DOM0, domid, 1);
    this.hypervisor.grantEntries.grantAccess(domid, GNTTAB_RESERVED_XENSTORE, DOM0, frame, false);
    const channel = this.#channels(domid).allocUnbound(DOM0);
    const page = grants.adopt(frame);
    const store = new RingXenStore(page, channel);
    this.server.introduce(domid, channel.port);
    return { domid, page, channel, store };
  }

  /** Ends a guest at once, as a crash would. */
  kill(domid: Domid): void {
    this.channels.delete(domid);
    expect(this.hypervisor.destroyDomain(DOM0, domid)).to.equal(0);
    this.server.checkDomains();
  }

  /** Enters domains until nobody has anything to do. */
  async settle(): Promise<void> {
    for (let idle = false; !idle; ) {
      idle = true;
      const runnable = [...this.channels.values()].map((channels) => () => channels.enter(1) > 0);
      if (this.#tasks.length > 0) runnable.push(() => this.#tasks.shift()?.() === undefined);
      while (runnable.length > 0) {
        const [run] = runnable.splice(this.pick(runnable.length) % runnable.length, 1);
        if (run?.()) idle = false;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async finish<T>(work: Promise<T>): Promise<T> {
    let done = false;
    const end = (): void => {
      done = true;
    };
    work.then(end, end);
    for (let turns = 0; !done && turns < 1000; turns++) await this.settle();
    if (!done) throw new Error('nothing is left to run, and the promise still waits');
    return work;
  }

  #create(domid: Domid): void {
    expect(this.hypervisor.domains.create(DOMID_XEN, { domid, privileged: domid === 0 })).to.equal(0);
  }

  #channels(domid: Domid): HypervisorEventChannels {
    const rethrow = (error: unknown): void => {
      throw error;
    };
    const channels = new HypervisorEventChannels(this.hypervisor, domid, rethrow);
    this.channels.set(domid, channels);
    return channels;
  }
}

describe('a guest’s store, over its ring page on our own Xen', () => {
  let machine: XenMachine;

  beforeEach(() => {
    machine = new XenMachine();
  });

  const boot = async (number: number) => {
    const guest = machine.boot(number);
    const path = `/local/domain/${number}`;
    await machine.finish(machine.dom0.mkdir(path));
    await machine.finish(machine.dom0.setPermissions(path, [{ domid: guest.domid, access: 'n' }]));
    return guest;
  };

  it('writes, reads, lists and watches', async () => {
    const { store } = await boot(1);
    const seen: string[] = [];
    store.watch$('device').subscribe((path) => seen.push(path));
    await machine.finish(store.write('device/vbd/51712/state', '1'));
    await machine.finish(machine.dom0.write('/local/domain/1/device/vbd/51712/state', '4'));
    await machine.settle();
    expect(await machine.finish(store.read('device/vbd/51712/state'))).to.equal('4');
    expect(await machine.finish(store.directory('device'))).to.deep.equal(['vbd']);
    expect(seen).to.deep.equal(['device', 'device/vbd/51712/state', 'device/vbd/51712/state']);
  });

  it('moves values that are longer than the ring', async () => {
    const { store } = await boot(1);
    const value = 'v'.repeat(4000);
    await machine.finish(store.write('big', value));
    expect(await machine.finish(store.read('big'))).to.equal(value);
  });

  it('is told of nothing before its domain is entered', async () => {
    const { store, domid } = await boot(1);
    let upcalls = 0;
    store.watch$('x').subscribe(() => upcalls++);
    await machine.settle();
    expect(upcalls).to.equal(1);
    const own = machine.channels.get(domid);
    machine.channels.delete(domid);
    await machine.finish(machine.dom0.write('/local/domain/1/x', ''));
    expect(upcalls).to.equal(1);
    if (own !== undefined) machine.channels.set(domid, own);
    await machine.settle();
    expect(upcalls).to.equal(2);
  });

  it('ends with its domain: the store lets go of page and port, removes the nodes, tells who watches', async () => {
    const guest = await boot(1);
    const other = await boot(2);
    await machine.finish(guest.store.write('own', 'x'));
    const released: string[] = [];
    machine.dom0.watch$('@releaseDomain').subscribe((path) => released.push(path));
    await machine.settle();
    const open = machine.channels.get(DOM0)?.open ?? 0;
    guest.store.write('half', 'y'.repeat(3000)).catch(() => {});
    machine.kill(guest.domid);
    await machine.settle();
    expect(released).to.deep.equal(['@releaseDomain', '@releaseDomain']);
    expect(await machine.finish(machine.dom0.read('/local/domain/1/own'))).to.equal(undefined);
    expect(machine.channels.get(DOM0)?.open).to.equal(open - 1);
    expect(machine.grants.counts.mapped).to.equal(1);
    expect(machine.hypervisor.domains.lifeOf(guest.domid)).to.equal('none');
    await machine.finish(other.store.write('still', 'here'));
  });

  it('and the next domain of that number begins with nothing', async () => {
    const first = await boot(1);
    await machine.finish(machine.dom0.write('/shared', 'x'));
    await machine.finish(
      machine.dom0.setPermissions('/shared', [
        { domid: DOM0, access: 'n' },
        { domid: first.domid, access: 'r' },
      ]),
    );
    expect(await machine.finish(first.store.read('/shared'))).to.equal('x');
    machine.kill(first.domid);
    const { store } = machine.boot(1);
    const refused = await machine.finish(store.read('/shared').catch((error: Error) => error));
    expect(refused).to.include({ code: 'EACCES' });
  });

  it('that writes an impossible index is dropped with error 2, and nobody else notices (XSA-38)', async () => {
    const bad = await boot(1);
    const good = await boot(2);
    const waiting = bad.store.read('x');
    Atomics.store(bad.page.words, ringPage.req.prod >> 2, 0x7fffffff);
    bad.channel.notify();
    const reason = await machine.finish(waiting.catch((error: Error) => error));
    expect(reason).to.be.instanceOf(Disconnected);
    expect(Atomics.load(bad.page.words, ringPage.error >> 2)).to.equal(2);
    expect(machine.faults).to.have.length(1);
    await machine.finish(good.store.write('fine', 'yes'));
    expect(await machine.finish(good.store.read('fine'))).to.equal('yes');
  });

  it('whose channel is closed by itself fails what waits, with Disconnected', async () => {
    const { store, channel } = await boot(1);
    const waiting = store.read('x').catch((error: Error) => error);
    channel[Symbol.dispose]();
    expect(await machine.finish(waiting)).to.be.instanceOf(Disconnected);
    expect(await store.read('x').catch((error: Error) => error)).to.be.instanceOf(Disconnected);
  });

  it('that has been destroyed can ask no more', async () => {
    const { store, domid } = await boot(1);
    machine.kill(domid);
    expect(await store.read('x').catch((error: Error) => error)).to.be.instanceOf(Disconnected);
  });

  it('counts right with others, in whatever order domains are entered', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { minLength: 1, maxLength: 30 }), async (picks) => {
        machine = new XenMachine();
        let at = 0;
        machine.pick = (count) => (picks[at++ % picks.length] ?? 0) % count;
        await machine.finish(machine.dom0.write('/counter', '0'));
        await machine.finish(machine.dom0.setPermissions('/counter', [{ domid: DOM0, access: 'b' }]));
        const stores = [machine.boot(1).store, machine.boot(2).store, machine.dom0];
        const add = (store: RingXenStore | DirectXenStore): Promise<void> =>
          store.transaction(async (tx) => {
            await tx.write('/counter', String(Number(await tx.read('/counter')) + 1));
          });
        await machine.finish(Promise.all([...stores, ...stores].map(add)));
        expect(await machine.finish(machine.dom0.read('/counter'))).to.equal('6');
      }),
      { numRuns: 15 },
    );
  });
});
