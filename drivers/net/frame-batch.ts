import type { Page } from '../../core/index.js';
import { Frame } from './frame.js';

/** Frames that came together. They, and their bytes, are valid during the call that hands them out: who needs one longer copies it. */
export class FrameBatch implements Iterable<Frame> {
  readonly #frames: Frame[] = [];
  readonly #page: Page;
  #count = 0;

  /** @param page where the frames lie: private, so that no peer can change them any more (XSA-155) */
  constructor(page: Page) {
    this.#page = page;
  }

  get length(): number {
    return this.#count;
  }

  /** The `i`th frame. @throws RangeError */
  at(i: number): Frame {
    const frame = i >= 0 && i < this.#count ? this.#frames[i] : undefined;
    if (frame === undefined) throw new RangeError(`there are ${this.#count} frames in this batch, and none is ${i}`);
    return frame;
  }

  *[Symbol.iterator](): IterableIterator<Frame> {
    for (let i = 0; i < this.#count; i++) yield this.#frames[i] as Frame;
  }

  /** Another frame, to be set. */
  add(): Frame {
    let frame = this.#frames[this.#count];
    if (frame === undefined) {
      frame = new Frame(this.#page);
      this.#frames.push(frame);
    }
    this.#count++;
    return frame;
  }

  clear(): void {
    this.#count = 0;
  }
}
