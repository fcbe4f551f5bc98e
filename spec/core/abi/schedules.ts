import type { BackRing } from '../../../core/abi/back-ring.js';
import { u32 } from '../../../core/abi/fields.js';
import type { FrontRing } from '../../../core/abi/front-ring.js';
import { sring } from '../../../core/abi/ring.js';
import { struct } from '../../../core/abi/struct.js';
import type { Requests } from '../../../core/xenbus/requests.js';
import type { Responses } from '../../../core/xenbus/responses.js';
import type { Slots } from '../../../core/xenbus/slots.js';
import { hookAtomics } from '../../support/atomics.js';

/** The ring that all schedules run over. */
export const format = {
  request: struct('request', { id: u32, value: u32 }),
  response: struct('response', { id: u32, value: u32 }),
  id: 'id',
} as const;
type Request = typeof format.request;
type Response = typeof format.response;

/** The classes that a schedule runs. */
export interface Classes {
  readonly FrontRing: typeof FrontRing<Request, Response, 'id'>;
  readonly BackRing: typeof BackRing<Request, Response, 'id'>;
  readonly Requests: typeof Requests<Request, Response, 'id'>;
  readonly Responses: typeof Responses<Request, Response, 'id'>;
}

/** What the two ends do, apart from handling their upcalls. */
export interface Scenario {
  /** How many requests each push of the frontend publishes. */
  readonly pushes: readonly number[];
  /** How many answers each push of the backend publishes, on its own account; undefined: it answers in its upcall. */
  readonly answers?: number;
  /** How many responses the frontend asks to be notified of at once. */
  readonly holdOff?: number;
}

/** Who goes on where both ends could, and what the other end does when it comes in between. */
export interface Manner {
  readonly first: End;
  /** All that it can do, or one step and the upcalls that are pending then. */
  readonly comesFor: 'all' | 'one step';
  /** The points of an access: after it, or before it too, which differs by what lies between two accesses. */
  readonly at: 'after' | 'before and after';
}

/**
 * What a run came to. `hangs`: a request is never answered, `garbles`: an answer is not what was written, `faults`: an error, `shouts`:
 * an end notified though nobody asked, `mutters`: it did not though it was asked, `spins`: it never rests.
 */
export type Verdict = 'right' | 'hangs' | 'garbles' | 'faults' | 'shouts' | 'mutters' | 'spins';

type End = 'front' | 'back';
const other = { front: 'back', back: 'front' } as const;
const events = { front: sring.reqEvent, back: sring.rspEvent } as const;
const words = new Int32Array(new SharedArrayBuffer(4 * sring.entries + 4 * 8));
/** All four shared indices wrap during a run. */
const FIRST = 0xfffffffe;

/**
 * One run of both ends over one page, which begins with nothing sent. The points of a run lie at the accesses to shared indices by the end
 * whose turn it is; at two of them the other end comes in between.
 */
export class Run {
  readonly #pending = { front: false, back: false };
  readonly #upcall: Record<End, () => void>;
  /** Does one step of its own; false when there is none to do now. */
  readonly #step: Record<End, () => boolean>;
  readonly #lastEvent = { front: 0, back: 0 };
  readonly #points: readonly [number, number];
  readonly #manner: Manner;
  #running: End = 'front';
  #between = false;
  #verdict: Verdict = 'right';
  #missing: number;
  /** The points that there were. */
  points = 0;

