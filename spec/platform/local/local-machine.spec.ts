import { expect } from 'chai';
import { firstValueFrom, skip, take, toArray } from 'rxjs';
import { stub } from 'sinon';
import {
  asDomid,
  Clock,
  connection,
  devices$,
  EventChannels,
  errno,
  GrantTable,
  Log,
  serveDevices,
  XenError,
  XenStore,
} from '../../../core/index.js';
import { Toolstack } from '../../../core/toolstack/index.js';
import { RngFrontend } from '../../../examples/rng/frontend.js';
import { LocalMachine } from '../../../platform/local/index.js';
import { DoublerBackend, DoublerFrontend } from '../../support/xenbus-rig.js';

const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);
const rngBackend = import.meta.resolve('../../../examples/rng/backend.js');

/** What happened on a machine: who ran when, and what was logged. */
interface Record {
  readonly picks: readonly string[];
  readonly log: readonly string[];
}

/** A whole life of a device, with everything that the scheduler decides. */
const record = async (seed: number): Promise<Record> => {
  await using machine = await LocalMachine.create({ seed, clock: 'simulated', memory: 16 << 20 });
  const picks: string[] = [];
  const log: string[] = [];
  machine.onPick((name) => picks.push(name));
  machine.log$.subscribe(({ time, domain, source, level, text }) =>
    log.push(`${time} ${domain} ${source} ${level} ${text}`),
  );
  const guest = await machine.guest('guest');
  const lonely = await machine.guest('lonely');
  const backend = await machine.boot({ name: 'backend', module: rngBackend });
  await machine.toolstack.attach({ device: 'vrng', id: 0, frontend: guest.domid, backend });
  await machine.toolstack.attach({ device: 'vrng', id: 0, frontend: lonely.domid, backend });
  const rng = await connection(guest, RngFrontend);
  await Promise.all([rng.read(10), rng.read(20), rng.read(30)]);
  await firstValueFrom(guest.get(Clock).timer$(3000));
  await machine.toolstack.detach({ device: 'vrng', id: 0, frontend: guest.domid });
  await machine.idle();
  return { picks, log };
};

