/**
 * Runs the queues of promises and ticks, as Node does after each of its callbacks; Node itself calls it `runNextTicks` and keeps it on
 * `process` without documenting it. What it throws must not be caught: Node would not survive it. Undefined where it is gone; a turn
 * of the event loop does the same, and is slower.
 */
export const runTicks = (process as { readonly _tickCallback?: () => void })._tickCallback?.bind(process);
