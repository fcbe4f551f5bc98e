import { AsyncResource } from 'node:async_hooks';

/** What keeps a thread's event loop alive and brings nothing that a sleeping thread could miss. */
const silent = new Set(['MessagePort', 'CloseReq', 'TTYWrap', 'PipeWrap']);

/** What this thread's event loop has under way, and will have to tell of, by Node's names for it; timers are 'Timeout'. */
export const activeRequests = (): readonly string[] =>
  process.getActiveResourcesInfo().filter((name) => !silent.has(name));

/**
 * Whether something is under way that the event loop will have to tell of: a timer, a file's read, a socket, a task for its next turn.
 * Messages do not count: who sends one to a thread that sleeps wakes it.
 */
export const hasActiveRequests = (): boolean => process.getActiveResourcesInfo().some((name) => !silent.has(name));

/** Node numbers what it will tell of later, in one sequence for a thread: the next number, taken. */
const nextAsyncId = (): number => new AsyncResource('DomainLoop', { requireManualDestroy: true }).asyncId();

/**
 * Answers the same before each sleep of a thread, but asks for Node's list, which takes as long as a dozen events, only when something
 * was begun since the last time, or was under way then.
 */
export class ActivityWatch {
  #lastId = -1;
  #active = false;

  /**
   * `none` is what the list said just now. `nothing new` is as good but for what begins without a number: a timer that was refreshed after
   * it had fired, or is referenced again.
   */
  look(): 'some' | 'none' | 'nothing new' {
    const id = nextAsyncId();
    const isNew = id !== this.#lastId + 1;
    this.#lastId = id;
    if (!this.#active && !isNew) return 'nothing new';
    this.#active = hasActiveRequests();
    return this.#active ? 'some' : 'none';
  }
}
