import { backendTo, type Wait, type XenbusState } from './states.js';

/**
 * What a frontend does, and the state that it moves to with it:
 * - `share`: negotiate, share zeroed rings, write the keys and the state in one transaction;
 * - `connect`: read the backend's keys, hand the link to the driver;
 * - `stay`: read the backend's keys again, since writing Connected anew announces a change;
 * - `close`: take no more requests, reject what is outstanding;
 * - `reset`: the same for what somebody else left, to come back after it: firmware, a kernel before this one, a program that died;
 * - `closed`: the grants still stand, as the backend may have the pages mapped;
 * - `release`: the backend has let go: end the grants, close the channel, and leave it at that;
 * - `again`: the same, then start anew;
 * - `restart`: the backend vanished, or began anew without closing: drop everything.
 */
export const frontSteps = {
  share: 'Initialised',
  connect: 'Connected',
  stay: undefined,
  close: 'Closing',
  reset: 'Closing',
  closed: 'Closed',
  release: undefined,
  again: 'Initialising',
  restart: 'Initialising',
} as const satisfies Readonly<Record<string, XenbusState | undefined>>;

/** One step of a frontend. */
export type FrontStep = keyof typeof frontSteps;

/** The steps that answer the backend's state: they are taken only if it still stands when this end's own is written. */
export const frontAnswers: ReadonlySet<FrontStep> = new Set(['share', 'closed']);

/** The states that a frontend may be in itself. */
export type FrontState = 'Initialising' | 'Initialised' | 'Connected' | 'Closing' | 'Closed';

/**
 * What a frontend does next, by its own state and the backend's (xenbus.h, blkfront `blkback_changed`). Any state of the peer
 * may have been skipped, since watches coalesce: each cell does all of the work that is missing.
 */
export const frontendTable = {
  Initialising: {
    Unknown: backendTo('InitWait'),
    Initialising: backendTo('InitWait'),
    InitWait: 'share',
    Initialised: backendTo('InitWait'),
    // Somebody before us used the device and did not close it.
    Connected: 'reset',
    // The toolstack withdraws a device that was never connected.
    Closing: 'closed',
    Closed: backendTo('InitWait'),
    Reconfiguring: backendTo('InitWait'),
    Reconfigured: backendTo('InitWait'),
  },
  Initialised: {
    Unknown: 'restart',
    Initialising: backendTo('Connected'),
    InitWait: backendTo('Connected'),
    Initialised: backendTo('Connected'),
    Connected: 'connect',
    Closing: 'close',
    Closed: 'close',
    Reconfiguring: backendTo('Connected'),
    Reconfigured: backendTo('Connected'),
  },
  Connected: {
    Unknown: 'restart',
    Initialising: 'restart',
    InitWait: 'restart',
    Initialised: 'stay',
    Connected: 'stay',
    Closing: 'close',
    Closed: 'close',
    Reconfiguring: 'stay',
    Reconfigured: 'stay',
  },
  Closing: {
    Unknown: 'closed',
    Initialising: 'closed',
    InitWait: backendTo('Closing'),
    Initialised: backendTo('Closing'),
    Connected: backendTo('Closing'),
    Closing: 'closed',
    Closed: 'closed',
    Reconfiguring: backendTo('Closing'),
    Reconfigured: backendTo('Closing'),
  },
  Closed: {
    Unknown: 'again',
    Initialising: 'again',
    InitWait: 'again',
    Initialised: backendTo('Closed'),
    Connected: backendTo('Closed'),
    Closing: backendTo('Closed'),
    // A backend that closed for reasons of its own begins anew by itself, or not at all.
    Closed: 'release',
    Reconfiguring: backendTo('Closed'),
    Reconfigured: backendTo('Closed'),
  },
} as const satisfies Readonly<Record<FrontState, Readonly<Record<XenbusState, FrontStep | Wait>>>>;

/** What a frontend knows besides the two states. */
export interface FrontMemory {
  /** Whether this is not its first look at them. */
  readonly begun: boolean;
  /** Whether it is to close for good. */
  readonly closing: boolean;
  /** Whether it closes only what an earlier life left, and goes on from there, once. */
  readonly comeBack: boolean;
}

/** What a frontend knows at first. */
export const frontBeginning: FrontMemory = { begun: false, closing: false, comeBack: false };

const isFrontState = (state: XenbusState): state is FrontState => Object.hasOwn(frontendTable, state);

/** What a frontend does next, and what it knows from then on. */
export const frontDecision = (
  memory: FrontMemory,
  own: XenbusState,
  other: XenbusState,
): { readonly does: FrontStep | Wait; readonly memory: FrontMemory } => {
  const { closing } = memory;
  const known = (comeBack: boolean): FrontMemory => ({ begun: true, closing, comeBack });
  if (!isFrontState(own)) return { does: 'restart', memory: known(false) };
  const stale = !memory.begun && own !== 'Initialising';
  const comeBack = !closing && (memory.comeBack || stale);
  const open = own !== 'Closing' && own !== 'Closed';
  if (open && (closing || stale)) return { does: closing ? 'close' : 'reset', memory: known(comeBack) };
  const does = frontendTable[own][other];
  if (does === 'reset') return { does, memory: known(true) };
  if (does === 'again' || (does === 'release' && comeBack)) {
    return { does: closing ? 'release' : 'again', memory: known(false) };
  }
  return { does, memory: known(comeBack) };
};
