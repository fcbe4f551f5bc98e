import { XenError } from '../../core/errors.js';
import type { OwnDomain } from './own-domain.js';

/** Frames that the pool keeps; what is beyond goes back to Xen. */
const KEPT = 1024;

/** A domain's free pages, kept for its next need: runs by their length. Nothing leaves it that has not been zeroed (XSA-403). */
export class PagePool {
  readonly #own: OwnDomain;
  readonly #runs: number[][] = [];
  #kept = 0;

  constructor(own: OwnDomain) {
    this.#own = own;
  }

  /** The first frame of `count` zeroed ones side by side. @throws XenError ENOMEM; RangeError unless `count` is 1 or more */
  take(count: number): number {
    const { hypervisor, domid } = this.#own;
    const kept = this.#runs[count]?.pop();
    if (kept !== undefined) {
      this.#kept -= count;
      hypervisor.memory.zero(kept, count);
      return kept;
    }
    let frame = hypervisor.pages.populate(domid, domid, count);
    if (frame < 0 && this.#kept > 0) {
      this.trim();
      frame = hypervisor.pages.populate(domid, domid, count);
    }
    if (frame < 0) throw new XenError(-frame, `${count} pages for domain ${domid}`);
    return frame;
  }

  give(frame: number, count: number): void {
    if (this.#kept + count > KEPT) {
      this.#release(frame, count);
      return;
    }
    let runs = this.#runs[count];
    if (runs === undefined) {
      runs = [];
      this.#runs[count] = runs;
    }
    runs.push(frame);
    this.#kept += count;
  }

  /** Pages that wait in the pool. */
  get kept(): number {
    return this.#kept;
  }

  /** Gives all free pages back to Xen. */
  trim(): void {
    this.#runs.forEach((runs, count) => {
      for (const frame of runs) this.#release(frame, count);
    });
    this.#runs.length = 0;
    this.#kept = 0;
  }

  #release(frame: number, count: number): void {
    const { hypervisor, domid, isGone } = this.#own;
    if (!isGone) hypervisor.pages.release(domid, frame, count);
  }
}
