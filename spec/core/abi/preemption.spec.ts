import { expect } from 'chai';
import { overflow, ringShape, sring } from '../../../core/abi/ring.js';
import { BackRing, FrontRing, type RingFormat, struct, u32 } from '../../../core/index.js';
import { Requests } from '../../../core/xenbus/requests.js';
import { Responses, type ResponsesOptions } from '../../../core/xenbus/responses.js';

const format = {
  request: struct('request', { id: u32, value: u32 }),
  response: struct('response', { id: u32, value: u32 }),
  id: 'id',
} as const;
type Front = typeof FrontRing<typeof format.request, typeof format.response, 'id'>;
type Back = typeof BackRing<typeof format.request, typeof format.response, 'id'>;

type End = 'front' | 'back';
const other = { front: 'back', back: 'front' } as const;

/** What the two ends do: how many requests, and later answers, each of their turns publishes. */
interface Scenario {
  readonly name: string;
  readonly pushes: readonly number[];
  /** Undefined: the backend answers within its upcall. */
  readonly answers: readonly number[] | undefined;
}

const scenarios: readonly Scenario[] = [
  { name: 'three pushes of one', pushes: [1, 1, 1], answers: undefined },
  { name: 'a push of two and a push of one', pushes: [2, 1], answers: undefined },
  { name: 'a push of one and a push of two', pushes: [1, 2], answers: undefined },
  { name: 'three answers of one, later', pushes: [3], answers: [1, 1, 1] },
  { name: 'answers in pairs, later', pushes: [1, 2], answers: [2, 1] },
  { name: 'single pushes and paired answers, later', pushes: [1, 1, 1], answers: [1, 2] },
];

/** Why a run was wrong; undefined if it was right. */
type Flaw = string | undefined;

