import type { BackGrants, Page } from '../../core/index.js';
import type { Frame } from './frame.js';

/** Words of a part: a reference, bytes into its page, and how many. */
export const PART_WORDS = 3;

/** A sender of frames whose rest lies in pages that it granted: nothing of them is looked at there, they are copied as they are (XSA-155). */
export interface FrameSource {
  readonly grants: BackGrants;
  /** The parts of all packets of its batch, in their order; of one packet they lie side by side. */
  readonly parts: Int32Array;
  /** Copies the rest of a frame to where it has its place, behind what is there; false when that cannot be, which its sender is told. */
  fetch(frame: Frame): boolean;
  /**
   * Copies bytes of a part alone to where they are looked for by nobody; false when that cannot be: it is the sender's fault then, which is
   * told of it. Of a packet that is refused already nothing is tried. It takes no memory.
   */
  probe(packet: number, ref: number, offset: number, length: number): boolean;
  /** Where {@link probe} copies to: bytes into `staging`. */
  readonly probed: number;
  readonly staging: Page;
}
