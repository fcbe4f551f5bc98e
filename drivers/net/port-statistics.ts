/** Why a frame went no further. */
export const dropReasons = [
  'too-short', // less than an Ethernet header
  'too-long', // more than the receiving side takes
  'too-many-slots',
  'bad-size', // slots that add up to more than the packet
  'bad-grant', // a reference that could not be copied from or to
  'bad-checksum', // blank, of a packet that is neither TCP nor UDP
  'bad-gso', // a large packet that cannot be cut
  'no-room', // the receiving side does not take as fast
  'expired', // it waited too long for the receiving side
  'carrier-off', // the receiving side has stopped taking
  'own-source', // it says that it comes from another station of the vif's bridge: a group's address
  'not-joined', // multicast that the receiving side has not asked for
] as const;
export type DropReason = (typeof dropReasons)[number];

/** What the log says of the first frame that is dropped for a reason. */
export const droppedText = (reason: DropReason): string => `drops a frame: ${reason}; more are only counted`;

/** What has gone through a port of a bridge since it was made; `received` is what came in from its side. */
export class PortStatistics {
  received = 0;
  receivedBytes = 0;
  sent = 0;
  sentBytes = 0;
  /** Frames that were sent on to all ports, of what was received. */
  flooded = 0;
  /** Large packets that were cut, and checksums that were finished, for the port's receiving side. */
  segmented = 0;
  checksummed = 0;
  readonly dropped: Readonly<Record<DropReason, number>>;
  readonly #dropped: Record<DropReason, number>;
  readonly #onFirst: ((reason: DropReason) => void) | undefined;

  /** @param onFirst hears of the first frame that is dropped for a reason */
  constructor(onFirst?: (reason: DropReason) => void) {
    this.#onFirst = onFirst;
    this.#dropped = Object.fromEntries(dropReasons.map((reason) => [reason, 0])) as Record<DropReason, number>;
    this.dropped = this.#dropped;
  }

  /** Counts a frame that went no further. */
  drop(reason: DropReason): void {
    if (this.#dropped[reason]++ === 0) this.#onFirst?.(reason);
  }
}
