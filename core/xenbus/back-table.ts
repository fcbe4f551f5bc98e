import { frontendTo, type Wait, type XenbusState } from './states.js';

/**
 * What a backend does, and the state that it moves to with it:
 * - `offer`: write the keys of InitWait with the state, in one transaction;
 * - `connect`: read the frontend's keys, map its rings, bind its channel, hand the link to the driver; then the keys of Connected with
 *   the state, in one transaction, provided that the frontend still stands by what it wrote;
 * - `takeUp`: the same without an offer, of a ring that an earlier life of this end has left, and the frontend is connected to;
 * - `withdraw`: the frontend closed, or vanished, without having connected;
 * - `stay`: nothing, it is connected;
 * - `close`: take no more requests, answer those that are taken;
 * - `disconnect`: the same if it was not done, then unmap and unbind.
 */
export const backSteps = {
  offer: 'InitWait',
  connect: 'Connected',
  takeUp: 'Connected',
  withdraw: 'Closed',
  stay: undefined,
  close: 'Closing',
  disconnect: 'Closed',
} as const satisfies Readonly<Record<string, XenbusState | undefined>>;

/** One step of a backend. */
export type BackStep = keyof typeof backSteps;

/** The steps that answer the frontend's state: they are taken only if it still stands when this end's own is written. */
export const backAnswers: ReadonlySet<BackStep> = new Set(['connect', 'takeUp', 'withdraw']);

/** The states that a backend may be in itself. */
export type BackState = 'Initialising' | 'InitWait' | 'Connected' | 'Closing' | 'Closed';

/**
 * What a backend does next, by its own state and the frontend's (xenbus.h, blkback `frontend_changed`). A frontend may share its rings
 * before it sees InitWait (fbfront), go straight to Connected (netfront), close before it ever connects (Windows), or come back
 * without closing. A backend never removes its own directory: that would read as an unplug.
 */
export const backendTable = {
  Initialising: {
    Unknown: frontendTo('Initialising'),
    Initialising: 'offer',
    InitWait: 'offer',
    Initialised: 'offer',
    Connected: 'offer',
    Closing: 'offer',
    Closed: 'offer',
    Reconfiguring: 'offer',
    Reconfigured: 'offer',
  },
  InitWait: {
    Unknown: 'withdraw',
    Initialising: frontendTo('Initialised'),
    InitWait: frontendTo('Initialised'),
    Initialised: 'connect',
    Connected: 'connect',
    Closing: 'close',
    Closed: 'withdraw',
    Reconfiguring: frontendTo('Initialised'),
    Reconfigured: frontendTo('Initialised'),
  },
  Connected: {
    Unknown: 'disconnect',
    Initialising: 'disconnect',
    InitWait: 'stay',
    Initialised: 'stay',
    Connected: 'stay',
    Closing: 'close',
    Closed: 'disconnect',
    Reconfiguring: 'stay',
    Reconfigured: 'stay',
  },
  Closing: {
    Unknown: 'disconnect',
    Initialising: 'disconnect',
    InitWait: frontendTo('Closed'),
    Initialised: frontendTo('Closed'),
    Connected: frontendTo('Closed'),
    Closing: frontendTo('Closed'),
    Closed: 'disconnect',
    Reconfiguring: frontendTo('Closed'),
    Reconfigured: frontendTo('Closed'),
  },
  Closed: {
    Unknown: frontendTo('Initialising'),
    Initialising: 'offer',
    InitWait: frontendTo('Initialising'),
    Initialised: frontendTo('Closing'),
    Connected: frontendTo('Closing'),
    Closing: frontendTo('Closed'),
    Closed: frontendTo('Initialising'),
    Reconfiguring: frontendTo('Closing'),
    Reconfigured: frontendTo('Closing'),
  },
} as const satisfies Readonly<Record<BackState, Readonly<Record<XenbusState, BackStep | Wait>>>>;

/** What a backend knows besides the two states. */
export interface BackMemory {
  /** Whether this is not its first look at them. */
  readonly begun: boolean;
  /** Whether it closes only what an earlier life left, and offers itself anew after it, once. */
  readonly comeBack: boolean;
  /** The frontend's state from before the last failure or fresh start: it says nothing until it changes. */
  readonly past: XenbusState | undefined;
}

/** What a backend knows at first. */
export const backBeginning: BackMemory = { begun: false, comeBack: false, past: undefined };

/** What a backend knows when it has failed: it does not offer itself again to a frontend that has not moved. */
export const backFailed = (other: XenbusState | undefined): BackMemory => ({
  begun: true,
  comeBack: false,
  past: other,
});

const isBackState = (state: XenbusState): state is BackState => Object.hasOwn(backendTable, state);

/**
 * What a backend does next, and what it knows from then on; undefined when there is nothing left to do: the toolstack takes the
 * directory away.
 * @param online what the toolstack says in `online`
 * @param repeatable whether it may take up what an earlier life has left (`Protocol.repeatable`)
 */
export const backDecision = (
  memory: BackMemory,
  own: XenbusState,
  other: XenbusState,
  online: boolean,
  repeatable = false,
): { readonly does: BackStep | Wait | undefined; readonly memory: BackMemory } => {
  const past = other === memory.past ? memory.past : undefined;
  const stale = !memory.begun && own !== 'Initialising';
  const comeBack = online && (memory.comeBack || stale);
  const known = { begun: true, comeBack, past };
  // Only a life before this one can have left such a state, so nobody waits for what it means.
  if (!isBackState(own)) return { does: 'close', memory: known };
  if (stale && repeatable && online) {
    const goesOn = { begun: true, comeBack: false, past };
    if (own === 'InitWait' && other !== 'Unknown') return { does: 'offer', memory: goesOn };
    if (own === 'Connected' && other === 'Connected') return { does: 'takeUp', memory: goesOn };
  }
  if (stale && own !== 'Closing' && own !== 'Closed') return { does: 'close', memory: known };
  if (own === 'Closed') {
    if (!online) return { does: undefined, memory: known };
    // The frontend's Closed belongs to the life before: it has not looked yet.
    if (comeBack && other === 'Closed') return { does: 'offer', memory: { begun: true, comeBack: false, past: other } };
    if (past === 'Initialising') return { does: frontendTo('Closed'), memory: known };
  }
  if (own === 'InitWait' && past !== undefined) return { does: frontendTo('Initialised'), memory: known };
  const does = backendTable[own][other];
  return { does, memory: does === 'offer' ? { ...known, comeBack: false } : known };
};
