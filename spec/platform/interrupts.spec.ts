import { watch } from 'node:fs';
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BehaviorSubject, filter, firstValueFrom, interval, Observable, Subject, take, toArray } from 'rxjs';
import { asPirq, type Domain, EventChannels, HostInterrupt, Physdev } from '../../core/index.js';
import { LocalMachine } from '../../platform/local/index.js';
import { ThreadsMachine } from '../../platform/threads/index.js';

const LINE = 20;
const OTHER = 21;
const module = new URL('interrupt.module.js', import.meta.url);

const machines = {
  local: (interrupts: readonly HostInterrupt[] = []) => LocalMachine.create({ seed: 7, interrupts }),
  threads: (interrupts: readonly HostInterrupt[] = []) => ThreadsMachine.create({ interrupts }),
};

for (const [name, create] of Object.entries(machines)) {
  describe(`the host’s interrupts on the ${name} machine`, () => {
    let machine: LocalMachine | ThreadsMachine;
    /** Gives a domain interrupts of the host, by their own numbers. */
    const give = (domain: Domain, ...irqs: readonly number[]): void => {
      for (const irq of irqs) {
        machine.dom0.get(Physdev).mapPirq(domain.domid, { type: 'gsi', index: irq, pirq: asPirq(irq) });
      }
    };
    /** A guest that has an interrupt, and what it has seen of it. */
    const guest = async (of: string, irq: number): Promise<{ readonly domain: Domain; readonly seen: number[] }> => {
      const domain = await machine.guest(of);
      give(domain, irq);
      const seen: number[] = [];
      domain
        .get(EventChannels)
        .bindPirq(asPirq(irq), { willShare: true })
        .subscribe(() => {
          seen.push(irq);
        });
      return { domain, seen };
    };

    afterEach(() => machine[Symbol.asyncDispose]());

    it('come from a Subject, at once, to the domain that has them and to no other', async () => {
      const line = new Subject<unknown>();
      machine = await create([HostInterrupt.edge(LINE, line)]);
      const one = await guest('one', LINE);
      const two = await guest('two', OTHER);
      line.next('x');
      expect(one.seen).to.deep.equal([]);
      await machine.idle();
      line.next('y');
      line.next('z');
      await machine.idle();
      expect([one.seen, two.seen]).to.deep.equal([[LINE, LINE], []]);
    });

    it('come from a timer of the host', async () => {
      machine = await create([HostInterrupt.edge(LINE, interval(1))]);
      const { domain } = await guest('one', LINE);
      domain.get(EventChannels);
      const channel = await machine.guest('two');
      give(channel, LINE);
      const seen = channel.get(EventChannels).bindPirq(asPirq(LINE), { willShare: true });
      await firstValueFrom(seen.pipe(take(3), toArray()));
    });

    it('come from a watched file', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'splitring-interrupts-'));
      const file = join(folder, 'watched');
      await writeFile(file, '');
      const changes = new Observable<void>((subscriber) => {
        const watcher = watch(file, () => subscriber.next());
        return () => watcher.close();
      });
      try {
        machine = await create([HostInterrupt.edge(LINE, changes)]);
        const domain = await machine.guest('one');
        give(domain, LINE);
        const upcall = firstValueFrom(domain.get(EventChannels).bindPirq(asPirq(LINE)));
        // Where a change of the file comes before it is watched, another one follows.
        const writing = interval(20).subscribe(() => void appendFile(file, 'x'));
        await upcall;
        writing.unsubscribe();
      } finally {
        await rm(folder, { recursive: true });
      }
    });

    it('reach a domain that booted from a module, which binds, handles and ends them', async () => {
      const line = new BehaviorSubject(false);
      machine = await create([HostInterrupt.level(LINE, line)]);
      const reports = firstValueFrom(
        machine.reports$.pipe(
          filter(({ value }) => value === LINE),
          take(2),
          toArray(),
        ),
      );
      const domid = await machine.toolstack.create({ name: 'handler', module, cmdline: [LINE] });
      machine.dom0.get(Physdev).mapPirq(domid, { type: 'gsi', index: LINE, pirq: asPirq(LINE) });
      // The line is up: at each EOI it comes again.
      line.next(true);
      await machine.toolstack.unpause(domid);
      expect((await reports).map((report) => report.domid)).to.deep.equal([domid, domid]);
      line.next(false);
    });

    it('as levels are held until every domain has ended them', async () => {
      const line = new Subject<boolean>();
      machine = await create([HostInterrupt.level(LINE, line)]);
      const guests = [await guest('one', LINE), await guest('two', LINE)];
      line.next(true);
      await machine.idle();
      line.next(false);
      line.next(true);
      await machine.idle();
      expect(guests.map(({ seen }) => seen.length)).to.deep.equal([1, 1]);
      guests[0]?.domain.get(Physdev).eoi(asPirq(LINE));
      await machine.idle();
      expect(guests.map(({ seen }) => seen.length)).to.deep.equal([1, 1]);
      guests[1]?.domain.get(Physdev).eoi(asPirq(LINE));
      await machine.idle();
      expect(guests.map(({ seen }) => seen.length)).to.deep.equal([2, 2]);
    });

    it('are taken from dom0’s container, and once', async () => {
      machine = await create();
      const line = new Subject<void>();
      machine.dom0.container.bind(HostInterrupt).toConstantValue(HostInterrupt.edge(LINE, line));
      machine.dom0.container.bind(HostInterrupt).toConstantValue(HostInterrupt.edge(OTHER, new Subject()));
      const { seen } = await guest('one', LINE);
      expect(line.observed).to.equal(false);
      const attached = machine.attach();
      machine.attach();
      line.next();
      await machine.idle();
      expect(seen).to.deep.equal([LINE]);
      attached.unsubscribe();
      expect(line.observed).to.equal(false);
    });

    it('come no more when their source has ended, or failed, of which the log tells; the line is down then', async () => {
      machine = await create();
      const logged: string[] = [];
      machine.log$.subscribe(({ text }) => logged.push(text));
      for (const end of ['complete', 'error'] as const) {
        const line = new Subject<boolean>();
        machine.attach([HostInterrupt.level(LINE, line)]);
        const { domain, seen } = await guest(end, LINE);
        line.next(true);
        await machine.idle();
        if (end === 'complete') line.complete();
        else line.error(new Error('the device is gone'));
        domain.get(Physdev).eoi(asPirq(LINE));
        await machine.idle();
        expect(seen, end).to.deep.equal([LINE]);
        await machine.toolstack.destroy(domain.domid);
      }
      expect(logged).to.deep.equal(['the source of host interrupt 20 failed: Error: the device is gone']);
    });

    it('have one source each, a number that the host has, and end with the machine', async () => {
      machine = await create();
      const line = new Subject<void>();
      machine.attach([HostInterrupt.edge(LINE, line)]);
      expect(() => machine.attach([HostInterrupt.edge(LINE, line)])).to.throw(
        RangeError,
        'host interrupt 20 has a source already: end that first',
      );
      expect(() => machine.attach([HostInterrupt.edge(256, line)])).to.throw(RangeError, 'not 256');
      expect(() => machine.attach([HostInterrupt.level(200, new Subject())])).to.throw(
        RangeError,
        'which has no level',
      );
      await machine[Symbol.asyncDispose]();
      expect(line.observed).to.equal(false);
    });

    it('are attached all or none', async () => {
      machine = await create();
      const line = new Subject<void>();
      expect(() => machine.attach([HostInterrupt.edge(LINE, line), HostInterrupt.edge(256, line)])).to.throw(
        RangeError,
      );
      expect(line.observed).to.equal(false);
      machine.attach([HostInterrupt.edge(LINE, line)]);
      expect(line.observed).to.equal(true);
    });
  });
}
