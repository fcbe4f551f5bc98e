import type { FrontRing } from '../abi/front-ring.js';
import type { RecordView } from '../abi/message.js';
import type { Draft, Slot, Struct, View } from '../abi/struct.js';
import { Disconnected, PeerFault } from '../errors.js';
import { Idle } from './idle.js';
import type { PacketSender } from './packet-sender.js';
import { MOST, neverLinger, type PumpOptions } from './pump-options.js';
import type { Done, Fill, Lost, RequestRing } from './request-ring.js';

/** What a frontend's requests work with. */
export interface RequestsOptions<R extends Struct, Id> extends PumpOptions {
  /** Whether a response answers an extra, and names no request (netif.h `NETIF_RSP_NULL`). */
  readonly isExtra?: ((response: View<R, Id>) => boolean) | undefined;
}

/** A request's id, and who is to hear of its response; as long as it is free, a link of the list of those. */
class Call<R extends Struct, Id> {
  readonly id: number;
  done: Done<R, Id> | undefined = undefined;
  lost: Lost | undefined = undefined;
  next: Call<R, Id> | undefined = undefined;

  constructor(id: number) {
    this.id = id;
  }
}

/** Somebody who wants a slot, in the order of asking. */
interface Waiting {
  readonly room: () => void;
  readonly lost: ((error: Error) => void) | undefined;
  readonly slots: number;
}

/**
 * A frontend's requests on one ring: each gets an id and a slot, and its response is handed to whoever sent it. Nothing is allocated
 * for `submit`; `request` makes a promise.
 */
