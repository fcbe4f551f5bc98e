/** What keeps a thread's event loop alive and brings nothing that a sleeping thread could miss. */
const silent = new Set(['MessagePort', 'CloseReq', 'TTYWrap', 'PipeWrap']);

/** What this thread's event loop has under way, and will have to tell of, by Node's names for it; timers are 'Timeout'. */
export const activeRequests = (): readonly string[] =>
  process.getActiveResourcesInfo().filter((name) => !silent.has(name));

/**
 * Whether something is under way that the event loop will have to tell of: a timer, a file's read, a socket, a task for its next turn. Messages do not count:
 * who sends one to a thread that sleeps wakes it.
 */
export const hasActiveRequests = (): boolean => process.getActiveResourcesInfo().some((name) => !silent.has(name));
