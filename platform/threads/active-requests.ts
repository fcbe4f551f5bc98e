/** What keeps a thread's event loop alive and brings nothing that a sleeping thread could miss. */
const silent = new Set(['MessagePort', 'CloseReq', 'TTYWrap', 'PipeWrap']);

/**
 * Whether something is under way that the event loop will have to tell of: a timer, a file's read, a socket, a task for its next turn. Messages do not count:
 * who sends one to a thread that sleeps wakes it.
 */
export const activeRequests = (): boolean => process.getActiveResourcesInfo().some((name) => !silent.has(name));

/** Whether some of them is no timer: something that is being done, and not only waited for. */
export const activeBesidesTimers = (): boolean =>
  process.getActiveResourcesInfo().some((name) => name !== 'Timeout' && !silent.has(name));
