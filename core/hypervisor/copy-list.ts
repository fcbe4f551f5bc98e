/** Elements of a list: as many as one call copies without letting the lock go, some microseconds at most. */
export const COPY_LIST_ELEMENTS = 32;

/** Words of an element: reference, offset, frame, its offset, length, and, out, a status of `gntst`. */
export const COPY_WORDS = 6;
const REF = 0;
const STATUS = 5;

/**
 * Up to {@link COPY_LIST_ELEMENTS} elements of GNTTABOP_copy between one peer's grants and the caller's own frames, in private memory:
 * what is checked is what is used, and no code of others runs while the lock is held. Numbers are cut to 32 bits.
 */
export class CopyList {
  readonly words: Int32Array = new Int32Array(COPY_LIST_ELEMENTS * COPY_WORDS);
  #end = 0;

  /**
   * Adds an element: `length` bytes from or to byte `offset` of what `ref` grants, and byte `frameOffset` of an own frame.
   * @throws RangeError when the list is full
   */
  add(ref: number, offset: number, frame: number, frameOffset: number, length: number): void {
    const words = this.words;
    const end = this.#end;
    if (end > words.length - 6) throw new RangeError('this list is full: copy what it holds, then clear it');
    words[end] = ref;
    words[end + 1] = offset;
    words[end + 2] = frame;
    words[end + 3] = frameOffset;
    words[end + 4] = length;
    this.#end = end + 6;
  }

  clear(): void {
    this.#end = 0;
  }

  /** Words that are in use. */
  get end(): number {
    return this.#end;
  }

  get isFull(): boolean {
    return this.#end === this.words.length;
  }

  /** The reference of an element. */
  ref(index: number): number {
    return this.words[index * COPY_WORDS + REF] as number;
  }

  /** What the last copy of the list answered for an element. */
  status(index: number): number {
    return this.words[index * COPY_WORDS + STATUS] as number;
  }
}
