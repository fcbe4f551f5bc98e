/** Requests or responses of one upcall, give or take a ring, where it can be asked for another. */
export const MOST = 256;

/** Looks out for nothing. */
export const neverLinger = (): boolean => false;

/** Holds nothing back. */
export const neverHold = (): void => {};

/** What either end's pump of a ring works with. */
export interface PumpOptions {
  /** Raises the event at the other end. */
  readonly notify: () => void;
  /**
   * Asks for another upcall, soon; an upcall then ends after some {@link MOST} requests or responses, so that a peer that always has
   * more starves nobody. Without it, it ends when there are none.
   */
  readonly again?: () => void;
  /** Looks out for what `isThere` tells of before an event is asked for; says whether to look once more. Without it nobody looks. */
  readonly linger?: (isThere: () => boolean) => boolean;
  /** Holds back wake-ups of others, and ends that, around what raises several events. */
  readonly hold?: () => void;
  readonly release?: () => void;
  /** Hears what callbacks throw that is no answer; the other requests are not disturbed. */
  readonly onError: (error: unknown) => void;
}