export class Requests<Q extends Struct, R extends Struct, Id extends string = never>
  implements RequestRing<Q, R, Id>, PacketSender<Q, R, Id>
{
  declare readonly entries: number;
  // What is read for each request is declared, not made here: see FrontRing.
  declare private readonly ring: FrontRing<Q, R, Id>;
  declare private readonly paired: boolean;
  declare private readonly notify: () => void;
  declare private readonly isExtra: ((response: View<R, Id>) => boolean) | undefined;
  /** Extras that were sent and not answered. */
  declare private extras: number;
  readonly #again: (() => void) | undefined;
  readonly #linger: (isThere: () => boolean) => boolean;
  readonly #isThere = (): boolean => this.ring.hasUnconsumed;
  readonly #onError: (error: unknown) => void;
  /** All ids, by number. */
  declare private readonly calls: readonly Call<R, Id>[];
  /** The free ids: the next to use, and where the list ends. */
  declare private spare: Call<R, Id> | undefined;
  declare private last: Call<R, Id> | undefined;
  /** Whether free slots are not for newcomers: others wait, or the link is closed. */
  #held = false;
  /** Whether responses are being handed out. */
  #taking = false;
  /** What was found wrong outside of an upcall, for the next one to throw. */
  #fault: PeerFault | undefined;
  #queue: Waiting[] = [];
  readonly #idle = new Idle(() => this.closed === undefined && (this.outstanding > 0 || this.#queue.length > 0));
  declare private closed: Error | undefined;

  constructor(ring: FrontRing<Q, R, Id>, options: RequestsOptions<R, Id>) {
    const { entries } = ring;
    this.ring = ring;
    this.entries = entries;
    this.paired = ring.paired;
    this.notify = options.notify;
    this.isExtra = options.isExtra;
    this.extras = 0;
    this.spare = this.last = this.closed = undefined;
    this.#again = options.again;
    this.#linger = options.linger ?? neverLinger;
    this.#onError = options.onError;
    this.calls = Array.from({ length: entries }, (_, id) => new Call<R, Id>(id));
    for (let i = 0; i < entries; i++) this.#append(this.calls[(ring.nextRequest + i) % entries]);
  }

  /** Hands one response to who sent its request. */
  readonly #answered = (response: View<R, Id> & RecordView, slot: number): void => {
    if (this.isExtra?.(response) === true) {
      if (this.extras === 0) throw new PeerFault('a response to an extra that was not sent');
      this.extras--;
      return;
    }
    const id = this.paired === true ? response.$lo : slot;
    const call = id >>> 0 < this.entries && response.$hi === 0 ? this.calls[id] : undefined;
    const done = call?.done;
    if (call === undefined || done === undefined) {
      if (this.closed !== undefined) return;
      throw new PeerFault('the id of a response', response.$hi === 0 ? id >>> 0 : 'above 2^32');
    }
    call.done = undefined;
    // Where responses name their requests, the id used last is the one that is still in the cache.
    if (this.paired === true) {
      call.next = this.spare;
      this.spare = call;
    } else this.#append(call);
    done(response, id);
  };

  #append(call: Call<R, Id> | undefined): void {
    if (call === undefined) return;
    call.next = undefined;
    if (this.spare === undefined || this.last === undefined) this.spare = call;
    else this.last.next = call;
    this.last = call;
  }

  get free(): number {
    return this.#held ? 0 : this.ring.free;
  }

  get outstanding(): number {
    return this.ring.outstanding;
  }

  submit(fill: Fill<Q, Id>, done: Done<R, Id>, lost?: Lost): boolean {
    const call = this.spare;
    if (call === undefined || this.#held === true) return this.#full();
    const ring = this.ring;
    const { id } = call;
    fill(ring.slot(id), id);
    if (this.spare !== call) throw new TypeError('a request cannot be sent while another is being written');
    ring.put();
    this.spare = call.next;
    call.done = done;
    call.lost = lost;
    return true;
  }

  chain(
    slots: number,
    extras: number,
    fill: (slot: Slot<Q, Id>, id: number, i: number) => void,
    done: Done<R, Id>,
    lost?: Lost,
  ): boolean {
    if (slots > this.entries) throw new RangeError(`a packet of ${slots} slots, and the ring has ${this.entries}`);
    const ring = this.ring;
    if (this.#held === true || (ring.free < slots && !this.#reap(slots))) return this.#full();
    const first = this.spare;
    if (first === undefined) return this.#full();
    let call: Call<R, Id> | undefined = first;
    let put = 0;
    try {
      for (; put < slots; put++) {
        const isExtra = put > 0 && put <= extras;
        const id: number = isExtra || call === undefined ? -1 : call.id;
        fill(ring.slot(isExtra ? 0 : id), id, put);
        ring.put();
        if (!isExtra) call = call?.next;
      }
      if (this.spare !== first) throw new TypeError('a packet cannot be sent while another is being written');
    } catch (error) {
      ring.retract(put);
      throw error;
    }
    for (let sent: Call<R, Id> | undefined = first; sent !== call && sent !== undefined; sent = sent.next) {
      sent.done = done;
      sent.lost = lost;
    }
    this.spare = call;
    this.extras += extras;
    return true;
  }

  push(): void {
    if (this.closed === undefined && this.ring.push()) this.notify();
  }

  request<T>(fill: (request: Draft<Q, Id>) => void, done: (response: View<R, Id>) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#enqueue({
        room: () => this.#start(fill, (response) => resolve(done(response)), reject),
        lost: reject,
        slots: 1,
      });
    });
  }

  space(room: () => void, slots = 1): void {
    if (slots > this.entries) throw new RangeError(`${slots} slots never come free on a ring of ${this.entries}`);
    if (this.closed === undefined) this.#enqueue({ room, lost: undefined, slots });
  }

  /** Resolves when no request is outstanding and none waits, and after {@link close}. */
  idle(): Promise<void> {
    return this.#idle.wait();
  }

  /**
   * Takes the responses there are and hands each to the `done` of its request, then gives the slots to who waits for them, and
   * publishes what was submitted meanwhile. To be called at every upcall; says how many there were: none, and the event was spurious.
   * @throws PeerFault for an index, or an id, that cannot be
   */
  upcall(): number {
    if (this.#fault !== undefined && this.closed === undefined) throw this.#fault;
    let total = 0;
    let vain = 0;
    while (this.closed === undefined) {
      if (total + vain >= MOST && this.#again !== undefined) {
        this.#again();
        break;
      }
      const count = this.ring.unconsumed();
      if (count === 0) {
        // A peer that takes back what it announced is not waited for longer than one that keeps its word.
        vain++;
        if (this.outstanding > 0 && this.#linger(this.#isThere)) continue;
        if (!this.ring.finalCheck()) break;
      }
      total += count;
      // Kept a 32-bit integer, or V8 boxes it for each call.
      for (let left = count | 0; left > 0; ) left = (left - this.#complete(left)) | 0;
      this.#serve();
    }
    if (total > 0) this.#idle.tell();
    return total;
  }

  /** Tells everyone who waits that `error` ended the link; after it nothing can be sent. A second time does nothing. */
  close(error: Error = new Disconnected('the link was closed')): void {
    if (this.closed !== undefined) return;
    this.closed = error;
    this.#held = true;
    for (const call of this.calls) {
      const { done, lost, id } = call;
      call.done = call.lost = undefined;
      if (done !== undefined && lost !== undefined) this.#tell(() => lost(error, id));
    }
    const queue = this.#queue;
    this.#queue = [];
    for (const { lost } of queue) lost?.(error);
    this.#idle.tell();
  }

  /** Hands out up to `count` responses; says how many, which is less when a callback threw. */
  #complete(count: number): number {
    const before = this.ring.nextResponse;
    this.#taking = true;
    try {
      this.ring.takeEach(count, this.#answered);
      return count;
    } catch (error) {
      if (error instanceof PeerFault) throw error;
      this.#onError(error);
      return ((this.ring.nextResponse - before - 1) & (this.entries - 1)) + 1;
    } finally {
      this.#taking = false;
    }
  }

  /** Takes the responses there are, for the room that they leave, without waiting for an upcall; whether `slots` are free then. */
  #reap(slots: number): boolean {
    if (this.#taking || this.closed !== undefined) return false;
    try {
      for (let left = this.ring.unconsumed() | 0; left > 0; ) left = (left - this.#complete(left)) | 0;
    } catch (error) {
      if (!(error instanceof PeerFault)) throw error;
      // It ends the link, which is not for whoever sends to do.
      this.#fault ??= error;
      this.#again?.();
      return false;
    }
    return this.ring.free >= slots;
  }

  #full(): false {
    if (this.closed !== undefined) throw this.closed;
    return false;
  }

  #enqueue(waiting: Waiting): void {
    if (this.closed !== undefined) {
      waiting.lost?.(this.closed);
      return;
    }
    this.#queue.push(waiting);
    if (!this.#held) this.#serve();
  }

  /** Lets those who wait have the free slots, in turn, and publishes what they, or anybody before, submitted. */
  #serve(): void {
    if (this.closed !== undefined) return;
    this.#held = false;
    while (this.spare !== undefined && this.ring.free >= (this.#queue[0]?.slots ?? Number.POSITIVE_INFINITY)) {
      const next = this.#queue.shift();
      if (next !== undefined) this.#tell(next.room);
    }
    if (this.closed !== undefined) return;
    this.#held = this.#queue.length > 0;
    this.push();
  }

  #start<T>(fill: (request: Draft<Q, Id>) => void, done: (response: View<R, Id>) => T, lost: Lost): void {
    const ring = this.ring;
    const call = this.spare;
    if (call === undefined) return;
    const { id } = call;
    try {
      fill(ring.draft(id));
    } catch (error) {
      lost(error as Error, id);
      return;
    }
    ring.putDraft();
    this.spare = call.next;
    call.lost = lost;
    call.done = (response) => {
      try {
        done(response);
      } catch (error) {
        lost(error as Error, id);
        if (error instanceof PeerFault) throw error;
      }
    };
  }

  #tell(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#onError(error);
    }
  }
}
