/** Elements of a list that one call copies without letting the lock go, some microseconds at most; and of a list, unless it is to grow. */
export const COPY_LIST_ELEMENTS = 32;

/** Words of an element: reference, offset, frame or the other reference, its offset, length, and, out, a status of `gntst`. */
export const COPY_WORDS = 6;
const REF = 0;
const OTHER = 2;
const STATUS = 5;

/**
 * Elements of GNTTABOP_copy between one peer's grants and the caller's own frames, or another's grants, in private memory: what is checked is
 * what is used, and no code of others runs while the lock is held. Numbers are cut to 32 bits.
 */
export class CopyList {
  declare words: Int32Array;
  declare private readonly grows: boolean;
  declare private last: number;

  /** @param grows whether there is room for as many elements as are added, not for {@link COPY_LIST_ELEMENTS} alone */
  constructor(grows = false) {
    this.words = new Int32Array(COPY_LIST_ELEMENTS * COPY_WORDS);
    this.grows = grows;
    this.last = 0;
  }

  /**
   * Adds an element: `length` bytes from or to byte `offset` of what `ref` grants, and byte `otherOffset` of an own frame, or of what a
   * reference of the other peer's grants. @throws RangeError when the list is full
   */
  add(ref: number, offset: number, other: number, otherOffset: number, length: number): void {
    const end = this.last;
    if (end > this.words.length - 6) this.#grow();
    const words = this.words;
    words[end] = ref;
    words[end + 1] = offset;
    words[end + 2] = other;
    words[end + 3] = otherOffset;
    words[end + 4] = length;
    this.last = end + 6;
  }

  clear(): void {
    this.last = 0;
  }

  /** Words that are in use. */
  get end(): number {
    return this.last;
  }

  get isFull(): boolean {
    return this.last === this.words.length;
  }

  /** The reference of an element. */
  ref(index: number): number {
    return this.words[index * COPY_WORDS + REF] as number;
  }

  /** Its own frame, or its other reference. */
  other(index: number): number {
    return this.words[index * COPY_WORDS + OTHER] as number;
  }

  /** What the last copy of the list answered for an element. */
  status(index: number): number {
    return this.words[index * COPY_WORDS + STATUS] as number;
  }

  #grow(): void {
    if (!this.grows) throw new RangeError('this list is full: copy what it holds, then clear it');
    const words = new Int32Array(this.words.length * 2);
    words.set(this.words);
    this.words = words;
  }
}
