import { type BackGrants, type GrantCopies, type GrantRef, gntst, type PeerGrantCopies } from '../../core/index.js';
import type { FrameSource } from './frame-source.js';

const OKAY = gntst.okay;
/** Words of a copy: the sender's reference and offset, the receiver's, length; the slot that it fills, and the packet that it is of. */
const WORDS = 7;

/** Copies of frames' bytes from their senders' pages into one receiver's that are done together. Nothing is allocated for a copy. */
export class ForwardBatch {
  readonly #grants: BackGrants;
  readonly #lists = new WeakMap<FrameSource, PeerGrantCopies>();
  #again: GrantCopies | undefined;
  declare private source: FrameSource | undefined;
  declare private copies: PeerGrantCopies | undefined;
  /** What each copy is, for when it fails. */
  declare private words: Int32Array;
  declare private added: number;

  /** @param grants of the receiver's link */
  constructor(grants: BackGrants) {
    this.#grants = grants;
    this.source = this.copies = undefined;
    this.words = new Int32Array(64 * WORDS);
    this.added = 0;
  }

  /** Copies that are there. */
  get count(): number {
    return this.added;
  }

  /** Whether copies of this sender's can be added: those of another have to be done first. */
  isFor(source: FrameSource): boolean {
    return this.added === 0 || this.source === source;
  }

  add(
    source: FrameSource,
    packet: number,
    ref: number,
    offset: number,
    to: GrantRef,
    toOffset: number,
    length: number,
    slot: number,
  ): void {
    if (this.source !== source) this.#turn(source);
    const at = this.added++ * WORDS;
    if (at === this.words.length) this.#grow();
    const { words } = this;
    words[at] = ref;
    words[at + 1] = offset;
    words[at + 2] = to;
    words[at + 3] = toOffset;
    words[at + 4] = length;
    words[at + 5] = slot;
    words[at + 6] = packet;
    this.copies?.add(ref as GrantRef, offset, to, toOffset, length);
  }

  /**
   * Does all copies, and forgets them; `failed` hears of a slot that could not be filled, and whether that is its receiver's fault. Xen does
   * not say which end of a copy is at fault: one that failed is done again by way of own memory. @throws as CopyRun.run
   */
  run(failed: (slot: number, isReceiver: boolean) => void): void {
    const { added: count, copies, source } = this;
    this.added = 0;
    if (count === 0 || copies === undefined || source === undefined) return;
    const first = copies.run();
    if (first < 0) return;
    for (let i = first; i < count; i++) if (copies.status(i) !== OKAY) this.#retry(source, i * WORDS, failed);
  }

  /** Forgets all copies. */
  clear(): void {
    this.added = 0;
    this.copies?.clear();
    this.source = this.copies = undefined;
  }

  #retry(source: FrameSource, at: number, failed: (slot: number, isReceiver: boolean) => void): void {
    const word = (i: number): number => this.words[at + i] as number;
    const [ref, offset, to, toOffset] = [word(0), word(1), word(2) as GrantRef, word(3)];
    const [length, slot, packet] = [word(4), word(5), word(6)];
    if (!source.probe(packet, ref, offset, length)) {
      failed(slot, false);
      return;
    }
    this.#again ??= this.#grants.copiesTo();
    this.#again.add(to, toOffset, source.staging, source.probed, length);
    if (this.#again.run() >= 0) failed(slot, true);
  }

  #grow(): void {
    const words = new Int32Array(this.words.length * 2);
    words.set(this.words);
    this.words = words;
  }

  #turn(source: FrameSource): void {
    let copies = this.#lists.get(source);
    if (copies === undefined) {
      copies = this.#grants.copiesBetween(source.grants);
      this.#lists.set(source, copies);
    }
    this.source = source;
    this.copies = copies;
  }
}
