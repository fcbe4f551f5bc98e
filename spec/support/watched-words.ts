import { hookAtomics } from './atomics.js';

/** Memory that counts how often each of its words is read and written. */
export class WatchedWords {
  /** What is given to whoever is watched. */
  readonly words: Int32Array;
  /** The memory behind it, not watched. */
  readonly memory: Int32Array;
  /** Reads and writes of each word since {@link forget}. */
  readonly reads: Uint32Array;
  readonly writes: Uint32Array;
  /** Hears of a word right after it was read: what a peer does between two accesses. */
  onRead: (word: number) => void = () => undefined;

  constructor(memory: Int32Array) {
    this.memory = memory;
    this.reads = new Uint32Array(memory.length);
    this.writes = new Uint32Array(memory.length);
    this.words = new Proxy(memory, {
      get: (target, key) => {
        if (typeof key === 'symbol' || !/^\d+$/.test(key)) {
          const value: unknown = Reflect.get(target, key, target);
          if (typeof value !== 'function') return value;
          if (key !== 'fill') throw new Error(`an access by ${String(key)} cannot be watched`);
          return value.bind(target);
        }
        const value = target[Number(key)];
        this.#count(this.reads, Number(key));
        this.onRead(Number(key));
        return value;
      },
      set: (target, key, value) => {
        this.#count(this.writes, Number(key));
        target[Number(key)] = value;
        return true;
      },
    });
  }

  /** Begins to count anew. */
  forget(): void {
    this.reads.fill(0);
    this.writes.fill(0);
  }

  /** Runs what accesses the words by `Atomics` too, which are not counted. */
  run<T>(run: () => T): T {
    return hookAtomics({ real: (words) => (words === this.words ? this.memory : words) }, run);
  }

  #count(counts: Uint32Array, word: number): void {
    counts[word] = (counts[word] as number) + 1;
  }
}
