import { PeerFault } from '../errors.js';

/** The states of a device's end, as its `state` node spells them (xenbus.h `XenbusState`). */
export const xenbusState = {
  Unknown: 0,
  Initialising: 1,
  InitWait: 2,
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
  Reconfiguring: 7,
  Reconfigured: 8,
} as const satisfies Readonly<Record<string, number>>;

/** The name of a XenBus state. */
export type XenbusState = keyof typeof xenbusState;

const names = Object.keys(xenbusState) as readonly XenbusState[];

/** Reads a `state` node: no node is Unknown. @throws PeerFault for a text that is no state */
export const parseState = (text: string | undefined): XenbusState => {
  if (text === undefined) return 'Unknown';
  const name = /^[0-8]$/.test(text) ? names[Number(text)] : undefined;
  if (name === undefined) throw new PeerFault('state', JSON.stringify(text));
  return name;
};

/** The text of a state for its `state` node. */
export const showState = (state: XenbusState): string => String(xenbusState[state]);

/** Nothing to do until the named end has reached one of the states. */
export interface Wait {
  readonly wait: 'frontend' | 'backend';
  readonly for: string;
}

const backendTo = (state: string): Wait => ({ wait: 'backend', for: state });
const frontendTo = (state: string): Wait => ({ wait: 'frontend', for: state });

/**
 * What a frontend does:
 * - `share`: negotiate, share zeroed rings, write the keys and Initialised in one transaction;
 * - `connect`: read the backend's keys, hand the link to the driver, then Connected;
 * - `stay`: Connected it remains; the backend's keys are read again, since writing Connected anew announces a change;
 * - `close`: take no more requests, reject what is outstanding, then Closing;
 * - `closed`: Closed, the grants still standing: the backend may have the pages mapped;
 * - `release`: the backend has let go: end the grants, close the channel; then start again unless the device is to end;
 * - `restart`: the backend vanished or began anew without closing: drop everything, then Initialising.
 */
export type FrontStep = 'share' | 'connect' | 'stay' | 'close' | 'closed' | 'release' | 'restart';

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
    // Somebody before us used the device and did not close it: firmware, or a driver that died.
    Connected: 'close',
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
    Unknown: 'release',
    Initialising: 'release',
    InitWait: 'release',
    Initialised: backendTo('Closed'),
    Connected: backendTo('Closed'),
    Closing: backendTo('Closed'),
    Closed: 'release',
    Reconfiguring: backendTo('Closed'),
    Reconfigured: backendTo('Closed'),
  },
} as const satisfies Readonly<Record<FrontState, Readonly<Record<XenbusState, FrontStep | Wait>>>>;

/**
 * What a backend does:
 * - `offer`: write the keys of InitWait and that state in one transaction;
 * - `connect`: read the frontend's keys, map its rings, bind its channel, hand the link to the driver; then the keys of
 *   Connected and that state in one transaction;
 * - `stay`: nothing, it is connected;
 * - `close`: take no more requests, answer those that are taken, then Closing;
 * - `disconnect`: the same if it was not done, then unmap and unbind, then Closed;
 * - `destroy`: the same for good; the toolstack takes the directory away.
 */
export type BackStep = 'offer' | 'connect' | 'stay' | 'close' | 'disconnect' | 'destroy';

/** The states that a backend may be in itself. */
export type BackState = 'Initialising' | 'InitWait' | 'Connected' | 'Closing' | 'Closed';

/**
 * What a backend does next, by its own state and the frontend's (xenbus.h, blkback `frontend_changed`).
 * A frontend may go straight to Connected (net), may close before it ever connects (Windows), or come back without closing.
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
    Unknown: 'destroy',
    Initialising: frontendTo('Initialised'),
    InitWait: frontendTo('Initialised'),
    Initialised: 'connect',
    Connected: 'connect',
    Closing: 'close',
    Closed: 'disconnect',
    Reconfiguring: frontendTo('Initialised'),
    Reconfigured: frontendTo('Initialised'),
  },
  Connected: {
    Unknown: 'destroy',
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
    Unknown: 'destroy',
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
    Unknown: 'destroy',
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
