import { expect } from 'chai';
import fc from 'fast-check';
import { BackRing } from '../../../core/abi/back-ring.js';
import { u32 } from '../../../core/abi/fields.js';
import { FrontRing } from '../../../core/abi/front-ring.js';
import { sring } from '../../../core/abi/ring.js';
import { struct } from '../../../core/abi/struct.js';

const ENTRIES = 8;
const message = struct('message', { value: u32 });
const format = { request: message, response: message };

/** The macros of ring.h, in its own terms and in C's arithmetic of `unsigned int`. */
class RingH {
  readonly sring: { req_prod: number; req_event: number; rsp_prod: number; rsp_event: number };
  readonly front: { req_prod_pvt: number; rsp_cons: number };
  readonly back: { rsp_prod_pvt: number; req_cons: number };

  constructor(first: number) {
    const event = (first + 1) >>> 0;
    this.sring = { req_prod: first, req_event: event, rsp_prod: first, rsp_event: event };
    this.front = { req_prod_pvt: first, rsp_cons: first };
    this.back = { rsp_prod_pvt: first, req_cons: first };
  }

  /** RING_FREE_REQUESTS */
  free(): number {
    return ENTRIES - ((this.front.req_prod_pvt - this.front.rsp_cons) >>> 0);
  }

  /** RING_HAS_UNCONSUMED_REQUESTS */
  unconsumedRequests(): number {
    const req = (this.sring.req_prod - this.back.req_cons) >>> 0;
    const rsp = ENTRIES - ((this.back.req_cons - this.back.rsp_prod_pvt) >>> 0);
    return Math.min(req, rsp);
  }

  /** RING_HAS_UNCONSUMED_RESPONSES */
  unconsumedResponses(): number {
    return (this.sring.rsp_prod - this.front.rsp_cons) >>> 0;
  }

  /** RING_PUSH_REQUESTS_AND_CHECK_NOTIFY */
  pushRequests(): boolean {
    const old = this.sring.req_prod;
    this.sring.req_prod = this.front.req_prod_pvt;
    const now = this.sring.req_prod;
    return (now - this.sring.req_event) >>> 0 < (now - old) >>> 0;
  }

  /** RING_PUSH_RESPONSES_AND_CHECK_NOTIFY */
  pushResponses(): boolean {
    const old = this.sring.rsp_prod;
    this.sring.rsp_prod = this.back.rsp_prod_pvt;
    const now = this.sring.rsp_prod;
    return (now - this.sring.rsp_event) >>> 0 < (now - old) >>> 0;
  }

  /** RING_FINAL_CHECK_FOR_REQUESTS, with an event `ahead` as ring.h allows. */
  finalCheckForRequests(ahead: number): boolean {
    if (this.unconsumedRequests() > 0) return true;
    this.sring.req_event = (this.back.req_cons + ahead) >>> 0;
    return this.unconsumedRequests() > 0;
  }

  /** RING_FINAL_CHECK_FOR_RESPONSES, likewise. */
  finalCheckForResponses(ahead: number): boolean {
    if (this.unconsumedResponses() > 0) return true;
    this.sring.rsp_event = (this.front.rsp_cons + ahead) >>> 0;
    return this.unconsumedResponses() > 0;
  }
}

/** What the two ends may do, each step with a number. */
const steps = [
  'send',
  'push requests',
  'serve',
  'push responses',
  'backend sleeps',
  'take',
  'frontend sleeps',
] as const;
type Step = readonly [(typeof steps)[number], number];
const anySteps = fc.array(fc.tuple(fc.constantFrom(...steps), fc.integer({ min: 1, max: 5 })), { maxLength: 120 });
const anyFirst = fc.oneof(fc.constantFrom(0, 0x7ffffffe, 0xfffffff0, 0xffffffff), fc.nat(0xffffffff));

/** Both ends of a ring and the model of both, doing the same. */
class Pair {
  readonly model: RingH;
  readonly words = new Int32Array(new SharedArrayBuffer(4 * sring.entries + 4 * ENTRIES));
  readonly front: FrontRing<typeof message, typeof message>;
  readonly back: BackRing<typeof message, typeof message>;
  readonly #holdOff: { readonly front: number; readonly back: number };
  /** Sleeping since a final check that found nothing: until how many messages it wants to sleep. */
  asleep: { front: number | undefined; back: number | undefined } = { front: undefined, back: undefined };

  constructor(first: number, holdOff: { readonly front: number; readonly back: number }) {
    this.#holdOff = holdOff;
    this.model = new RingH(first);
    this.front = new FrontRing(this.words, format, { first, holdOff: holdOff.front });
    this.back = new BackRing(this.words, format, { holdOff: holdOff.back });
  }

