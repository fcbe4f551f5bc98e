import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { header } from '../../../core/hypervisor/layout.js';
import { Lock, StuckLock } from '../../../core/hypervisor/lock.js';
import { MachineMemory } from '../../../core/hypervisor/memory.js';
import { dom0, dom1, dom2, dom3 } from './machine.js';

describe('the lock', () => {
  const rounds = 50_000;
  const WAITERS = 0x10000;
  let memory: MachineMemory;
  let lock: Lock;
  const word = () => memory.firstFrame * 1024;
  const contender = (domid: number): Promise<unknown> => {
    const data = { memory: memory.memory, domid, word: word(), rounds };
    return once(new Worker(new URL('./lock-worker.js', import.meta.url), { workerData: data }), 'exit');
  };

  beforeEach(() => {
    memory = MachineMemory.create({ bytes: 2 ** 20, domains: 2 });
    lock = new Lock(memory);
  });

  it('says who holds it, in its word: the owner’s domid + 1', () => {
    expect(lock.owner).to.equal(undefined);
    lock.acquire(dom2);
    expect(memory.words[header.lock]).to.equal(3);
    expect(lock.owner).to.equal(dom2);
    lock.release();
    expect(memory.words[header.lock]).to.equal(0);
  });

  it('lets one thread in at a time', async () => {
    await Promise.all([contender(1), contender(2), contender(3)]);
    expect(memory.words[word()]).to.equal(3 * rounds);
    expect(memory.words[header.lock]).to.equal(0);
  });

  it('is taken from a dead domain, and those who wait for it go on', async () => {
    lock.acquire(dom3);
    const waiting = [contender(1), contender(2)];
    while ((Atomics.load(memory.words, header.lock) & WAITERS) === 0)
      await new Promise((resolve) => setTimeout(resolve, 5));
    expect(memory.words[word()]).to.equal(0);
    expect(lock.takeOver(dom3, dom0)).to.equal(true);
    expect(lock.owner).to.equal(dom0);
    lock.release();
    await Promise.all(waiting);
    expect(memory.words[word()]).to.equal(2 * rounds);
  });

  it('does not leave those asleep whom a dead domain was about to wake', async () => {
    lock.acquire(dom3);
    const waiting = [contender(1), contender(2)];
    const waits = (): boolean => Atomics.load(memory.words, header.lock) !== dom3 + 1;
    do await new Promise((resolve) => setTimeout(resolve, 200));
    while (!waits());
    // Domain 3 lets go, and dies before Atomics.notify; or who was woken died before it took the lock.
    Atomics.store(memory.words, header.lock, 0);
    expect(lock.takeOver(dom3, dom0)).to.equal(false);
    expect(memory.words[header.lock]).to.equal(WAITERS | (dom0 + 1));
    lock.release();
    await Promise.all(waiting);
    expect(memory.words[word()]).to.equal(2 * rounds);
  });

  it('is just taken, when the dead domain did not hold it', () => {
    expect(lock.takeOver(dom1, dom0)).to.equal(false);
    expect(lock.owner).to.equal(dom0);
  });
  it('does not hang a thread: who waits long gets an error that names the owner, and has changed nothing', () => {
    const impatient = new Lock(memory, { patience: 20 });
    lock.acquire(dom3);
    const wait = (): void => impatient.acquire(dom1);
    expect(wait).to.throw(StuckLock, /^domain 1 has waited 20 ms for the lock, which domain 3 has/);
    expect(wait).to.throw(StuckLock).with.property('owner', dom3);
    expect(lock.owner).to.equal(dom3);
    lock.release();
    impatient.acquire(dom1);
    expect(lock.owner).to.equal(dom1);
  });

  it('tells a domain at once that it has the lock already, because an exception cut a call of its short', () => {
    lock.acquire(dom1);
    expect(() => lock.acquire(dom1)).to.throw(StuckLock, /^domain 1 already has the lock/);
  });

  it('asks a thread that can find out, again and again, and goes on when that has taken it from the dead', () => {
    const asked: number[] = [];
    const knowing = new Lock(memory, {
      patience: 1000,
      onStuck: (owner, heir, ms) => {
        expect([owner, heir]).to.deep.equal([dom3, dom1]);
        asked.push(ms);
        if (asked.length < 4) return;
        expect(lock.takeOver(owner, heir)).to.equal(true);
        lock.release();
      },
    });
    lock.acquire(dom3);
    knowing.acquire(dom1);
    expect(lock.owner).to.equal(dom1);
    expect(asked).to.deep.equal([5, 10, 15, 20]);
  });

  it('counts no time in which it changes hands', () => {
    let changes = 0;
    const impatient = new Lock(memory, {
      patience: 15,
      onStuck: (owner) => {
        lock.release();
        if (++changes < 10) lock.acquire(owner === dom2 ? dom3 : dom2);
      },
    });
    lock.acquire(dom2);
    impatient.acquire(dom1);
    expect(changes).to.equal(10);
  });

  it('is not lost to the others when a thread is terminated that waits for it, or was woken to take it', async () => {
    for (let round = 0; round < 10; round++) {
      lock.acquire(dom0);
      const data = { memory: memory.memory, word: word(), rounds };
      const threads = [1, 2, 3].map(
        (domid) => new Worker(new URL('./lock-worker.js', import.meta.url), { workerData: { ...data, domid } }),
      );
      const exits = threads.map((thread) => once(thread, 'exit'));
      while ((Atomics.load(memory.words, header.lock) & WAITERS) === 0)
        await new Promise((resolve) => setTimeout(resolve, 1));
      // In even rounds the dead waits, in odd ones it has been woken: the first who waits is.
      if (round % 2 === 1) lock.release();
      void threads[0]?.terminate();
      if (round % 2 === 0) lock.release();
      await exits[0];
      lock.takeOver(dom1, dom0);
      lock.release();
      await Promise.all(exits);
      expect(memory.words[word()]).to.be.within(2 * rounds, 3 * rounds);
      memory.words[word()] = 0;
      expect(lock.owner).to.equal(undefined);
    }
  });
});
