import type { MessagePort } from 'node:worker_threads';
import type { SharedMemory } from '../../core/hypervisor/web-assembly.js';
import type { Abi, Domid, LogEntry, Plain, Port } from '../../core/index.js';

/** What a thread is started with, before it has a domain. */
export interface ThreadStart {
  /** What its first file comes to its code by. */
  readonly code: unknown;
  /** One word: how many messages the thread has been sent. The first brings {@link DomainThreadData}. */
  readonly mail: Int32Array;
}

/** What makes a thread a domain's. */
export interface DomainThreadData {
  readonly memory: SharedMemory;
  /** The machine's code for copying, compiled. */
  readonly copyModule: object;
  readonly domid: Domid;
  readonly name: string;
  readonly abi: Abi;
  /** URL of the domain's module. */
  readonly module: string;
  readonly cmdline: Plain;
  readonly offer: { readonly [key: string]: Plain } | undefined;
  /** Whether the thread sleeps in Atomics.wait. */
  readonly blocking: boolean;
  /** Where the domain was built: the frame and the port of its store ring. */
  readonly storeFrame: number;
  readonly storePort: Port;
  /** The host's time of the machine's boot. */
  readonly boot: number;
  /** Doorbells of the domains in other threads; `main` leads to the thread that the machine was made in. */
  readonly main: MessagePort;
  readonly peers: readonly (readonly [Domid, MessagePort])[];
}

/** What the machine tells a domain's thread. */
export type ToDomain =
  /** Load the module and run. */
  | { readonly type: 'go' }
  /** There is another domain's thread. */
  | { readonly type: 'peer'; readonly domid: Domid; readonly port: MessagePort }
  | { readonly type: 'peer-gone'; readonly domid: Domid }
  /** End what the domain's code listens to. */
  | { readonly type: 'quiesce' }
  /** Answer when the event loop has had a turn. */
  | { readonly type: 'settle'; readonly id: number }
  /** Give back what is only kept for reuse, and answer. */
  | { readonly type: 'trim'; readonly id: number };

/** An error as it crosses threads. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
}

/** What a domain's thread answers to 'settle'. */
export interface Settled {
  /** Whether something is still under way, timers aside. */
  readonly busy: boolean;
  /** Whether something is still to come from its host: a timer, a file's read. */
  readonly waits: boolean;
  /** Events delivered so far. */
  readonly delivered: number;
}

/** What a domain's thread tells the machine. */
export type FromDomain =
  /** The module is loaded, its drivers and its program run. */
  | { readonly type: 'runs' }
  /** The module did not load. */
  | { readonly type: 'refused'; readonly error: PlainError }
  /** The program has ended. */
  | { readonly type: 'stopped'; readonly error: PlainError | undefined }
  /** The domain has shut down by a call. */
  | { readonly type: 'shutdown'; readonly code: number }
  /** A watchdog timer of the domain was set or stopped. */
  | { readonly type: 'watchdog' }
  | { readonly type: 'log'; readonly time: number; readonly entry: LogEntry }
  | { readonly type: 'report'; readonly value: Plain }
  | ({ readonly type: 'answer'; readonly id: number } & Settled);

/** @returns what of an error crosses threads */
export const plainError = (error: Error): PlainError => ({
  name: error.name,
  message: error.message,
  stack: error.stack,
});

/** The error that crossed. */
export const errorFrom = ({ name, message, stack }: PlainError): Error => {
  const error = new Error(message);
  error.name = name;
  if (stack !== undefined) error.stack = stack;
  return error;
};