/** One run of both ends over one page, with the other end run to completion at chosen accesses to the shared indices. */
class Run {
  readonly #words = new Int32Array(new SharedArrayBuffer(64 + 4 * 8));
  readonly #pending = { front: false, back: false };
  /** The next of what an end does of its own accord; whether there was anything. */
  readonly #step: Record<End, () => boolean>;
  readonly #upcall: Record<End, () => void>;
  readonly #preempt: ReadonlySet<number>;
  /** For each end: the producer index before and after its last push, until it is known whether it notifies. */
  readonly #pushed: Record<End, { old: number; now: number; asked: boolean | undefined } | undefined> = {
    front: undefined,
    back: undefined,
  };
  #running: End = 'front';
  #nested = false;
  #flaw: Flaw;
  accesses = 0;
  done = 0;

  constructor(Front: Front, Back: Back, { pushes, answers }: Scenario, preempt: ReadonlySet<number>) {
    this.#preempt = preempt;
    const first = 0xfffffffe;
    const onError = (error: unknown): void => {
      this.#flaw ??= String(error);
    };
    const requests = new Requests(new Front(this.#words, format, { first }), {
      notify: () => this.#notify('front'),
      onError,
    });
    const options: ResponsesOptions<typeof format.request, typeof format.response, 'id'> = {
      notify: () => this.#notify('back'),
      onError,
      refuse: onError,
    };
    const responses = new Responses(new Back(this.#words, format), options);
    const kept: number[] = [];
    const slots =
      answers === undefined
        ? responses.serve((request, response) => {
            response.value = request.value + 1;
          })
        : responses.drain((all) => {
            while (all.take() !== undefined) kept.push(all.keep());
          });
    let sent = 0;
    const send = (): void => {
      const value = sent++;
      requests.submit(
        (slot) => slot.set({ value }),
        (response) => {
          if (slots === undefined && response.value !== value + 1)
            this.#flaw ??= `${value} was answered ${response.value}`;
          this.done++;
        },
      );
    };
    const left = { pushes: [...pushes], answers: [...(answers ?? [])] };
    this.#step = {
      front: () => {
        const count = left.pushes.shift() ?? 0;
        for (let i = 0; i < count; i++) send();
        if (count > 0) requests.push();
        return count > 0;
      },
      back: () => {
        const tickets = kept.splice(0, kept.length === 0 ? 0 : (left.answers.shift() ?? 1));
        for (const ticket of tickets) slots?.respond(ticket);
        if (tickets.length > 0) slots?.push();
        return tickets.length > 0;
      },
    };
    this.#upcall = { front: () => requests.upcall(), back: () => responses.upcall() };
  }

  /** Runs until neither end has anything to do. */
  play(): Flaw {
    const { load, store } = Atomics;
    Object.assign(Atomics, {
      load: (words: Int32Array, index: number): number => {
        this.#access();
        const value = load(words, index);
        this.#loaded(index, value);
        return value;
      },
      store: (words: Int32Array, index: number, value: number): number => {
        this.#access();
        this.#stored(index, load(words, index), value);
        return store(words, index, value);
      },
    });
    try {
      for (let busy = true, turns = 0; busy; turns++) {
        if (turns > 100) return 'the ends never rest';
        const front = this.#turn('front');
        busy = this.#turn('back') || front;
      }
    } catch (error) {
      return String(error);
    } finally {
      Object.assign(Atomics, { load, store });
    }
    if (this.done !== 3) return `${3 - this.done} requests hang`;
    return this.#flaw;
  }

  /** One step of its own, and its upcall if an event is pending. Whether there was anything to do. */
  #turn(end: End): boolean {
    const before = this.#running;
    this.#running = end;
    const acted = this.#step[end]();
    const pending = this.#pending[end];
    while (this.#pending[end]) {
      this.#pending[end] = false;
      this.#upcall[end]();
    }
    this.#settle(end);
    this.#running = before;
    return acted || pending;
  }

  /** Every access to a shared index is a place where the other end can come in between. */
  #access(): void {
    if (this.#nested) return;
    this.accesses++;
    if (!this.#preempt.has(this.accesses)) return;
    this.#nested = true;
    this.#turn(other[this.#running]);
    this.#nested = false;
  }

  #stored(index: number, old: number, now: number): void {
    const mine = this.#running === 'front' ? sring.reqProd : sring.rspProd;
    this.#settle(this.#running);
    if (index === mine) this.#pushed[this.#running] = { old, now, asked: undefined };
  }

  #loaded(index: number, event: number): void {
    const pushed = this.#pushed[this.#running];
    const theirs = this.#running === 'front' ? sring.reqEvent : sring.rspEvent;
    if (pushed === undefined || pushed.asked !== undefined || index !== theirs) {
      this.#settle(this.#running);
      return;
    }
    pushed.asked = false;
    for (let i = pushed.old; i !== pushed.now; ) {
      i = (i + 1) | 0;
      if (i === event) pushed.asked = true;
    }
  }

  #notify(end: End): void {
    const pushed = this.#pushed[end];
    if (pushed?.asked !== true) this.#flaw ??= `the ${end}end notified though nobody asked`;
    this.#pushed[end] = undefined;
    this.#pending[other[end]] = true;
  }

  #settle(end: End): void {
    if (this.#pushed[end]?.asked === true) this.#flaw ??= `the ${end}end did not notify though it was asked to`;
    this.#pushed[end] = undefined;
  }
}

/** Runs every pair of preemption points of every scenario: how many runs there were, and the first flaw. */
const explore = (Front: Front, Back: Back): { runs: number; flaw: Flaw } => {
  let runs = 0;
  for (const scenario of scenarios) {
    for (let first = 0; ; first++) {
      let reached = 0;
      for (let second = first; second === first || second <= reached; second++) {
        const run = new Run(Front, Back, scenario, new Set([first, second]));
        const flaw = run.play();
        runs++;
        if (flaw !== undefined) return { runs, flaw: `${scenario.name}, preempted at ${first} and ${second}: ${flaw}` };
        reached = run.accesses;
      }
      if (first > reached) break;
    }
  }
  return { runs, flaw: undefined };
};

