/** Elements of a list: as many as one call copies without letting the lock go, some microseconds at most. */
export const COPY_LIST_ELEMENTS = 32;

/** Word offsets in an element. */
const word = { ref: 0, offset: 1, frame: 2, frameOffset: 3, length: 4, status: 5 } as const;
const ELEMENT_WORDS = 6;

/**
 * Up to {@link COPY_LIST_ELEMENTS} elements of GNTTABOP_copy between one peer's grants and the caller's own frames, in private memory:
 * what is checked is what is used, and no code of others runs while the lock is held. Numbers are cut to 32 bits.
 */
export class CopyList {
  readonly #words = new Int32Array(COPY_LIST_ELEMENTS * ELEMENT_WORDS);
  #end = 0;

  /** Adds an element: `length` bytes from or to byte `offset` of what `ref` grants, and byte `frameOffset` of an own frame. */
  add(ref: number, offset: number, frame: number, frameOffset: number, length: number): void {
    const words = this.#words;
    const at = this.#end;
    if (at >= words.length) throw new RangeError(`a list holds ${COPY_LIST_ELEMENTS} elements: copy it, then clear it`);
    words[at + word.ref] = ref;
    words[at + word.offset] = offset;
    words[at + word.frame] = frame;
    words[at + word.frameOffset] = frameOffset;
    words[at + word.length] = length;
    this.#end = at + ELEMENT_WORDS;
  }

  clear(): void {
    this.#end = 0;
  }

  get count(): number {
    return this.#end / ELEMENT_WORDS;
  }

  get isFull(): boolean {
    return this.#end === COPY_LIST_ELEMENTS * ELEMENT_WORDS;
  }

  ref(index: number): number {
    return this.#words[index * ELEMENT_WORDS + word.ref] as number;
  }

  offset(index: number): number {
    return this.#words[index * ELEMENT_WORDS + word.offset] as number;
  }

  frame(index: number): number {
    return this.#words[index * ELEMENT_WORDS + word.frame] as number;
  }

  frameOffset(index: number): number {
    return this.#words[index * ELEMENT_WORDS + word.frameOffset] as number;
  }

  length(index: number): number {
    return this.#words[index * ELEMENT_WORDS + word.length] as number;
  }

  /** What the last copy of the list answered for an element: a status of `gntst`. */
  status(index: number): number {
    return this.#words[index * ELEMENT_WORDS + word.status] as number;
  }

  setStatus(index: number, status: number): void {
    this.#words[index * ELEMENT_WORDS + word.status] = status;
  }
}