  step([name, n]: Step): void {
    const { model, front, back } = this;
    switch (name) {
      case 'send':
        for (let i = 0; i < n && model.free() > 0; i++) {
          front.slot(0).set({ value: i });
          front.put();
          model.front.req_prod_pvt = (model.front.req_prod_pvt + 1) >>> 0;
        }
        break;
      case 'push requests': {
        const notifies = front.push();
        expect(notifies).to.equal(model.pushRequests());
        if (notifies) this.asleep.back = undefined;
        break;
      }
      case 'serve':
        expect(back.unconsumed()).to.equal(model.unconsumedRequests());
        for (let i = 0; i < n && model.unconsumedRequests() > 0; i++) {
          back.put(back.take());
          model.back.req_cons = (model.back.req_cons + 1) >>> 0;
          model.back.rsp_prod_pvt = (model.back.rsp_prod_pvt + 1) >>> 0;
        }
        break;
      case 'push responses': {
        const notifies = back.push();
        expect(notifies).to.equal(model.pushResponses());
        if (notifies) this.asleep.front = undefined;
        break;
      }
      case 'backend sleeps': {
        if (model.unconsumedRequests() > 0) break;
        const ahead = this.#holdOff.back;
        expect(back.finalCheck()).to.equal(model.finalCheckForRequests(ahead));
        this.asleep.back = ahead;
        break;
      }
      case 'take':
        expect(front.unconsumed()).to.equal(model.unconsumedResponses());
        for (let i = 0; i < n && model.unconsumedResponses() > 0; i++) {
          front.take();
          model.front.rsp_cons = (model.front.rsp_cons + 1) >>> 0;
        }
        break;
      case 'frontend sleeps': {
        if (model.unconsumedResponses() > 0) break;
        const outstanding = (model.sring.req_prod - model.front.rsp_cons) >>> 0;
        const ahead = Math.max(1, Math.min(this.#holdOff.front, outstanding));
        expect(front.finalCheck()).to.equal(model.finalCheckForResponses(ahead));
        this.asleep.front = ahead;
      }
    }
    const { req_prod, req_event, rsp_prod, rsp_event } = model.sring;
    expect([...this.words.subarray(0, 4)].map((word) => word >>> 0)).to.eql([req_prod, req_event, rsp_prod, rsp_event]);
    expect([front.free, front.full]).to.eql([model.free(), model.free() === 0]);
  }
}

describe('the ends of a ring, whatever they do in whatever order', () => {
  it('publish, ask and notify as ring.h does, from any first index', () => {
    fc.assert(
      fc.property(anyFirst, anySteps, (first, all) => {
        const pair = new Pair(first, { front: 1, back: 1 });
        for (const step of all) pair.step(step);
      }),
    );
  });

  it('never let an end sleep while there is what it wants to be woken for, held off or not', () => {
    const holdOff = fc.integer({ min: 1, max: 2 * ENTRIES });
    fc.assert(
      fc.property(anyFirst, anySteps, holdOff, holdOff, (first, all, front, back) => {
        const pair = new Pair(first, { front, back });
        for (const step of all) {
          pair.step(step);
          const { model, asleep } = pair;
          if (asleep.back !== undefined) expect(model.unconsumedRequests()).to.be.lessThan(asleep.back);
          if (asleep.front !== undefined) expect(model.unconsumedResponses()).to.be.lessThan(asleep.front);
        }
      }),
    );
  });

  it('wake a frontend at the latest when all is answered, however far it holds off', () => {
    fc.assert(
      fc.property(
        anyFirst,
        fc.integer({ min: 1, max: ENTRIES }),
        fc.integer({ min: 1, max: 100 }),
        (first, n, front) => {
          const pair = new Pair(first, { front, back: 1 });
          pair.step(['send', 5]);
          pair.step(['send', n]);
          for (const name of ['push requests', 'frontend sleeps', 'serve', 'serve', 'push responses'] as const)
            pair.step([name, 5]);
          expect(pair.asleep.front).to.equal(undefined);
        },
      ),
    );
  });
});

describe('a ring that holds off', () => {
  it('must hold off a whole number of messages', () => {
    const words = new Int32Array(64);
    for (const holdOff of [0, -1, 1.5, Number.NaN]) {
      expect(() => new FrontRing(words, format, { holdOff })).to.throw(RangeError, `not ${holdOff}`);
      expect(() => new BackRing(words, format, { holdOff })).to.throw(RangeError, `not ${holdOff}`);
    }
  });

  it('as a backend wakes once per batch', () => {
    const pair = new Pair(0xfffffffe, { front: 1, back: 4 });
    pair.back.finalCheck();
    const notified = Array.from({ length: 8 }, (_, i) => {
      pair.front.slot(0).set({ value: i });
      pair.front.put();
      return pair.front.push();
    });
    // The first four asked for by the final check; nobody has asked for the others.
    expect(notified).to.eql([false, false, false, true, false, false, false, false]);
  });
});
