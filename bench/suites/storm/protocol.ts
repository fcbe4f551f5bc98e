/** Where the storm goes: from a guest to a backend, from a guest to the store, from a backend to a guest. */
export type Storm = 'backend' | 'store' | 'guest';

/** Raised each second (XSA-391). */
export const EVENTS_PER_SECOND = 100_000;

/** How they are spread: a hundred each millisecond, or some whenever the thread can be woken again, 14 000 times a second or so. */
export type Pace = 'bursts' | 'even';

/** What one window of a measurement has: no events, events at a port that nobody has bound, events at the victim's peer. */
export type Weather = 'calm' | 'decoy' | 'storm';

/** What a victim loads. */
export type VictimCommandLine = {
  /** The disk that it reads from, by its number; undefined: it reads from the store. */
  readonly disk: number | undefined;
};

/** How much has been done so far, now and then. */
export type Progress = {
  /** Milliseconds, of the victim's clock. */
  readonly at: number;
  readonly done: number;
};

/** How many events a stormer has raised, at the end of each storm. */
export type Raised = { readonly raised: number; readonly ms: number };

/** A domain's own node: what it is to do, as JSON. */
export const ORDER = 'data/storm';
export interface Order {
  readonly weather: 'decoy' | 'storm';
  readonly pace: Pace;
  readonly ms: number;
  /** Which time this is: no two orders are the same. */
  readonly count: number;
}
