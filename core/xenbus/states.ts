import { PeerFault } from '../errors.js';
import { quoted } from './quoted.js';

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

/** Reads the `state` node at `path`: no node is Unknown. @throws PeerFault for a text that is no state */
export const parseState = (text: string | undefined, path = 'state'): XenbusState => {
  if (text === undefined) return 'Unknown';
  const name = /^[0-8]$/.test(text) ? names[Number(text)] : undefined;
  if (name === undefined) throw new PeerFault(path, quoted(text));
  return name;
};

/** The text of a state for its `state` node. */
export const showState = (state: XenbusState): string => String(xenbusState[state]);

/** Nothing to do until the named end has reached a state. */
export interface Wait {
  readonly wait: 'frontend' | 'backend';
  readonly for: XenbusState;
}

/** Waits for the backend. */
export const backendTo = (state: XenbusState): Wait => ({ wait: 'backend', for: state });
/** Waits for the frontend. */
export const frontendTo = (state: XenbusState): Wait => ({ wait: 'frontend', for: state });
