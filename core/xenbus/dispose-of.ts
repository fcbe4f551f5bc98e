/** Disposes of what a driver's `connect` returned, if it is disposable. */
export const disposeOf = (result: unknown): void => {
  if (typeof result !== 'object' || result === null || !(Symbol.dispose in result)) return;
  const { [Symbol.dispose]: end } = result;
  if (typeof end === 'function') end.call(result);
};
