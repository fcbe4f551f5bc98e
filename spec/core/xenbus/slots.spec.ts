import { expect } from 'chai';
import fc from 'fast-check';
import { sring } from '../../../core/abi/ring.js';
import { Disconnected, PeerFault, XenError } from '../../../core/errors.js';
import type { Slots } from '../../../core/xenbus/slots.js';
import { ask, type paired, pumps, settled } from './pumps.js';

type Own = Slots<typeof paired.request, typeof paired.response, 'id'>;
const nothing = (): void => undefined;

/** Both pumps; requests are sent by `send`, and `answers` is what came back, by length. */
const drained = (handler: (slots: Own) => void) => {
  const made = pumps(0xfffffffe);
  const answers = new Map<number, number>();
  const slots = made.responses.drain(handler);
  const send = (...lengths: readonly number[]): void => {
    for (const length of lengths) {
      expect(made.requests.submit(ask(length), ({ status }) => answers.set(length, status))).to.equal(true);
    }
    made.requests.push();
  };
  /** Both upcalls: what was answered since, by length. */
  const turn = (): Record<number, number> => {
    made.responses.upcall();
    return heard();
  };
  const heard = (): Record<number, number> => {
    answers.clear();
    made.requests.upcall();
    return Object.fromEntries(answers);
  };
  return { ...made, slots, send, turn, heard };
};

describe('a request that is taken', () => {
  it('is gone when the handler has returned: outside of an upcall there is nothing to take', () => {
    const { slots, send, turn } = drained((batch) => {
      batch.take();
      batch.respond().status = 1;
    });
    expect(slots.take()).to.equal(undefined);
    send(1, 2);
    expect(turn()).to.eql({ 1: 1 });
    expect(slots.take()).to.equal(undefined);
    expect(() => slots.respond()).to.throw(RangeError, 'no request is taken');
    expect(turn()).to.eql({ 2: 1 });
  });

  it('is a private copy until the next is taken (XSA-155)', () => {
    let seen: readonly unknown[] = [];
    const { words, send, turn } = drained((batch) => {
      const request = batch.take();
      words.fill(-1, sring.entries);
      seen = [request?.length, request?.gref];
      batch.respond().status = 1;
    });
    send(5);
    expect(turn()).to.eql({ 5: 1 });
    expect(seen).to.eql([5, 9]);
  });

  it('is answered by a zeroed draft, each time', () => {
    const statuses: number[] = [];
    const { send, turn } = drained((batch) => {
      while (batch.take() !== undefined) {
        const response = batch.respond();
        statuses.push(response.status);
        response.status = -99;
      }
    });
    for (let round = 0; round < 5; round++) {
      send(0, 1, 2);
      turn();
    }
    expect(statuses).to.eql(Array.from({ length: 15 }, () => 0));
  });

  it('and half answered when its handler fails goes out as it is, and the error is reported', () => {
    const { send, turn, errors } = drained((batch) => {
      batch.take();
      batch.respond().status = 7;
      throw new Error('after the answer');
    });
    send(1);
    expect(turn()).to.eql({ 1: 7 });
    expect(errors.map(String)).to.eql(['Error: after the answer']);
  });

  it('is refused with the errno of what its handler throws, the others are offered again', () => {
    let failures = 0;
    const { send, turn, errors } = drained((batch) => {
      for (let request = batch.take(); request !== undefined; request = batch.take()) {
        const { length } = request;
        if (length === 1 || length === 2) {
          failures++;
          throw new XenError('EROFS', 'a test');
        }
        batch.respond().status = length;
      }
    });
    send(0, 1, 2, 3);
    expect(turn()).to.eql({ 0: 0, 1: -30, 2: -30, 3: 3 });
    expect([failures, errors]).to.eql([2, []]);
  });

  it('is offered no second time in an upcall when its handler fails before it takes any', () => {
    let calls = 0;
    const { send, responses, errors } = drained(() => {
      calls++;
      throw new Error('not today');
    });
    send(1, 2);
    expect(responses.upcall()).to.equal(0);
    expect([calls, errors.length]).to.eql([1, 1]);
    expect(responses.upcall()).to.equal(0);
    expect(calls).to.equal(2);
  });

  it('and found to be a lie ends the link: nothing of the batch is published', () => {
    const { send, responses, heard } = drained((batch) => {
      batch.take();
      batch.respond().status = 1;
      batch.take();
      throw new PeerFault('nr_segments', 12);
    });
    send(1, 2, 3);
    expect(() => responses.upcall()).to.throw(PeerFault, 'nr_segments cannot be 12');
    expect(heard()).to.eql({});
  });
});