/** The same class with one part of its text replaced. */
const mutant = <C>(of: C, from: string | RegExp, to: string): C => {
  const text = String(of);
  const mutated = text.replace(from, to);
  if (mutated === text) throw new Error(`there is no ${from} in ${text}`);
  const scope = { overflow, ringShape, sring, ENTRIES: sring.entries, SMALL: 0x3fffffff };
  return new Function(...Object.keys(scope), `'use strict'; return ${mutated};`)(...Object.values(scope)) as C;
};

describe('two ends that interrupt each other at any access to the shared indices', () => {
  it('lose no request and no response, and notify exactly when asked', () => {
    const { runs, flaw } = explore(FrontRing, BackRing);
    expect(flaw ?? 'none').to.equal('none');
    expect(runs).to.be.greaterThan(2000);
  });

  it('are the ends that the specs of the ring are about', () => {
    const again = mutant(BackRing as Back, 'class BackRing', 'class  BackRing');
    expect(explore(FrontRing, again).flaw ?? 'none').to.equal('none');
    expect(format satisfies RingFormat).to.have.property('id', 'id');
  });

  const ends = { FrontRing: FrontRing as Front, BackRing: BackRing as Back } as const;
  /** The event index that tells each end whether to notify. */
  const asks = { FrontRing: 'reqEvent', BackRing: 'rspEvent' } as const;
  const mutations: readonly (readonly [string, string | RegExp, string])[] = [
    [
      'without the final look',
      /return Atomics\.load\(this\.words, sring\.(req|rsp)Prod\) !== [^;]+;/,
      'return false;',
    ],
    [
      'that looks before it asks',
      /Atomics\.store\(this\.words, sring\.(req|rsp)Event, ([^;]+)\);\s*return ([^;]+);/,
      'const more = $3; Atomics.store(this.words, sring.$1Event, $2); return more;',
    ],
    ['that never asks', /Atomics\.store\(this\.words, sring\.(req|rsp)Event, \((seen|this)[^;]+;/, ''],
    ['that asks for a message it has', /\((seen|this\.rspCons) \+ (this\.holdOff|ahead)\)/, '$1'],
    [
      'that asks for the message after the next',
      /\((seen|this\.rspCons) \+ (this\.holdOff|ahead)\)/,
      '($1 + $2 + 1)',
    ],
    ['that notifies with <= for <', '>>> 0 < (now - old) >>> 0', '>>> 0 <= (now - old) >>> 0'],
    ['that counts one too few when it notifies', '>>> 0 < (now - old) >>> 0', '>>> 0 < (now - old - 1) >>> 0'],
    ['that compares the event one off', '(now - Atomics.load', '(now - 1 - Atomics.load'],
    ['that compares the event one off the other way', '(now - Atomics.load', '(now + 1 - Atomics.load'],
    [
      'that never notifies',
      /return \(now - Atomics\.load[^;]+;/,
      'Atomics.load(this.words, sring.EVENT); return false;',
    ],
    [
      'that always notifies',
      /return \(now - Atomics\.load[^;]+;/,
      'Atomics.load(this.words, sring.EVENT); return true;',
    ],
    [
      'that looks at the event before it publishes',
      /(Atomics\.store\(this\.words, sring\.\w+, now\);)\s*return ([^;]+);/,
      'const ask = $2; $1 return ask;',
    ],
  ];

  for (const name of ['FrontRing', 'BackRing'] as const) {
    for (const [what, from, to] of mutations) {
      it(`would be caught with a ${name} ${what}`, () => {
        const text = to.replace('EVENT', asks[name]);
        const { flaw } =
          name === 'FrontRing'
            ? explore(mutant(ends.FrontRing, from, text), BackRing)
            : explore(FrontRing, mutant(ends.BackRing, from, text));
        expect(flaw).to.be.a('string');
      });
    }
  }
});
