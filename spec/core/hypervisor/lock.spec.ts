import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { header } from '../../../core/hypervisor/layout.js';
import { Lock } from '../../../core/hypervisor/lock.js';
import { MachineMemory } from '../../../core/hypervisor/memory.js';
import { dom0, dom1, dom2, dom3 } from './machine.js';

describe('the lock', () => {
  const rounds = 50_000;
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
    const WAITERS = 0x10000;
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
    lock.release();
    await Promise.all(waiting);
    expect(memory.words[word()]).to.equal(2 * rounds);
  });

  it('is just taken, when the dead domain did not hold it', () => {
    expect(lock.takeOver(dom1, dom0)).to.equal(false);
    expect(lock.owner).to.equal(dom0);
  });
});
