import { SECTOR_SIZE } from '../../core/index.js';
import { differsAt, fillSector, SECTOR_WORDS } from './pattern.js';

/** Words before the tables: the version that was given out last. */
const HEAD = 1;

/**
 * What a part of a disk must hold: for each sector the version whose write was answered last, and the one whose write is under way. It
 * lies in shared memory, so that it outlives the guest that keeps it. A write that was answered is there from then on, whoever
 * dies: the host, which keeps the file, lives on. One without an answer may have happened or not, sector by sector.
 */
export class Model {
  readonly first: number;
  readonly sectors: number;
  readonly #last: Uint32Array;
  readonly #answered: Uint32Array;
  readonly #sent: Uint32Array;

  /**
   * @param bytes the shared memory, {@link bytesFor} long
   * @param first the first sector of the part
   */
  constructor(bytes: Uint8Array, first: number, sectors: number) {
    this.first = first;
    this.sectors = sectors;
    const { buffer, byteOffset } = bytes;
    this.#last = new Uint32Array(buffer, byteOffset, HEAD);
    this.#answered = new Uint32Array(buffer, byteOffset + HEAD * 4, sectors);
    this.#sent = new Uint32Array(buffer, byteOffset + (HEAD + sectors) * 4, sectors);
  }

  static bytesFor(sectors: number): number {
    return (HEAD + 2 * sectors) * 4;
  }

  /** Makes up what is written next to some sectors, in `words`, and notes that it is under way. */
  write(sector: number, words: Int32Array): void {
    const version = (this.#last[0] as number) + 1;
    this.#last[0] = version;
    const at = sector - this.first;
    const count = words.length / SECTOR_WORDS;
    // Noted first: a guest that dies in between has sent nothing, and the version before is allowed too.
    for (let i = 0; i < count; i++) this.#sent[at + i] = version;
    for (let i = 0; i < count; i++) fillSector(words, i * SECTOR_WORDS, sector + i, version);
  }

  /** The write was answered. */
  answered(sector: number, count: number): void {
    const at = sector - this.first;
    for (let i = 0; i < count; i++) {
      this.#answered[at + i] = this.#sent[at + i] as number;
      this.#sent[at + i] = 0;
    }
  }

  /** What is wrong with some sectors as they were read; undefined: nothing. */
  check(sector: number, words: Int32Array): string | undefined {
    for (let i = 0; i < words.length / SECTOR_WORDS; i++) {
      if (this.#versionIn(sector + i, words, i * SECTOR_WORDS) === undefined) return this.#tell(sector + i, words, i);
    }
    return undefined;
  }

  /** As {@link check}, for a reader that nobody writes beside: of writes without an answer, what was found counts from then on. */
  settle(sector: number, words: Int32Array): string | undefined {
    for (let i = 0; i < words.length / SECTOR_WORDS; i++) {
      const version = this.#versionIn(sector + i, words, i * SECTOR_WORDS);
      if (version === undefined) return this.#tell(sector + i, words, i);
      this.#answered[sector + i - this.first] = version;
      this.#sent[sector + i - this.first] = 0;
    }
    return undefined;
  }

  /** Writes without an answer, in sectors. */
  get underWay(): number {
    return this.#sent.reduce((count, version) => count + (version === 0 ? 0 : 1), 0);
  }

  /** The version that a sector was found in; undefined: none that it may be in. */
  #versionIn(sector: number, words: Int32Array, at: number): number | undefined {
    const answered = this.#answered[sector - this.first] as number;
    if (differsAt(words, at, sector, answered) < 0) return answered;
    const sent = this.#sent[sector - this.first] as number;
    return sent !== 0 && differsAt(words, at, sector, sent) < 0 ? sent : undefined;
  }

  #tell(sector: number, words: Int32Array, i: number): string {
    const at = i * SECTOR_WORDS;
    const answered = this.#answered[sector - this.first] as number;
    const sent = this.#sent[sector - this.first] as number;
    const word = differsAt(words, at, sector, answered);
    const allowed = sent === 0 ? `version ${answered}` : `version ${answered} or ${sent}`;
    const [number, version] = [(words[at] as number) >>> 0, (words[at + 1] as number) >>> 0];
    return `sector ${sector} differs from byte ${word * 4} (of ${SECTOR_SIZE}) on: it must hold ${allowed}, and says that it is version ${version} of sector ${number}`;
  }
}
