const operations = [
  'load',
  'store',
  'add',
  'sub',
  'and',
  'or',
  'xor',
  'exchange',
  'compareExchange',
  'notify',
] as const;

type Operation = (...args: readonly unknown[]) => unknown;

/**
 * Runs `body`, and `other` at the moment `at` of it, as another thread would. Moments are before and after each operation of
 * Atomics: plain accesses lie between them.
 * @returns whether `body` came that far; when not, `other` has not run
 */
export const preempt = (at: number, other: () => void, body: () => void): boolean => {
  const atomics = Atomics as unknown as Record<string, Operation>;
  const kept = new Map(operations.map((name) => [name, atomics[name] as Operation]));
  const restore = (): void => {
    for (const [name, operation] of kept) atomics[name] = operation;
  };
  let left = at;
  const moment = (): void => {
    if (left-- !== 0) return;
    restore();
    other();
  };
  for (const [name, operation] of kept) {
    atomics[name] = (...args) => {
      moment();
      const result = operation(...args);
      moment();
      return result;
    };
  }
  try {
    body();
  } finally {
    restore();
  }
  return left < 0;
};