  constructor(classes: Classes, { pushes, answers, holdOff = 1 }: Scenario, manner: Manner, points: [number, number]) {
    this.#manner = manner;
    this.#points = points;
    this.#missing = pushes.reduce((sum, count) => sum + count, 0);
    const onError = (): void => this.#judge('faults');
    const front = new classes.FrontRing(words, format, { first: FIRST, holdOff });
    const back = new classes.BackRing(words, format);
    this.#checked('front', front);
    this.#checked('back', back);
    const requests = new classes.Requests(front, { notify: () => this.#notify('back'), onError });
    const responses = new classes.Responses(back, { notify: () => this.#notify('front'), onError, refuse: onError });
    this.#upcall = { front: () => requests.upcall(), back: () => responses.upcall() };
    this.#step = { front: this.#sending(requests, [...pushes]), back: this.#answering(responses, answers) };
  }

  /** Lets both ends go on until neither has anything to do. */
  play(): Verdict {
    const { first, at } = this.#manner;
    const hooks = {
      before: () => {
        if (at === 'before and after') this.#point();
      },
      after: (_: Int32Array, word: number, value: number) => {
        if (word === events[this.#running]) this.#lastEvent[this.#running] = value;
        this.#point();
      },
    };
    try {
      hookAtomics(hooks, () => {
        for (let turns = 0; this.#turn(first, false) || this.#turn(other[first], false); turns++) {
          if (turns > 50) return this.#judge('spins');
        }
      });
    } catch {
      this.#judge('faults');
    }
    if (this.#verdict !== 'spins' && this.#missing > 0) this.#judge('hangs');
    return this.#verdict;
  }

  #judge(verdict: Verdict): void {
    // That a request hangs says more than what led to it.
    if (this.#verdict === 'right' || verdict === 'hangs') this.#verdict = verdict;
  }

  #sending(requests: Requests<Request, Response, 'id'>, pushes: number[]): () => boolean {
    let sent = 0;
    return () => {
      const count = pushes.shift();
      if (count === undefined) return false;
      for (let i = 0; i < count; i++) {
        const value = 100 + sent++;
        requests.submit(
          (slot) => slot.set({ value }),
          (response) => {
            if (response.value !== 2 * value) this.#judge('garbles');
            this.#missing--;
          },
        );
      }
      requests.push();
      return true;
    };
  }

  #answering(responses: Responses<Request, Response, 'id'>, answers: number | undefined): () => boolean {
    if (answers === undefined) {
      responses.serve((request, response) => {
        response.value = 2 * request.value;
      });
      return () => false;
    }
    const kept: number[] = [];
    const slots: Slots<Request, Response, 'id'> = responses.drain((batch) => {
      while (batch.take() !== undefined) kept.push(batch.keep());
    });
    return () => {
      const now = kept.splice(0, answers);
      for (const ticket of now) {
        const { value } = slots.kept(ticket);
        slots.respond(ticket).value = 2 * value;
      }
      if (now.length > 0) slots.push();
      return now.length > 0;
    };
  }

  #notify(end: End): void {
    this.#pending[end] = true;
  }

  /** Holds each push of a ring against what ring.h says in words: notify if the event is among the indices that were just published. */
  #checked(end: End, ring: { push(): boolean }): void {
    const push = ring.push.bind(ring);
    const index = end === 'front' ? sring.reqProd : sring.rspProd;
    let published = FIRST | 0;
    ring.push = () => {
      const old = published;
      const notifies = push();
      published = words[index] as number;
      const count = (published - old) | 0;
      let asked = false;
      for (let i = 1; i <= count; i++) asked ||= ((old + i) | 0) === this.#lastEvent[end];
      if (notifies !== asked) this.#judge(asked ? 'mutters' : 'shouts');
      return notifies;
    };
  }

  /** Whether there was anything to do: steps of its own, and upcalls while an event is pending. */
  #turn(end: End, all: boolean): boolean {
    const interrupted = this.#running;
    this.#running = end;
    let busy = false;
    do {
      const stepped = this.#step[end]();
      busy ||= stepped || this.#pending[end];
      while (this.#pending[end]) {
        this.#pending[end] = false;
        this.#upcall[end]();
      }
      if (!stepped) break;
    } while (all);
    this.#running = interrupted;
    return busy;
  }

  #point(): void {
    if (this.#between) return;
    const point = this.points++;
    if (point !== this.#points[0] && point !== this.#points[1]) return;
    this.#between = true;
    this.#turn(other[this.#running], this.#manner.comesFor === 'all');
    this.#between = false;
  }
}

/** How many schedules of each verdict there were. */
export type Tally = Record<Verdict, number> & { schedules: number };

/** Runs all pairs of points, in every manner. */
export const explore = (classes: Classes, scenarios: readonly Scenario[], manners: readonly Manner[]): Tally => {
  const tally: Tally = { schedules: 0, right: 0, hangs: 0, garbles: 0, faults: 0, shouts: 0, mutters: 0, spins: 0 };
  for (const scenario of scenarios) {
    for (const manner of manners) {
      for (let i = 0, any = true; any; i++) {
        any = false;
        for (let j = i, points = j + 1; j < points; j++) {
          const run = new Run(classes, scenario, manner, [i, j]);
          tally[run.play()]++;
          tally.schedules++;
          points = run.points;
          any ||= i < points;
        }
      }
    }
  }
  return tally;
};
