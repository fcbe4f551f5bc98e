import type { Domid } from '../abi/units.js';
import { header } from './layout.js';
import type { MachineMemory } from './memory.js';

const OWNER = 0xffff;
const WAITERS = 0x10000;
const SPINS = 64;

/**
 * The lock around every change of a table that one compare-and-swap cannot make.
 *
 * Its word holds the owner's domid + 1, so that it can be taken away from a domain whose thread was terminated with it. Sections
 * are short and call nothing outside of our Xen, hence no `finally`: only death leaves one half done, and no `finally` runs then.
 */
export class Lock {
  readonly #words: Int32Array;

  constructor(memory: MachineMemory) {
    this.#words = memory.words;
  }

  /** Takes the lock for a domain's call; waits for another thread that has it. */
  acquire(owner: Domid): void {
    if (Atomics.compareExchange(this.#words, header.lock, 0, owner + 1) !== 0) this.#contend(owner + 1);
  }

  release(): void {
    if (Atomics.exchange(this.#words, header.lock, 0) & WAITERS) Atomics.notify(this.#words, header.lock, 1);
  }

  /** The domain that holds the lock. */
  get owner(): Domid | undefined {
    const owner = Atomics.load(this.#words, header.lock) & OWNER;
    return owner === 0 ? undefined : ((owner - 1) as Domid);
  }

  /**
   * Takes the lock for `heir`, out of the hands of `dead` if it has it; says whether it had. Its release wakes one who waits even
   * where the word tells of none: the dead may have let go and not have woken them, or have been the one who was woken.
   */
  takeOver(dead: Domid, heir: Domid): boolean {
    for (;;) {
      const seen = Atomics.load(this.#words, header.lock);
      if ((seen & OWNER) !== dead + 1) {
        this.acquire(heir);
        Atomics.or(this.#words, header.lock, WAITERS);
        return false;
      }
      if (Atomics.compareExchange(this.#words, header.lock, seen, (heir + 1) | WAITERS) === seen) return true;
    }
  }

  #contend(owner: number): void {
    const words = this.#words;
    for (let spins = 0; spins < SPINS; spins++) {
      if (Atomics.load(words, header.lock) === 0 && Atomics.compareExchange(words, header.lock, 0, owner) === 0) return;
    }
    for (;;) {
      const seen = Atomics.load(words, header.lock);
      if (seen === 0) {
        // Others may still wait behind us: our release has to notify.
        if (Atomics.compareExchange(words, header.lock, 0, owner | WAITERS) === 0) return;
      } else if (seen & WAITERS || Atomics.compareExchange(words, header.lock, seen, seen | WAITERS) === seen) {
        Atomics.wait(words, header.lock, seen | WAITERS);
      }
    }
  }
}
