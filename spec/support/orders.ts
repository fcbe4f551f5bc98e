// What a spec has the code of another domain do, wherever that runs: an order is a text in the store, its answer a report.
import { filter, firstValueFrom, mergeMap, type Observable } from 'rxjs';
import { asError, Disconnected, type Domain, type Domid, type Plain, Reporter, XenStore } from '../../core/index.js';
import type { Machine } from '../../core/toolstack/index.js';

/** What a domain can be told to do, by names; what a handler returns is Plain, or nothing. */
export type Handlers = Readonly<Record<string, (...args: readonly never[]) => unknown>>;

interface Order {
  readonly number: number;
  readonly name: string;
  readonly args: readonly unknown[];
}

type Answer = {
  readonly answerTo: number;
  readonly value?: Plain;
  readonly error?: { readonly name: string; readonly message: string };
};

const NODE = 'data/order';

const isAnswer = (value: Plain): value is Answer =>
  typeof value === 'object' && !(value instanceof Uint8Array) && 'answerTo' in value;

/** Lets a domain do what it is told, until it ends. */
export const obey = (domain: Domain, handlers: Handlers): void => {
  const store = domain.get(XenStore);
  const reporter = domain.get(Reporter);
  let done = 0;
  const carryOut = ({ number, name, args }: Order): void => {
    if (number <= done) return;
    done = number;
    try {
      const handler = handlers[name];
      if (handler === undefined) throw new Error(`nobody here knows how to ${name}`);
      reporter.report({ answerTo: number, value: handler(...(args as never[])) as Plain });
    } catch (error) {
      const { name: kind, message } = asError(error);
      reporter.report({ answerTo: number, error: { name: kind, message } });
    }
  };
  domain.subscription.add(
    store
      .watch$(NODE)
      .pipe(mergeMap(() => store.read(NODE)))
      .subscribe({
        next: (text) => {
          if (text !== undefined) carryOut(JSON.parse(text) as Order);
        },
        error: (error) => {
          // A domain that has been destroyed obeys nobody.
          if (!(error instanceof Disconnected)) throw error;
        },
      }),
  );
};

/** A spec's line to a domain that obeys. */
export class Orders {
  readonly #machine: Machine;
  readonly #domid: Domid;
  #count = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(machine: Machine, domid: Domid) {
    this.#machine = machine;
    this.#domid = domid;
  }

  /** Has something done, after all that was ordered before. Resolves to what came of it. @throws what the domain threw, by its name */
  give(name: string, ...args: readonly unknown[]): Promise<Plain> {
    const number = ++this.#count;
    const given = this.#last.then(() => this.#give({ number, name, args }));
    this.#last = given.catch(() => undefined);
    return given;
  }

  async #give(order: Order): Promise<Plain> {
    const answer = firstValueFrom(
      this.#machine.reportsOf$(this.#domid).pipe(
        filter(isAnswer),
        filter(({ answerTo }) => answerTo === order.number),
      ),
    );
    answer.catch(() => undefined); // the machine may end first
    const node = `/local/domain/${this.#domid}/${NODE}`;
    await this.#machine.dom0.get(XenStore).write(node, JSON.stringify(order));
    const { value, error } = await answer;
    if (error === undefined) return value;
    throw Object.assign(new Error(error.message), { name: error.name });
  }
}

/** What a domain that obeys reports besides its answers. */
export const reportsBesides$ = (machine: Machine, domid: Domid): Observable<Plain> =>
  machine.reportsOf$(domid).pipe(filter((value) => !isAnswer(value)));
