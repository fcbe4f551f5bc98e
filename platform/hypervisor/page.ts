import type { GrantRef } from '../../core/abi/units.js';
import { PAGE_SIZE } from '../../core/abi/units.js';
import type { Page, SharedPage } from '../../core/domain/grant-table.js';

/** Memory whose frames are looked at. */
export interface FrameMemory {
  readonly buffer: ArrayBufferLike;
}

/** Views of frames of the machine's memory. Those of single frames are kept, so that mapping one again allocates none. */
export class FrameViews {
  readonly #memory: FrameMemory;
  readonly #bytes: Uint8Array[] = [];
  readonly #words: Int32Array[] = [];

  constructor(memory: FrameMemory) {
    this.#memory = memory;
  }

  bytes(frame: number, count: number): Uint8Array {
    if (count !== 1) return new Uint8Array(this.#memory.buffer, frame * PAGE_SIZE, count * PAGE_SIZE);
    this.#bytes[frame] ??= new Uint8Array(this.#memory.buffer, frame * PAGE_SIZE, PAGE_SIZE);
    return this.#bytes[frame];
  }

  words(frame: number, count: number): Int32Array {
    if (count !== 1) return new Int32Array(this.#memory.buffer, frame * PAGE_SIZE, count * (PAGE_SIZE / 4));
    this.#words[frame] ??= new Int32Array(this.#memory.buffer, frame * PAGE_SIZE, PAGE_SIZE / 4);
    return this.#words[frame];
  }
}

/** A run of frames as a {@link Page}. */
export class FramePage implements Page {
  #views: FrameViews | undefined;
  #bytes: Uint8Array | undefined;
  #words: Int32Array | undefined;

  constructor(
    views: FrameViews,
    /** The first frame. */
    readonly frame: number,
    /** Pages in the run. */
    readonly count: number,
  ) {
    this.#views = views;
  }

  get bytes(): Uint8Array {
    const views = this.#live();
    this.#bytes ??= views.bytes(this.frame, this.count);
    return this.#bytes;
  }

  get words(): Int32Array {
    const views = this.#live();
    this.#words ??= views.words(this.frame, this.count);
    return this.#words;
  }

  /**
   * A page that is one of these and has not been disposed. It asks for a private field, which costs a test of the object's shape;
   * `instanceof` walks up its prototypes.
   * @throws TypeError
   */
  static live(page: Page): FramePage {
    if (!(#views in page)) throw new TypeError('only pages of this grant table can be copied');
    if (page.#views === undefined) throw new TypeError('this page has been disposed');
    return page;
  }

  /** Whether the page has been disposed. */
  get isGone(): boolean {
    return this.#views === undefined;
  }

  [Symbol.dispose](): void {
    if (this.#views === undefined) return;
    this.#views = undefined;
    this.#bytes = undefined;
    this.#words = undefined;
    this.gone();
  }

  /** What the kind of page does when it is disposed, once. */
  protected gone(): void {}

  #live(): FrameViews {
    if (this.#views === undefined)
      throw new TypeError('this page has been disposed: its memory may be another’s by now');
    return this.#views;
  }
}

/** An own page; `give` takes the frames back. */
export class OwnPage extends FramePage {
  readonly #give: (page: OwnPage) => void;

  constructor(views: FrameViews, frame: number, count: number, give: (page: OwnPage) => void) {
    super(views, frame, count);
    this.#give = give;
  }

  protected override gone(): void {
    this.#give(this);
  }
}

/** An own page that a peer was granted. */
export class GrantedPage extends FramePage implements SharedPage {
  readonly #isInUse: (page: GrantedPage) => boolean;
  readonly #end: (page: GrantedPage) => void;

  constructor(
    views: FrameViews,
    frame: number,
    readonly refs: readonly GrantRef[],
    isInUse: (page: GrantedPage) => boolean,
    end: (page: GrantedPage) => void,
  ) {
    super(views, frame, refs.length);
    this.#isInUse = isInUse;
    this.#end = end;
  }

  get ref(): GrantRef {
    return this.refs[0] as GrantRef;
  }

  get inUse(): boolean {
    return !this.isGone && this.#isInUse(this);
  }

  protected override gone(): void {
    this.#end(this);
  }
}

/** A peer's page, mapped. */
export class MappedPage extends FramePage {
  readonly #unmap: (page: MappedPage) => void;

  constructor(
    views: FrameViews,
    frame: number,
    count: number,
    /** The mapping's handle; a run of several pages has one for each. */
    readonly handles: number | readonly number[],
    unmap: (page: MappedPage) => void,
  ) {
    super(views, frame, count);
    this.#unmap = unmap;
  }

  protected override gone(): void {
    this.#unmap(this);
  }
}
