import type { Domid } from '../../../core/index.js';
import type { Machine } from '../../../core/toolstack/index.js';
import { Orders, reportsBesides$ } from '../../support/orders.js';
import type { Answered, Said, Seen } from './odd-backend.js';

/** A page that an odd backend has mapped. */
export class OddPage implements AsyncDisposable {
  readonly #orders: Orders;
  readonly #number: number;

  constructor(orders: Orders, number: number) {
    this.#orders = orders;
    this.#number = number;
  }

  /** A copy of what the page holds. */
  async bytes(): Promise<Uint8Array> {
    return (await this.#orders.give('bytes', this.#number)) as Uint8Array;
  }

  /** Where it lies in the memory of the machine, in bytes. */
  async place(): Promise<number> {
    return (await this.#orders.give('place', this.#number)) as number;
  }

  async fill(value: number): Promise<void> {
    await this.#orders.give('fill', this.#number, value);
  }

  /** Unmaps it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#orders.give('unmap', this.#number);
  }
}

/** A spec's hold on an odd backend: what it has seen, and what it is to do. */
export class OddPeer {
  /** The requests that it has taken and the spec has not, in their order; all of them when everybody has done what they can. */
  readonly seen: Seen[] = [];
  readonly #machine: Machine;
  readonly #domid: Domid;
  readonly #orders: Orders;

  constructor(machine: Machine, domid: Domid) {
    this.#machine = machine;
    this.#domid = domid;
    this.#orders = new Orders(machine, domid);
    reportsBesides$(machine, domid).subscribe((seen) => this.seen.push(seen as Seen));
  }

  /** The next `count` requests that were seen, all without it. */
  take(count?: number): readonly Seen[] {
    return this.seen.splice(0, count ?? this.seen.length);
  }

  /** Answers requests, as one batch; by another operation than theirs if that is given. */
  async answer(which: readonly Seen[], status: number, operation?: number): Promise<void> {
    const answers = which.map(
      (seen): Answered => ({
        ticket: seen.ticket,
        operation: operation ?? seen.operation,
        status,
      }),
    );
    await this.#orders.give('answer', answers);
  }

  /** Its domain is destroyed, whatever it has still to answer. */
  async vanish(): Promise<void> {
    await this.#machine.toolstack.destroy(this.#domid);
  }

  /** Announces something else of the disk. */
  async publish(values: Partial<Said>): Promise<void> {
    await this.#orders.give('publish', values);
  }

  /** Maps the page of a request's segment. @throws an Error with the name of what mapping it threw */
  async map(seen: Seen | undefined, segment = 0, readonly = true): Promise<OddPage> {
    const gref = seen?.segments[segment]?.gref;
    if (gref === undefined) throw new Error(`there is no segment ${segment} to map`);
    return new OddPage(this.#orders, (await this.#orders.give('map', gref, readonly)) as number);
  }
}
