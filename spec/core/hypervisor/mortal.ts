import type { Ring } from '../../../core/hypervisor/doorbell.js';
import { Hypervisor, type OnStuck } from '../../../core/hypervisor/hypervisor.js';
import type { MachineSize } from '../../../core/hypervisor/memory.js';

/** Thrown where a thread was to be terminated. Our Xen has no `finally`, so nothing runs after it, as in a terminated thread. */
export class Death extends Error {}

const writers = ['store', 'add', 'sub', 'and', 'or', 'xor', 'exchange', 'compareExchange'] as const;
const readers = ['load', 'notify', 'wait'] as const;

type Operation = (array: Int32Array, ...rest: number[]) => unknown;

/**
 * A hypervisor whose caller can be made to die before any of its writes to the tables, or to be overtaken before any of its
 * accesses, plain ones as well as those by Atomics. Its words are a Proxy, and Atomics is replaced, while one of the methods here
 * runs; they may be nested. Time does not pass: a wait is over at once.
 */
export class Mortal {
  readonly hypervisor: Hypervisor;
  readonly #attach: () => Hypervisor;
  #bystander: Hypervisor | undefined;
  #words: Int32Array;
  #proxy: Int32Array;
  #left = Number.POSITIVE_INFINITY;
  #writes = 0;
  #accesses = 0;
  #until = Number.POSITIVE_INFINITY;
  #other: () => void = () => {};

  constructor(size: MachineSize, ring: Ring, onStuck?: OnStuck) {
    const plain = globalThis.Int32Array;
    this.#words = new plain(0);
    this.#proxy = this.#words;
    let hypervisor: Hypervisor | undefined;
    globalThis.Int32Array = new Proxy(plain, {
      construct: (target, args: [SharedArrayBuffer]) => {
        const words = new target(args[0]);
        this.#words = words;
        this.#proxy = new Proxy(words, {
          get: (array, key) => {
            this.#access();
            const value: unknown = Reflect.get(array, key);
            return typeof value === 'function' ? value.bind(array) : value;
          },
          set: (array, key, value: number) => {
            this.#access();
            this.#write();
            return Reflect.set(array, key, value);
          },
        });
        return this.#proxy;
      },
    });
    try {
      this.#run(() => {
        hypervisor = Hypervisor.create(size, ring, onStuck);
      });
    } finally {
      globalThis.Int32Array = plain;
    }
    if (hypervisor === undefined) throw new Error('no hypervisor');
    const { memory } = hypervisor.memory;
    this.hypervisor = hypervisor;
    this.#attach = () => new Hypervisor(memory, ring, onStuck);
  }

  /** One over the same memory whose callers nothing befalls, and which is much quicker; there is another thread once it was asked for. */
  get bystander(): Hypervisor {
    this.#bystander ??= this.#attach();
    return this.#bystander;
  }

  /** Runs calls that survive; how many writes they made. */
  live(calls: () => void): number {
    this.#left = Number.POSITIVE_INFINITY;
    return this.#run(calls);
  }

  /** Runs calls whose caller dies after `writes` writes; false when they had come to their end by then. */
  die(writes: number, calls: () => void): boolean {
    this.#left = writes;
    try {
      this.#run(calls);
      return false;
    } catch (error) {
      if (!(error instanceof Death)) throw error;
      return true;
    } finally {
      this.#left = Number.POSITIVE_INFINITY;
    }
  }

  /**
   * Runs `calls`, and `other` when `accesses` of their accesses have been made, as another thread would; false when they had come
   * to their end by then, and `other` has not run.
   */
  overtake(accesses: number, other: () => void, calls: () => void): boolean {
    this.#accesses = 0;
    this.#until = accesses;
    this.#other = other;
    this.live(calls);
    const overtaken = this.#until === Number.POSITIVE_INFINITY;
    this.#until = Number.POSITIVE_INFINITY;
    return overtaken;
  }

  #access(): void {
    if (this.#accesses++ < this.#until) return;
    this.#until = Number.POSITIVE_INFINITY;
    this.#other();
  }

  #write(): void {
    if (this.#left === 0) throw new Death();
    this.#left--;
    this.#writes++;
  }

  #run(calls: () => void): number {
    this.#writes = 0;
    const kept = new Map<string, Operation>();
    const atomics = Atomics as unknown as Record<string, Operation>;
    for (const name of [...writers, ...readers]) {
      const operation = atomics[name] as Operation;
      const writes = (writers as readonly string[]).includes(name);
      kept.set(name, operation);
      atomics[name] = (array, ...rest) => {
        if (name === 'wait') return 'timed-out';
        if (array === this.#proxy) this.#access();
        if (writes && array === this.#proxy) this.#write();
        return operation(array === this.#proxy ? this.#words : array, ...rest);
      };
    }
    try {
      calls();
    } finally {
      for (const [name, operation] of kept) atomics[name] = operation;
    }
    return this.#writes;
  }
}
