import type { Domid } from '../abi/units.js';
import { header } from './layout.js';
import type { MachineMemory } from './memory.js';

const OWNER = 0xffff;
const WAITERS = 0x10000;
const SPINS = 64;
/** How often one who can find out looks whether the owner is gone, and one who cannot looks at the word, in milliseconds. */
const ASK = 5;
const LOOK = 100;
/**
 * How long the word may stand still: a section takes microseconds. Who is to hear of deaths gives up first: where it cannot find
 * out, its event loop must turn before the others lose their patience.
 */
const PATIENCE = { asks: 3_000, looks: 10_000 } as const;

/** What a thread that can wait for a dead one may do about it. */
export interface LockOptions {
  /**
   * Asked every few milliseconds while the lock does not change hands: `owner` has it, `heir` has waited for `ms`. It may recover
   * the lock for `heir`, who goes on waiting when it returns.
   */
  readonly onStuck?: (owner: Domid, heir: Domid, ms: number) => void;
  /**
   * After how many milliseconds in which the lock did not change hands a wait ends with {@link StuckLock}. Default 3 000 with
   * `onStuck`, else 10 000.
   */
  readonly patience?: number;
}

/**
 * The lock is held by one who will not let go: it was thrown before the call changed anything. Either the owner's thread is gone
 * and its {@link Hypervisor.recover} has not come, or it is held up (by a debugger, say), or an exception, such as the stack's
 * overflow, has cut a call of its short: then its thread must be ended, for its tables are half changed.
 */
export class StuckLock extends Error {
  override readonly name = 'StuckLock';

  constructor(
    readonly owner: Domid,
    caller: Domid,
    ms: number,
  ) {
    super(
      owner === caller
        ? `domain ${caller} already has the lock: a call of its was cut short; end its thread and recover it`
        : `domain ${caller} has waited ${ms} ms for the lock, which domain ${owner} has: has its thread died unnoticed?`,
    );
  }
}

/**
 * The lock around every change of a table that one compare-and-swap cannot make.
 *
 * Its word holds the owner's domid + 1, so that it can be taken away from a domain whose thread was terminated with it. Sections
 * are short and call nothing outside of our Xen, hence no `finally`: what death leaves half done no `finally` mends.
 *
 * Nobody waits for ever. Who waits looks again now and then, so a wake-up that died with its sender or its receiver costs a
 * moment; time counts only while the word stands still, and by naps, so a process that was stopped as a whole does not count.
 */
export class Lock {
  readonly #words: Int32Array;
  readonly #onStuck: LockOptions['onStuck'];
  readonly #patience: number;

  constructor(memory: MachineMemory, options: LockOptions = {}) {
    this.#words = memory.words;
    this.#onStuck = options.onStuck;
    this.#patience = options.patience ?? (options.onStuck === undefined ? PATIENCE.looks : PATIENCE.asks);
  }

  /** Takes the lock for a domain's call; waits for another thread that has it. @throws StuckLock when that does not let go */
  acquire(owner: Domid): void {
    if (Atomics.compareExchange(this.#words, header.lock, 0, owner + 1) !== 0) this.#contend(owner);
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

  #contend(caller: Domid): void {
    const words = this.#words;
    const mine = caller + 1;
    for (let spins = 0; spins < SPINS; spins++) {
      if (Atomics.load(words, header.lock) === 0 && Atomics.compareExchange(words, header.lock, 0, mine) === 0) return;
    }
    const nap = Math.min(this.#onStuck === undefined ? LOOK : ASK, this.#patience);
    let waited = 0;
    let before = 0;
    for (;;) {
      const seen = Atomics.load(words, header.lock);
      const held = seen | WAITERS;
      if (seen === 0) {
        // Others may still wait behind us: our release has to notify.
        if (Atomics.compareExchange(words, header.lock, 0, mine | WAITERS) === 0) return;
      } else if (seen === held || Atomics.compareExchange(words, header.lock, seen, held) === seen) {
        const stands = Atomics.wait(words, header.lock, held, nap) === 'timed-out';
        waited = stands ? (held === before ? waited + nap : nap) : 0;
        before = held;
        if (stands) this.#grumble(held, caller, waited);
      }
    }
  }

  /** What one who waits does about an owner that does not let go: `held` is its word. */
  #grumble(held: number, caller: Domid, waited: number): void {
    const owner = ((held & OWNER) - 1) as Domid;
    const stands = (): boolean => Atomics.load(this.#words, header.lock) === held;
    if (stands()) this.#onStuck?.(owner, caller, waited);
    if ((owner === caller || waited >= this.#patience) && stands()) throw new StuckLock(owner, caller, waited);
  }
}
