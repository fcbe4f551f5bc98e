import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { asDomid, type Domid } from '../../../core/abi/units.js';
import { DOMID_XEN } from '../../../core/hypervisor/domains.js';
import { blocked } from '../../../core/hypervisor/doorbell.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { control } from '../../../core/hypervisor/layout.js';
import { HypervisorEventChannels } from '../../../platform/hypervisor/event-channels.js';
import { DomainLoop, type DomainLoopOptions } from '../../../platform/threads/domain-loop.js';

const one = asDomid(1);
const two = asDomid(2);
const never = { spin: (hasWork: () => boolean) => hasWork() };

describe('the loop of a thread', () => {
  let hypervisor: Hypervisor;
  let loop: DomainLoop;
  let errors: unknown[];

  const begin = (options: DomainLoopOptions, ...domids: readonly Domid[]): readonly HypervisorEventChannels[] => {
    loop = new DomainLoop(hypervisor.doorbell, { spinner: never, ...options });
    return domids.map((domid) => {
      hypervisor.domains.create(DOMID_XEN, { domid });
      const channels = new HypervisorEventChannels(hypervisor, domid, (error) => errors.push(error));
      loop.add(domid, channels);
      return channels;
    });
  };

  const stateOf = (domid: Domid): number => {
    const { memory } = hypervisor;
    return Atomics.load(memory.words, memory.control(memory.slotOf(domid)) + control.state);
  };

  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  beforeEach(() => {
    errors = [];
    hypervisor = Hypervisor.create({ bytes: 4 << 20 }, (domid) => {
      if (loop.has(domid)) loop.schedule();
    });
  });

  /** A channel between the two domains whose ends answer each other for ever. */
  const pingPong = (a: HypervisorEventChannels, b: HypervisorEventChannels): (() => number) => {
    let count = 0;
    const here = a.allocUnbound(two);
    const there = b.bindInterdomain(one, here.port);
    here.subscribe(() => {
      count++;
      here.notify();
    });
    there.subscribe(() => there.notify());
    return () => count;
  };

  it('gives timers their turn while its domains are never done', async () => {
    const [a, b] = begin({}, one, two);
    const count = pingPong(a as HypervisorEventChannels, b as HypervisorEventChannels);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await turn();
    const before = count();
    expect(before).to.be.greaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(count()).to.be.greaterThan(before);
    loop.remove(one);
    loop.remove(two);
  });

  it('keeps no timer of a domain that was the last of its thread: the process can end', async () => {
    hypervisor.domains.create(DOMID_XEN, { domid: one });
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    // Mocha sets its own when the test has begun.
    await turn();
    const before = timers();
    loop = new DomainLoop(hypervisor.doorbell, { spinner: never });
    loop.add(one, { enter: () => 0, msLeft: 3_600_000 });
    await turn();
    expect(timers()).to.equal(before + 1);
    loop.remove(one);
    expect(timers()).to.equal(before);
  });

  it('resumes promises between two events, before the event loop has its turn', async () => {
    const [a, b] = begin({}, one, two) as [HypervisorEventChannels, HypervisorEventChannels];
    await turn();
    const order: string[] = [];
    const here = a.allocUnbound(two);
    const there = b.bindInterdomain(one, here.port);
    here.subscribe(() => {
      order.push('upcall');
      setImmediate(() => order.push('turn'));
      void Promise.resolve().then(() => {
        order.push('promise');
        here.notify();
      });
    });
    there.subscribe(() => order.push('answer'));
    await turn();
    order.length = 0;
    there.notify();
    await turn();
    await turn();
    expect(order.slice(0, 4)).to.deep.equal(['upcall', 'promise', 'answer', 'turn']);
  });

  it('hands an exception of a tick to the process, and goes on', async () => {
    const [a, b] = begin({}, one, two) as [HypervisorEventChannels, HypervisorEventChannels];
    const here = a.allocUnbound(two);
    const there = b.bindInterdomain(one, here.port);
    await turn();
    let heard = 0;
    here.subscribe(() => {
      heard++;
      if (heard === 1) {
        process.nextTick(() => {
          throw new Error('of a tick');
        });
      }
    });
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const uncaught = new Promise<Error>((resolve) => process.once('uncaughtException', resolve));
    there.notify();
    const error = await uncaught;
    for (const listener of listeners) process.on('uncaughtException', listener);
    expect(error.message).to.equal('of a tick');
    there.notify();
    await turn();
    await turn();
    expect(heard).to.equal(2);
  });

  describe('that a ring lets look out for more', () => {
    it('says whether something has come, and looks out once before a sleep, not twice', async () => {
      let spins = 0;
      let come = false;
      const spinner = {
        spin: (hasWork: () => boolean) => {
          spins++;
          return hasWork();
        },
      };
      const [a, b] = begin({ spinner }, one, two) as [HypervisorEventChannels, HypervisorEventChannels];
      const here = a.allocUnbound(two);
      const there = b.bindInterdomain(one, here.port);
      there.subscribe(() => {});
      await turn();
      const said: boolean[] = [];
      here.subscribe(() => said.push(loop.linger(() => come)));
      const trip = async (): Promise<number> => {
        const before = spins;
        there.notify();
        await turn();
        await turn();
        return spins - before;
      };
      expect(await trip()).to.equal(1); // in the ring's stead
      come = true;
      expect(await trip()).to.equal(2);
      expect(said).to.deep.equal([false, true]);
    });

    it('does not keep other channels of its domains waiting meanwhile', async () => {
      const patient = {
        spin: (hasWork: () => boolean) => {
          for (let looks = 0; looks < 1000; looks++) if (hasWork()) return true;
          return false;
        },
      };
      const [a, b] = begin({ spinner: patient }, one, two) as [HypervisorEventChannels, HypervisorEventChannels];
      const here = a.allocUnbound(two);
      const there = b.bindInterdomain(one, here.port);
      let looks = 0;
      there.subscribe(() => {});
      await turn();
      here.subscribe(() => {
        here.notify();
        loop.linger(() => {
          looks++;
          return false;
        });
      });
      there.notify();
      await turn();
      await turn();
      expect(looks).to.be.within(1, 3);
    });
  });

  describe('that blocks', () => {
    const looks = 0;
    const fired = 1;

    /** Lets a loop run in a thread of its own until it sleeps in Atomics.wait; what it has noted by then. */
    const noted = async (scenario: 'mail' | 'timer' | 'file'): Promise<Int32Array> => {
      begin({});
      hypervisor.domains.create(DOMID_XEN, { domid: one });
      const notes = new Int32Array(new SharedArrayBuffer(8));
      const workerData = { memory: hypervisor.memory.memory, scenario, notes };
      const worker = new Worker(new URL('blocking-loop.worker.js', import.meta.url), { workerData });
      // Resting is declared before it is looked for mail: only one that stays is asleep.
      for (let before = -1; stateOf(one) !== blocked || notes[looks] !== before; ) {
        before = notes[looks] ?? 0;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      const copy = notes.slice();
      await worker.terminate();
      return copy;
    };

    it('does not sleep over mail: its event loop has a turn first', async () => {
      expect((await noted('mail'))[looks]).to.equal(4); // there was some at the first three
    });

    it('leaves the thread to its event loop while a timer is set there', async () => {
      expect((await noted('timer'))[fired]).to.equal(1);
    });

    it('leaves the thread to its event loop while a file is read there', async () => {
      expect((await noted('file'))[fired]).to.equal(1);
    });
  });
});
