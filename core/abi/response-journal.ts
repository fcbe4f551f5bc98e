import { sring } from './ring.js';

/** Words of the longest response that can be noted. */
export const NOTED_WORDS = 4;
/** Words of a note: a response, and the index behind its slot. */
const NOTE = NOTED_WORDS + 1;
/** What an index is noted with, so that a page that was never noted on holds none that is near. */
const MARK = 0x52534a4c;

/**
 * A backend's notes of the responses that it is about to put in, in the part of the ring's page that no protocol uses (ring.h `__pad`). There
 * are two, used in turn: a note is whole from when its index is written until the one after the next is begun. So whoever attaches to the page
 * of a backend that died knows that all slots before the later note's hold responses, and has that response itself; what follows are
 * requests. A frontend that writes there spoils its own ring, and no other.
 */
export class ResponseJournal {
  declare private readonly words: Int32Array;
  declare private readonly length: number;
  /** The response that is put in next: private, since what is on the page may be the peer's. */
  declare readonly response: Int32Array;

  /** @throws RangeError for responses that a note has no room for */
  constructor(words: Int32Array, responseWords: number) {
    if (responseWords > NOTED_WORDS) throw new RangeError(`a response of ${responseWords} words cannot be noted`);
    this.words = words;
    this.length = responseWords;
    this.response = new Int32Array(responseWords);
  }

  /** Makes both notes say nothing of the slots from `index` on, whatever lies there. */
  begin(index: number): void {
    for (let note = 0; note < 2; note++) Atomics.store(this.words, sring.pad + note * NOTE + NOTED_WORDS, index ^ MARK);
  }

  /** Where the note for the slot before `index` has the response. */
  place(index: number): number {
    return sring.pad + (index & 1) * NOTE;
  }

  /** Notes the response, and then puts it into the slot at a word, the one before `index`. */
  put(slot: number, index: number): void {
    const { words, response, length } = this;
    const note = sring.pad + (index & 1) * NOTE;
    for (let i = 0; i < length; i++) words[note + i] = response[i] as number;
    Atomics.store(words, note + NOTED_WORDS, index ^ MARK);
    for (let i = 0; i < length; i++) words[slot + i] = response[i] as number;
  }

  /** The index behind the last response that was put in, or was about to be, of the `count` slots behind `from`; `from` if there is none. */
  end(from: number, count: number): number {
    let end = 0;
    for (let note = 0; note < 2; note++) {
      const index = Atomics.load(this.words, sring.pad + note * NOTE + NOTED_WORDS) ^ MARK;
      const ahead = (index - from) >>> 0;
      if (ahead <= count && ahead > end && (index & 1) === note) end = ahead;
    }
    return (from + end) | 0;
  }
}