describe('a request that is kept', () => {
  it('stays as it was while others are answered and its slot is written again', () => {
    let ticket: number | undefined;
    const { slots, send, turn, heard } = drained((batch) => {
      for (let request = batch.take(); request !== undefined; request = batch.take()) {
        const { length } = request;
        if (length === 1) ticket = batch.keep();
        else batch.respond().status = length;
      }
    });
    send(0, 1, 2, 3);
    expect(turn()).to.eql({ 0: 0, 2: 2, 3: 3 });
    for (let round = 0; round < 5; round++) {
      send(10, 11, 12);
      expect(turn()).to.eql({ 10: 10, 11: 11, 12: 12 });
    }
    if (ticket === undefined) throw new Error('nothing was kept');
    expect(slots.kept(ticket).length).to.equal(1);
    slots.respond(ticket).status = 42;
    expect(heard()).to.eql({});
    slots.push();
    expect(heard()).to.eql({ 1: 42 });
    expect(() => slots.kept(ticket ?? 0)).to.throw(RangeError, 'no request is kept under ticket');
  });

  it('is put in with the next answer, or take, or push: one open draft at a time', () => {
    const tickets: number[] = [];
    const { words, slots, send, responses, heard } = drained((batch) => {
      while (batch.take() !== undefined) tickets.push(batch.keep());
    });
    send(0, 1, 2);
    responses.upcall();
    const [a = -1, b = -1, c = -1] = tickets;
    slots.respond(b).status = 1;
    slots.respond(a).status = 2;
    expect(responses.pending).to.equal(2);
    slots.respond(c).status = 3;
    expect(words[sring.rspProd]).to.equal(0xfffffffe | 0);
    slots.push();
    expect([words[sring.rspProd], responses.pending]).to.eql([1, 0]);
    expect(heard()).to.eql({ 0: 2, 1: 1, 2: 3 });
  });

  it('may be answered within the batch, before others are taken', () => {
    const { send, turn, notified } = drained((batch) => {
      batch.take();
      const ticket = batch.keep();
      batch.take();
      batch.respond().status = 2;
      batch.respond(ticket).status = 1;
      batch.take();
      batch.respond().status = 3;
    });
    send(1, 2, 3);
    expect(turn()).to.eql({ 1: 1, 2: 2, 3: 3 });
    expect(notified.front).to.equal(1);
  });

  it('lets a handler publish in the middle of its batch', () => {
    const seen: unknown[] = [];
    const { words, send, responses } = drained((batch) => {
      while (batch.take() !== undefined) {
        batch.respond();
        batch.push();
        seen.push(words[sring.rspProd]);
      }
    });
    send(1, 2, 3);
    responses.upcall();
    expect(seen).to.eql([-1, 0, 1]);
  });

  it('is pending until it is answered, and idle waits for it', async () => {
    const tickets: number[] = [];
    const { slots, send, responses } = drained((batch) => {
      while (batch.take() !== undefined) tickets.push(batch.keep());
    });
    await responses.idle();
    send(1, 2);
    responses.upcall();
    let idle = false;
    const waiting = responses.idle().then(() => {
      idle = true;
    });
    slots.respond(tickets[0] ?? -1);
    slots.push();
    await settled();
    expect([responses.pending, idle]).to.eql([1, false]);
    slots.respond(tickets[1] ?? -1);
    slots.push();
    await waiting;
    expect(responses.pending).to.equal(0);
  });

  it('and answered after the link ended is dropped, and idle hears of it', async () => {
    const tickets: number[] = [];
    const { words, slots, send, responses, notified } = drained((batch) => {
      while (batch.take() !== undefined) tickets.push(batch.keep());
    });
    send(1, 2);
    responses.upcall();
    responses.close();
    const before = words.slice();
    let idle = false;
    const waiting = responses.idle().then(() => {
      idle = true;
    });
    for (const ticket of tickets) {
      await settled();
      expect(idle).to.equal(false);
      slots.respond(ticket).status = 1;
      slots.push();
    }
    await waiting;
    expect(words, 'a page that may belong to somebody else by now').to.eql(before);
    expect([notified.front, responses.pending]).to.eql([0, 0]);
  });
});

