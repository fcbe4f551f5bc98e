/** What a spec does at each access to a shared index; without it, the access happens as ever. */
export interface AtomicsHooks {
  /** The words that are really meant, where a spec put something in their place. */
  readonly real?: (words: Int32Array) => Int32Array;
  /** Called before each access, with the index's word. */
  readonly before?: (words: Int32Array, word: number, stored: number | undefined) => void;
  /** Called after each access, with the value that was loaded or stored. */
  readonly after?: (words: Int32Array, word: number, value: number, kind: 'load' | 'store') => void;
}

/**
 * Lets `run` go through `hooks` at each `Atomics.load` and `Atomics.store`; they are as before when it has ended, however it
 * ended. What runs later, in a callback or after an await, is not hooked.
 */
export const hookAtomics = <T>({ real = (words) => words, before, after }: AtomicsHooks, run: () => T): T => {
  const { load, store } = Atomics;
  Atomics.load = ((words: Int32Array, word: number): number => {
    before?.(words, word, undefined);
    const value = load(real(words), word);
    after?.(words, word, value, 'load');
    return value;
  }) as typeof load;
  Atomics.store = ((words: Int32Array, word: number, stored: number): number => {
    before?.(words, word, stored);
    store(real(words), word, stored);
    after?.(words, word, stored, 'store');
    return stored;
  }) as typeof store;
  try {
    return run();
  } finally {
    Atomics.load = load;
    Atomics.store = store;
  }
};