describe('a local machine', () => {
  describe('with a seed', () => {
    it('repeats a run exactly: who runs when, and every line of the log with its time', async () => {
      for (const seed of [0, 1, 0xffffffff]) {
        const first = await record(seed);
        expect(first.picks.length).to.be.greaterThan(100);
        expect(first.log.length).to.be.greaterThan(8);
        expect(await record(seed)).to.deep.equal(first);
      }
    });

    it('runs in another order than with another', async () => {
      const orders = new Set<string>();
      for (let seed = 1; seed <= 6; seed++) orders.add((await record(seed)).picks.join(' '));
      expect(orders.size).to.equal(6);
    });

    it('tells it, also when nobody gave one', async () => {
      await using given = await LocalMachine.create({ seed: 2 ** 32 + 5 });
      expect(given.seed).to.equal(5);
      await using one = await LocalMachine.create();
      await using two = await LocalMachine.create();
      expect(one.seed).to.not.equal(two.seed);
    });
  });

  describe('’s ledger', () => {
    it('is all zeroes for a domain that has just been made, and for one that has not run yet', async () => {
      await using machine = await LocalMachine.create({ clock: 'simulated' });
      await machine.guest('guest');
      await machine.toolstack.create({ name: 'created' });
      const zero = { ports: 0, grants: 0, mapped: 0, mappings: 0, pages: 0, watches: 0, transactions: 0 };
      expect(machine.holdings()).to.deep.equal([
        { domid: 1, name: 'guest', ...zero },
        { domid: 2, name: 'created', ...zero },
      ]);
    });

    it('counts every port, grant, mapping, page, watch and transaction, and each until it is given back', async () => {
      await using machine = await LocalMachine.create({ clock: 'simulated' });
      const guest = await machine.guest('guest');
      const other = await machine.guest('other');
      const ledger = (domid: number) => machine.holdings().find((entry) => entry.domid === domid);
      const grants = guest.get(GrantTable);
      const owned = grants.alloc(3);
      const shared = grants.share(other.domid, 2);
      const channel = guest.get(EventChannels).allocUnbound(other.domid);
      const mapping = other.get(GrantTable).map(guest.domid, shared.refs);
      const bound = other.get(EventChannels).bindInterdomain(guest.domid, channel.port);
      const watching = guest.get(XenStore).watch$('data').subscribe();
      let end: () => void = () => {};
      const open = guest.get(XenStore).transaction(async (store) => {
        await store.read('name');
        await new Promise<void>((resolve) => {
          end = resolve;
        });
      });
      await machine.idle();
      expect(ledger(guest.domid)).to.deep.equal({
        domid: guest.domid,
        name: 'guest',
        ports: 1,
        grants: 2,
        mapped: 2,
        mappings: 0,
        pages: 5,
        watches: 1,
        transactions: 1,
      });
      expect(ledger(other.domid)).to.include({ ports: 1, grants: 0, mappings: 2, pages: 0, watches: 0 });

      // Given back while it is mapped, it is parked, and still the guest's.
      shared[Symbol.dispose]();
      expect(ledger(guest.domid)).to.include({ grants: 2, mapped: 2, pages: 5 });
      mapping[Symbol.dispose]();
      expect(ledger(guest.domid)).to.include({ grants: 0, mapped: 0, pages: 3 });
      for (const thing of [owned, channel, bound]) thing[Symbol.dispose]();
      watching.unsubscribe();
      end();
      await open;
      await machine.idle();
      for (const entry of machine.holdings()) {
        const { domid: _domid, name: _name, ...counts } = entry;
        expect(
          Object.values(counts).every((count) => count === 0),
          JSON.stringify(entry),
        ).to.equal(true);
      }
    });
  });

  describe('’s simulated clock', () => {
    it('stands still while anybody can run, and jumps to the next timer when nobody can', async () => {
      await using machine = await LocalMachine.create({ clock: 'simulated' });
      const clock = machine.dom0.get(Clock);
      const store = machine.dom0.get(XenStore);
      for (let i = 0; i < 50; i++) await store.write('/tool/x', String(i));
      expect(clock.now()).to.equal(0);
      const began = performance.now();
      await firstValueFrom(clock.timer$(3_600_000));
      expect(clock.now()).to.equal(3_600_000);
      expect(performance.now() - began).to.be.lessThan(10_000);
    });

    it('fires timers in the order of their times, then of their making; none after it was unsubscribed', async () => {
      await using machine = await LocalMachine.create({ clock: 'simulated' });
      const clock = machine.dom0.get(Clock);
      const fired: string[] = [];
      const at = (ms: number, name: string) =>
        clock.timer$(ms).subscribe(() => fired.push(`${name} at ${clock.now()}`));
      at(20, 'c');
      at(10, 'a');
      const never = at(15, 'never');
      at(10, 'b');
      at(10.5, 'fraction');
      never.unsubscribe();
      await firstValueFrom(clock.timer$(30));
      expect(fired).to.deep.equal(['a at 10', 'b at 10', 'fraction at 10.5', 'c at 20']);
    });

    it('lets idle() be heard before it goes on, and after the timers of this very moment', async () => {
      await using machine = await LocalMachine.create({ clock: 'simulated' });
      const clock = machine.dom0.get(Clock);
      const heard: string[] = [];
      clock.timer$(5).subscribe(() => heard.push('5'));
      clock.timer$(0).subscribe(() => heard.push('0'));
      await machine.idle();
      expect(heard).to.deep.equal(['0']);
      expect(clock.now()).to.equal(0);
    });

    it('refuses a timer that would run backwards', async () => {
      await using machine = await LocalMachine.create({ clock: 'simulated' });
      expect(() => machine.dom0.get(Clock).timer$(-1)).to.throw(RangeError);
      expect(() => machine.dom0.get(Clock).timer$(Number.NaN)).to.throw(RangeError);
    });
  });

  it('’s real clock waits for a timer that is longer than Node’s can be', async () => {
    await using machine = await LocalMachine.create({ clock: 'real' });
    const warnings: string[] = [];
    const hear = ({ name }: Error): unknown => warnings.push(name);
    process.on('warning', hear);
    let fired = false;
    const timer = machine.dom0
      .get(Clock)
      .timer$(1e12)
      .subscribe(() => {
        fired = true;
      });
    await new Promise((resolve) => setTimeout(resolve, 50));
    timer.unsubscribe();
    process.off('warning', hear);
    expect({ fired, warnings }).to.deep.equal({ fired: false, warnings: [] });
  });

  it('’s real clock waits for the host’s', async () => {
    await using machine = await LocalMachine.create({ clock: 'real' });
    const clock = machine.dom0.get(Clock);
    const host = performance.now();
    const before = clock.now();
    await firstValueFrom(clock.timer$(50));
    expect(performance.now() - host).to.be.at.least(49);
    expect(clock.now() - before).to.be.at.least(50);
  });

  it('logs what a subscriber throws, and goes on with the others and with the other domains', async () => {
    await using machine = await LocalMachine.create({ clock: 'simulated' });
    const guest = await machine.guest('guest');
    const other = await machine.guest('other');
    const log: { readonly domain: string; readonly text: string; readonly stack?: string }[] = [];
    machine.log$.subscribe((entry) => log.push(entry));
    const channel = guest.get(EventChannels).allocUnbound(other.domid);
    const remote = other.get(EventChannels).bindInterdomain(guest.domid, channel.port);
    let heard = 0;
    channel.subscribe(() => {
      throw new TypeError('a mistake\nof two lines');
    });
    channel.subscribe(() => heard++);
    remote.notify();
    await machine.idle();
    expect(heard).to.equal(1);
    expect(log).to.have.length(1);
    expect(log[0]).to.include({ domain: 'guest', text: 'TypeError: a mistake of two lines' });
    expect(log[0]?.stack).to.include('local-machine.spec');
  });

  it('serves a 32-bit guest with a 64-bit backend', async () => {
    await using machine = await LocalMachine.create({ clock: 'simulated' });
    const guest = await machine.guest('guest', 'x86_32-abi');
    const backend = await machine.boot({ name: 'backend', module: rngBackend });
    await machine.toolstack.attach({ device: 'vrng', id: 0, frontend: guest.domid, backend });
    const rng = await connection(guest, RngFrontend);
    expect(await rng.read(100)).to.have.length(100);
    expect(await rng.read(1000)).to.have.length(256);
  });

  describe('boots', () => {
    const program = import.meta.resolve('../../support/reporting.module.js');

    it('a program with its command line, and tells what it reports and how it ends', async () => {
      await using machine = await LocalMachine.create({ clock: 'simulated' });
      const reports = firstValueFrom(machine.reports$.pipe(take(2), toArray()));
      const domid = await machine.boot({ name: 'guest', module: program, cmdline: { say: [1, 'two'] } });
      const ended = machine.shutdownOf(domid);
      expect((await reports).map(({ value }) => value)).to.deep.equal([{ say: [1, 'two'] }, 'done']);
      expect(await ended).to.deep.equal({ domid, name: 'guest', module: program, reason: 'poweroff' });
    });

    for (const how of ['rejects', 'throws']) {
      it(`a program that ${how}: a crash, with its reason in the log`, async () => {
        await using machine = await LocalMachine.create({ clock: 'simulated' });
        const lines: string[] = [];
        machine.log$.subscribe(({ domain, text }) => lines.push(`${domain}: ${text}`));
        const ended = firstValueFrom(machine.shutdowns$);
        const domid = await machine.boot({ name: 'guest', module: program, cmdline: how });
        const { error, ...rest } = await ended;
        expect(rest).to.deep.equal({ domid, name: 'guest', module: program, reason: 'crash' });
        expect(error?.message).to.equal(`it ${how}`);
        expect(lines).to.deep.equal([`guest: crashed: it ${how}`]);
        expect((await machine.shutdownOf(domid)).error?.message).to.equal(`it ${how}`);
      });
    }

    it('no domain twice', async () => {
      await using machine = await LocalMachine.create({ clock: 'simulated' });
      const { domid } = await machine.guest('guest');
      expect(await outcome(machine.toolstack.unpause(domid))).to.be.instanceOf(XenError);
    });

    it('domains until memory runs out, says so, and is whole after it', async () => {
      await using machine = await LocalMachine.create({ clock: 'simulated', memory: 3 << 20 });
      let made = 0;
      let error: unknown;
      while (error === undefined && made < 1000) {
        error = await machine.guest(`guest-${made}`).then(
          () => undefined,
          (failure: unknown) => failure,
        );
        made++;
      }
      expect(error).to.be.instanceOf(XenError);
      expect((error as XenError).code).to.be.oneOf(['ENOMEM', 'ENOSPC']);
      const names = (await machine.toolstack.domains()).length;
      expect(machine.holdings()).to.have.length(names);
      await machine.toolstack.destroy(machine.holdings()[0]?.domid ?? machine.dom0.domid);
      await machine.guest('one-more');
    });

    it('nothing of a domain whose making fails half-way', async () => {
      await using machine = await LocalMachine.create({ clock: 'simulated' });
      await machine.guest('guest');
      const { hypervisor } = machine;
      const before = hypervisor.ledger();
      const full = stub(hypervisor.pages, 'populate').returns(-errno.ENOMEM);
      const error = await outcome(machine.guest('other'));
      full.restore();
      expect(error).to.be.instanceOf(XenError).with.property('code', 'ENOMEM');
      expect(hypervisor.ledger()).to.deep.equal(before);
      expect(hypervisor.domains.lifeOf(asDomid(2))).to.equal('none');
      expect(machine.holdings()).to.have.length(1);
      await machine.guest('other');
    });

    it('and ends domains one after the other, and has as much memory as before', async function () {
      this.timeout(60_000);
      await using machine = await LocalMachine.create({ clock: 'simulated', memory: 3 << 20 });
      const free = () => machine.hypervisor.ledger();
      await machine.toolstack.destroy((await machine.guest('first')).domid);
      const before = free();
      for (let i = 0; i < 300; i++) await machine.toolstack.destroy((await machine.guest('again')).domid);
      expect(free()).to.deep.equal(before);
    });
  });

  it('ends all domains with itself, whatever they do, and a second time does nothing', async () => {
    const machine = await LocalMachine.create({ clock: 'simulated' });
    const guest = await machine.guest('guest');
    guest.subscription.add(() => {
      throw new Error('in a teardown');
    });
    const back = await machine.guest('backend');
    serveDevices(back, DoublerBackend);
    await machine.toolstack.attach({ device: 'vtest', id: 0, frontend: guest.domid, backend: back.domid });
    guest.subscription.add(devices$(guest, DoublerFrontend).subscribe());
    await machine.idle();
    let completed = false;
    machine.log$.subscribe({ complete: () => (completed = true) });
    await machine[Symbol.asyncDispose]();
    expect(completed).to.equal(true);
    expect(machine.holdings()).to.deep.equal([]);
    await machine[Symbol.asyncDispose]();
    await machine.idle();
  });

  it('completes no channel of a domain that it destroys, nor its peer’s: what waits for one is not rejected', async () => {
    await using machine = await LocalMachine.create({ clock: 'simulated' });
    const [one, two] = [await machine.guest('one'), await machine.guest('two')];
    const channel = one.get(EventChannels).allocUnbound(two.domid);
    using peer = two.get(EventChannels).bindInterdomain(one.domid, channel.port);
    await machine.idle();
    const said: string[] = [];
    for (const end of [channel, peer]) {
      // The first upcall of the end that was bound comes unconditionally.
      const second = firstValueFrom(end.pipe(skip(1)));
      second.then(
        () => said.push('resolved'),
        (error: Error) => said.push(error.name),
      );
    }
    await machine.toolstack.destroy(one.domid);
    await machine.idle();
    expect(said).to.deep.equal([]);
  });

  it('gives a domain the tokens of a domain, and dom0 the toolstack besides', async () => {
    await using machine = await LocalMachine.create({ clock: 'simulated' });
    const guest = await machine.guest('guest');
    for (const token of [Clock, EventChannels, GrantTable, XenStore, Log])
      expect(guest.get(token as typeof Clock)).to.be.an('object');
    expect(guest.container.isBound(Toolstack)).to.equal(false);
    expect(machine.dom0.get(Toolstack)).to.equal(machine.toolstack);
  });
});