describe('requests that are left', () => {
  it('are offered again with those that come later, in their order, and cost no second event', () => {
    let budget = 0;
    const offers: number[][] = [];
    const { send, turn, notified } = drained((batch) => {
      const taken: number[] = [];
      for (; budget > 0; budget--) {
        const request = batch.take();
        if (request === undefined) break;
        taken.push(request.length);
        batch.respond().status = request.length;
      }
      offers.push(taken);
    });
    send(1, 2);
    expect(turn()).to.eql({});
    expect(notified.back).to.equal(1);
    budget = 1;
    expect(turn()).to.eql({ 1: 1 });
    send(3);
    expect(notified.back).to.equal(2);
    send(4);
    budget = 9;
    expect(turn()).to.eql({ 2: 2, 3: 3, 4: 4 });
    expect(offers.flat()).to.eql([1, 2, 3, 4]);
  });

  it('are each answered once, whatever a handler takes, keeps, leaves and answers later', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('send', 'back', 'front', 'answer'), fc.nat(4)), { maxLength: 100 });
    const handling = fc.infiniteStream(fc.constantFrom('answer', 'answer', 'keep', 'forget', 'throw', 'leave'));
    fc.assert(
      fc.property(steps, handling, (all, how) => {
        const kept: number[] = [];
        const told: number[] = [];
        let sent = 0;
        const { slots, requests, responses } = drained((batch) => {
          for (;;) {
            const next = how.next().value;
            if (next === 'leave') return;
            if (batch.take() === undefined) return;
            if (next === 'keep') kept.push(batch.keep());
            else if (next === 'answer') batch.respond().status = 1;
            else if (next === 'throw') throw new XenError('EBUSY', 'a test');
          }
        });
        const does: Readonly<Record<string, (n: number) => void>> = {
          send: (n) => {
            for (let i = 0; i <= n; i++) {
              const id = sent;
              if (requests.submit(ask(id), () => told.push(id))) sent++;
            }
            requests.push();
          },
          back: () => responses.upcall(),
          front: () => requests.upcall(),
          answer: (n) => {
            for (const ticket of kept.splice(0, n)) slots.respond(ticket).status = 2;
            slots.push();
          },
        };
        for (const [name, n] of all) does[name]?.(n);
        for (let i = 0; told.length < sent; i++) {
          expect(i, 'turns without an end').to.be.lessThan(200);
          for (const name of ['back', 'answer', 'front']) does[name]?.(9);
        }
        expect([...told].sort((a, b) => a - b)).to.eql(Array.from({ length: sent }, (_, i) => i));
        expect([requests.outstanding, responses.pending]).to.eql([0, 0]);
      }),
    );
  });
});

describe('the end of a link within a handler', () => {
  it('ends its batch: nothing more is taken, and nothing is published', () => {
    const taken: (number | undefined)[] = [];
    const made = drained((batch) => {
      taken.push(batch.take()?.length);
      batch.respond().status = 1;
      made.responses.close();
      taken.push(batch.take()?.length);
    });
    made.send(1, 2);
    made.responses.upcall();
    expect(taken).to.eql([1, undefined]);
    expect([made.words[sring.rspProd], made.notified.front, made.errors]).to.eql([0xfffffffe | 0, 0, []]);
    made.requests.close(new Disconnected('the end'));
  });

  it('forgives a request that was taken and is not answered', () => {
    const made = drained((batch) => {
      batch.take();
      made.responses.close();
    });
    made.send(1);
    made.responses.upcall();
    expect([made.errors, made.refused, made.responses.pending]).to.eql([[], [], 0]);
  });

  it('that serves lets it have the rest of its batch, whose answers are dropped', () => {
    const { words, requests, responses, notified } = pumps();
    const seen: number[] = [];
    responses.serve((request) => {
      seen.push(request.length);
      if (request.length === 1) responses.close();
    });
    for (let i = 0; i < 3; i++) requests.submit(ask(i), nothing);
    requests.push();
    responses.upcall();
    requests.submit(ask(3), nothing);
    requests.push();
    expect(responses.upcall()).to.equal(0);
    expect([seen, words[sring.rspProd], notified.front]).to.eql([[0, 1, 2], 0, 0]);
  });
});
