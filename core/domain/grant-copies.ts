import { gntst } from '../abi/gntst.js';
import type { GrantRef } from '../abi/units.js';
import { GrantError } from '../errors.js';
import type { CopySegment, Page, PeerCopySegment } from './grant-table.js';

/** A list of elements of GNTTABOP_copy of one kind. It is kept and used again; nothing is allocated for an element. */
export interface CopyRun {
  /** Elements that were added since the last run. */
  readonly count: number;
  /**
   * Does all elements, each for itself, and forgets them; the index of the first that failed, or -1.
   * @throws Disconnected when the list was a link's, which has ended; XenError when nothing can be copied at all
   */
  run(): number;
  /** What the last run answered for an element, a status of `gntst`; until the next is added. */
  status(i: number): number;
  /** Forgets all elements. */
  clear(): void;
  /** From now on `run` throws this. */
  end(error: Error): void;
  /** Whether it has been ended. */
  readonly ended: boolean;
}

/** Copies between granted pages of a peer and pages of this domain, which must stay until they are done. */
export interface GrantCopies extends CopyRun {
  /**
   * Adds `length` bytes at `offset` of what `ref` grants and at `pageOffset` of `page`; neither side may cross a 4096-byte page.
   * @throws RangeError for bytes that leave `page`; TypeError for a page that is gone
   */
  add(ref: GrantRef, offset: number, page: Page, pageOffset: number, length: number): void;
}

/** Copies from granted pages of one peer to those of another. */
export interface PeerGrantCopies extends CopyRun {
  /** Adds `length` bytes, from `fromOffset` of what `from` grants to `toOffset` of what `to` does; neither side may cross a page. */
  add(from: GrantRef, fromOffset: number, to: GrantRef, toOffset: number, length: number): void;
}

/** A list over calls that take segments, and throw the first error of them; then each is done again by itself. */
class Segments<S> implements CopyRun {
  readonly #copy: (segments: readonly S[]) => void;
  readonly #segments: S[] = [];
  readonly #statuses: number[] = [];
  #ended: Error | undefined;

  constructor(copy: (segments: readonly S[]) => void) {
    this.#copy = copy;
  }

  get count(): number {
    return this.#segments.length;
  }

  run(): number {
    const segments = this.#segments.splice(0);
    if (this.#ended !== undefined) throw this.#ended;
    this.#statuses.length = 0;
    if (segments.length === 0 || this.#try(segments) === gntst.okay) return -1;
    for (const segment of segments) this.#statuses.push(this.#try([segment]));
    return this.#statuses.findIndex((status) => status !== gntst.okay);
  }

  status(i: number): number {
    return this.#statuses[i] ?? gntst.okay;
  }

  clear(): void {
    this.#segments.length = 0;
  }

  end(error: Error): void {
    this.#ended = error;
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  protected put(segment: S): void {
    this.#segments.push(segment);
  }

  #try(segments: readonly S[]): number {
    try {
      this.#copy(segments);
      return gntst.okay;
    } catch (error) {
      if (!(error instanceof GrantError)) throw error;
      return error.status;
    }
  }
}

/** {@link GrantCopies} for a platform that has nothing quicker. */
export class SegmentCopies extends Segments<CopySegment> implements GrantCopies {
  add(ref: GrantRef, offset: number, page: Page, pageOffset: number, length: number): void {
    this.put({ ref, offset, page, pageOffset, length });
  }
}

/** {@link PeerGrantCopies} for a platform that has nothing quicker. */
export class PeerSegmentCopies extends Segments<PeerCopySegment> implements PeerGrantCopies {
  add(from: GrantRef, fromOffset: number, to: GrantRef, toOffset: number, length: number): void {
    this.put({ from, fromOffset, to, toOffset, length });
  }
}
