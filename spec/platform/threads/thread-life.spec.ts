import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { Domid } from '../../../core/abi/units.js';
import { Hypervisor } from '../../../core/hypervisor/hypervisor.js';
import { control, header, PAGE_WORDS } from '../../../core/hypervisor/layout.js';
import { MachineMemory } from '../../../core/hypervisor/memory.js';
import { isGone, ownThread, ThreadLife } from '../../../platform/threads/thread-life.js';
import { expectSound } from '../../core/hypervisor/invariants.js';
import { addDomain, dom0, dom1, ok } from '../../core/hypervisor/machine.js';

const linux = existsSync('/proc/thread-self');
const onLinux = linux ? it : it.skip;
const reason = linux ? '' : ' (skipped: only Linux tells it, in /proc)';

describe('the life of a thread', () => {
  let memory: MachineMemory;
  let life: ThreadLife;
  let hypervisor: Hypervisor;
  let worker: Worker;
  let exit: Promise<unknown>;
  let word: number;

  /** Starts a domain's thread, which tells its id; returns when it has. */
  const start = (domid: Domid, locks: boolean): void => {
    Atomics.store(memory.words, word, 0);
    worker = new Worker(new URL('./holder-worker.js', import.meta.url), {
      workerData: { memory: memory.memory, domid, locks, word: word },
    });
    exit = once(worker, 'exit');
    expect(Atomics.wait(memory.words, word, 0, 15_000)).to.not.equal('timed-out');
  };
  const tid = (domid: Domid): number => memory.words[memory.control(memory.slotOf(domid)) + control.thread] as number;

  beforeEach(() => {
    memory = MachineMemory.create({ bytes: 2 ** 20, domains: 4 });
    life = new ThreadLife(memory);
    hypervisor = new Hypervisor(memory, undefined, (owner) => life.isGone(owner));
    addDomain(hypervisor, dom0, { privileged: true });
    word = ok(hypervisor.pages.populate(dom0, dom0, 1)) * PAGE_WORDS;
    addDomain(hypervisor, dom1, { ownThread: true });
  });

  afterEach(async () => {
    if (worker === undefined) return;
    await worker.terminate();
    await exit;
  });

  onLinux(`is told of the calling thread itself${reason}`, () => {
    const own = ownThread();
    expect(own?.tid).to.be.above(0);
    expect(own !== undefined && isGone(own)).to.equal(false);
  });

  onLinux(`is over when the thread has ended, which its parent sees without its event loop${reason}`, () => {
    start(dom1, false);
    expect(memory.words[word]).to.equal(1);
    expect(life.isGone(dom1)).to.equal(false);
    void worker.terminate();
    while (!life.isGone(dom1)) Atomics.wait(memory.words, word, 1, 1);
    expect(existsSync(`/proc/self/task/${tid(dom1)}`)).to.equal(false);
  });

  onLinux(`is not another thread’s that has got the same number${reason}`, () => {
    const own = ownThread();
    expect(own !== undefined && isGone({ ...own, start: own.start + 1 })).to.equal(true);
  });

  it('is not taken to be over where nobody told which thread it is', () => {
    expect(life.isGone(dom1)).to.equal(false);
    expect(life.isGone(9 as Domid)).to.equal(false);
  });

  it('is told of no domain that does not exist', () => {
    expect(life.publish(9 as Domid)).to.equal(false);
  });

  onLinux(
    `lets a call go on that waits for a lock whose owner dies, in the parent that cannot hear of it${reason}`,
    () => {
      start(dom1, true);
      expect(memory.words[header.lock]).to.equal(dom1 + 1);
      void worker.terminate();
      const page = ok(hypervisor.pages.populate(dom0, dom0, 1));
      ok(hypervisor.pages.release(dom0, page, 1));
      expectSound(hypervisor, 'recovered on the spot');
      expect(hypervisor.recover(dom0, dom1)).to.deep.equal([]);
      ok(hypervisor.destroyDomain(dom0, dom1));
      expect(hypervisor.domains.lifeOf(dom1)).to.equal('none');
    },
  );

  it('ends the waits for a lock that died with its thread, when its parent hears of it', async () => {
    start(dom1, true);
    const rounds = 1000;
    const count = word + 1;
    const waiting = [2, 3].map((domid) => {
      const workerData = { memory: memory.memory, domid, word: count, rounds };
      return once(new Worker(new URL('../../core/hypervisor/lock-worker.js', import.meta.url), { workerData }), 'exit');
    });
    const WAITERS = 0x10000;
    while ((Atomics.load(memory.words, header.lock) & WAITERS) === 0)
      await new Promise((resolve) => setTimeout(resolve, 1));
    await worker.terminate();
    expect(memory.words[count]).to.equal(0);
    expect(hypervisor.recover(dom0, dom1)).to.deep.equal(['domain 1 held the lock']);
    await Promise.all(waiting);
    expect(memory.words[count]).to.equal(2 * rounds);
    expectSound(hypervisor, 'recovered by the parent');
  });

  onLinux(`can be ended by one whom it holds up for too long${reason}`, () => {
    const asked: number[] = [];
    const stern = new Hypervisor(memory, undefined, (owner, ms) => {
      if (ms > 50 && asked.push(ms) === 1) void worker.terminate();
      return life.isGone(owner);
    });
    start(dom1, true);
    ok(stern.pages.release(dom0, ok(stern.pages.populate(dom0, dom0, 1)), 1));
    expect(asked).to.not.deep.equal([]);
  });
});
