import { expect } from 'chai';
import { Observable, of, Subject, throwError } from 'rxjs';
import { GrantError, PeerFault, XenError } from '../../../core/index.js';
import { ask, pumps, settled } from './pumps.js';

const nothing = (): void => {};

/** Both pumps, with `count` requests on the ring, of 0, 1, 2 … bytes; what came back, by length. */
const asked = (count: number, first = 0) => {
  const made = pumps(first);
  const answers = new Map<number, number>();
  for (let length = 0; length < count; length++) {
    made.requests.submit(ask(length), ({ status }) => answers.set(length, status));
  }
  made.requests.push();
  return { ...made, answers };
};

describe('serve', () => {
  it('answers each request with its own id, and notifies once for all', () => {
    const { requests, responses, answers, notified } = asked(4, 0xfffffffe);
    responses.serve((request, response) => {
      response.status = request.length * 2;
    });
    expect(responses.upcall()).to.equal(4);
    expect(notified.front).to.equal(1);
    requests.upcall();
    expect([...answers]).to.deep.equal([
      [0, 0],
      [1, 2],
      [2, 4],
      [3, 6],
    ]);
    expect(responses.upcall(), 'a spurious event').to.equal(0);
  });

  it('refuses with the errno of what the handler throws, whatever it had written', () => {
    const { requests, responses, answers, errors } = asked(3);
    responses.serve((request, response) => {
      response.status = 77;
      if (request.length === 0) throw new XenError('ENOSPC', 'a test');
      if (request.length === 1) throw new GrantError(-3, 'a test');
    });
    responses.upcall();
    requests.upcall();
    expect([...answers.values()]).to.deep.equal([-28, -22, 77]);
    expect(errors).to.deep.equal([]);
  });

  it('refuses with EIO, and reports, what is no refusal', () => {
    const { requests, responses, answers, errors } = asked(2);
    responses.serve((request) => {
      if (request.length === 0) throw new TypeError('a mistake');
    });
    responses.upcall();
    requests.upcall();
    expect([...answers.values()]).to.deep.equal([-5, 0]);
    expect(errors.map(String)).to.deep.equal(['TypeError: a mistake']);
  });

  it('passes a PeerFault on: it ends the link', () => {
    const { responses } = asked(1);
    responses.serve(() => {
      throw new PeerFault('nr_segments', 12);
    });
    expect(() => responses.upcall()).to.throw(PeerFault, 'nr_segments cannot be 12');
  });

  it('keeps request and draft of a promise until it is settled, and answers in the order they settle', async () => {
    const { requests, responses, answers, notified } = asked(4);
    const open: (() => void)[] = [];
    responses.serve(async (request, response) => {
      await new Promise<void>((resolve) => open.push(resolve));
      response.status = request.length + 100;
    });
    responses.upcall();
    expect([responses.pending, notified.front]).to.deep.equal([4, 0]);
    open[3]?.();
    open[1]?.();
    await settled();
    expect([responses.pending, notified.front]).to.deep.equal([2, 1]);
    requests.upcall();
    expect([...answers]).to.deep.equal([
      [3, 103],
      [1, 101],
    ]);
    for (let length = 10; length < 12; length++)
      requests.submit(ask(length), ({ status }) => answers.set(length, status));
    requests.push();
    responses.upcall();
    for (const resolve of open) resolve();
    await settled();
    requests.upcall();
    expect([...answers.entries()].every(([length, status]) => status === length + 100)).to.equal(true);
    expect(answers.size).to.equal(6);
  });

  it('mixes answers at once with later ones', async () => {
    const { requests, responses, answers } = asked(4);
    responses.serve((request, response) => {
      response.status = request.length;
      return request.length % 2 === 0 ? Promise.resolve('whatever') : of(1, 2, 3);
    });
    responses.upcall();
    await settled();
    requests.upcall();
    expect([...answers].sort()).to.deep.equal([
      [0, 0],
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    expect(responses.pending).to.equal(0);
  });

  it('answers when an Observable completes and refuses when it fails, at once or later', async () => {
    const { requests, responses, answers } = asked(4);
    const later = new Subject<void>();
    const fails = new Subject<void>();
    const streams = [of(1), throwError(() => new XenError('ENOENT', 'a test')), later, fails];
    responses.serve((request, response) => {
      response.status = 50 + request.length;
      return streams[request.length] ?? of(0);
    });
    responses.upcall();
    requests.upcall();
    expect([...answers]).to.deep.equal([
      [0, 50],
      [1, -2],
    ]);
    later.next();
    await settled();
    expect(responses.pending).to.equal(2);
    fails.error(new XenError('EROFS', 'a test'));
    later.complete();
    await settled();
    requests.upcall();
    expect([answers.get(2), answers.get(3), responses.pending]).to.deep.equal([52, -30, 0]);
  });

  it('refuses a promise that rejects, and reports a PeerFault from it', async () => {
    const { requests, responses, answers, errors } = asked(2);
    responses.serve(async (request) => {
      if (request.length === 0) throw new XenError('EBUSY', 'a test');
      throw new PeerFault('a key');
    });
    responses.upcall();
    await settled();
    requests.upcall();
    expect([...answers]).to.deep.equal([[0, -16]]);
    expect(errors.map(String)).to.deep.equal(['PeerFault: a key']);
    expect(responses.pending).to.equal(0);
  });

  it('refuses everything with EOPNOTSUPP while nobody serves', () => {
    const { requests, responses, answers } = asked(1);
    responses.upcall();
    requests.upcall();
    expect([...answers.values()]).to.deep.equal([-95]);
  });

  it('takes one handler', () => {
    const { responses } = pumps();
    responses.serve(nothing);
    expect(() => responses.serve(nothing)).to.throw(TypeError, 'one handler');
    expect(() => responses.drain(nothing)).to.throw(TypeError, 'one handler');
  });

  it('shows refuse the request that is refused', () => {
    const { requests, responses, answers, refused } = asked(2);
    responses.serve((request) => {
      if (request.length === 1) throw new XenError('EINVAL', 'a test');
    });
    responses.upcall();
    requests.upcall();
    expect([refused, [...answers.values()]]).to.deep.equal([[1], [0, -22]]);
  });
});

describe('drain', () => {
  it('lets a backend take several requests and answer them at once', () => {
    const { requests, responses, answers, notified } = asked(4);
    responses.drain((slots) => {
      let sum = 0;
      const tickets: number[] = [];
      for (let request = slots.take(); request !== undefined; request = slots.take()) {
        sum += request.length;
        tickets.push(slots.keep());
      }
      for (const ticket of tickets) slots.respond(ticket).status = sum;
    });
    expect(responses.upcall()).to.equal(4);
    requests.upcall();
    expect([[...answers.values()], notified.front, responses.pending]).to.deep.equal([[6, 6, 6, 6], 1, 0]);
  });

  it('answers the request taken last without a ticket', () => {
    const { requests, responses, answers } = asked(3);
    responses.drain((slots) => {
      for (let request = slots.take(); request !== undefined; request = slots.take()) {
        const { length } = request;
        slots.respond().status = length + 7;
      }
    });
    expect(responses.upcall()).to.equal(3);
    requests.upcall();
    expect([...answers.values()]).to.deep.equal([7, 8, 9]);
  });

  it('answers later, in any order, and reads a kept request meanwhile', () => {
    const { requests, responses, answers, notified } = asked(4);
    const tickets: number[] = [];
    const slots = responses.drain((all) => {
      while (all.take() !== undefined) tickets.push(all.keep());
    });
    responses.upcall();
    expect([responses.pending, answers.size, notified.front]).to.deep.equal([4, 0, 0]);
    for (const ticket of [...tickets].reverse()) {
      const { length } = slots.kept(ticket);
      slots.respond(ticket).status = length + 1;
    }
    slots.push();
    expect(notified.front).to.equal(1);
    requests.upcall();
    expect([...answers]).to.deep.equal([
      [3, 4],
      [2, 3],
      [1, 2],
      [0, 1],
    ]);
  });

  it('offers again what a handler left, at the next upcall, without spinning', () => {
    const { requests, responses, notified } = asked(3);
    const offered: number[] = [];
    let budget = 1;
    responses.drain((slots) => {
      let n = 0;
      while (budget > 0 && slots.take() !== undefined) {
        budget--;
        n++;
        slots.respond();
      }
      offered.push(n);
    });
    expect(responses.upcall()).to.equal(1);
    expect(responses.upcall(), 'nothing came').to.equal(0);
    budget = 10;
    requests.submit(ask(9), nothing);
    requests.push();
    expect(notified.back, 'it asked for the one after those it left').to.equal(2);
    expect(responses.upcall()).to.equal(3);
    expect(requests.upcall()).to.equal(4);
    expect(offered).to.deep.equal([1, 0, 3]);
  });

  it('refuses, and reports, a request that was taken and forgotten', () => {
    const { requests, responses, answers, errors } = asked(3);
    responses.drain((slots) => {
      slots.take();
      slots.take();
      slots.respond().status = 1;
      slots.take();
    });
    responses.upcall();
    requests.upcall();
    expect([...answers.values()]).to.deep.equal([-5, 1, -5]);
    expect(errors.map((error) => (error as Error).message)).to.deep.equal([
      'a handler took a request and neither answered nor kept it',
      'a handler took a request and neither answered nor kept it',
    ]);
  });

  it('refuses the request at hand when the handler throws, and offers the others', () => {
    const { requests, responses, answers, errors } = asked(3);
    responses.drain((slots) => {
      for (let request = slots.take(); request !== undefined; request = slots.take()) {
        if (request.length === 1) throw new XenError('ENXIO', 'a test');
        slots.respond();
      }
    });
    responses.upcall();
    requests.upcall();
    expect([[...answers.values()], errors]).to.deep.equal([[0, -6, 0], []]);
  });

  it('refuses tickets that keep nothing', () => {
    const { responses } = asked(2);
    const slots = responses.drain((all) => {
      expect(() => all.keep()).to.throw(RangeError, 'no request is taken');
      expect(() => all.respond()).to.throw(RangeError, 'no request is taken');
      all.take();
      const ticket = all.keep();
      all.respond(ticket);
      expect(() => all.respond(ticket)).to.throw(RangeError, `no request is kept under ticket ${ticket}`);
      expect(() => all.kept(ticket)).to.throw(RangeError);
      all.take();
      all.respond();
    });
    responses.upcall();
    for (const ticket of [-1, 0, 5, 0.5]) expect(() => slots.respond(ticket), `${ticket}`).to.throw(RangeError);
  });
});

describe('close', () => {
  it('takes nothing more, and drops the answers that come later, which stay pending until they come', async () => {
    const { requests, responses, answers, notified } = asked(2);
    const open: (() => void)[] = [];
    responses.serve(() => new Promise<void>((resolve) => open.push(resolve)));
    responses.upcall();
    responses.close();
    responses.close();
    let idle = false;
    void responses.idle().then(() => {
      idle = true;
    });
    requests.submit(ask(5), nothing);
    requests.push();
    expect(responses.upcall()).to.equal(0);
    open[0]?.();
    await settled();
    expect([responses.pending, idle]).to.deep.equal([1, false]);
    open[1]?.();
    await settled();
    expect([responses.pending, idle]).to.deep.equal([0, true]);
    expect([requests.upcall(), answers.size, notified.front]).to.deep.equal([0, 0, 0]);
  });

  it('lets kept tickets be answered, for nobody', async () => {
    const { requests, responses } = asked(2);
    const tickets: number[] = [];
    const slots = responses.drain((all) => {
      while (all.take() !== undefined) tickets.push(all.keep());
    });
    responses.upcall();
    responses.close();
    for (const ticket of tickets) slots.respond(ticket).status = 1;
    slots.push();
    expect(responses.pending).to.equal(0);
    await responses.idle();
    expect(requests.upcall()).to.equal(0);
  });

  it('with abandon unsubscribes from what has not answered', async () => {
    const { responses } = asked(1);
    let open = false;
    responses.serve(
      () =>
        new Observable<void>(() => {
          open = true;
          return () => {
            open = false;
          };
        }),
    );
    responses.upcall();
    expect([open, responses.pending]).to.deep.equal([true, 1]);
    responses.abandon();
    expect([open, responses.pending]).to.deep.equal([false, 0]);
    await responses.idle();
  });
});

describe('a frontend that publishes too much', () => {
  it('is at fault before anything is taken', () => {
    const { words, responses } = pumps();
    let calls = 0;
    responses.serve(() => {
      calls++;
    });
    Atomics.store(words, 0, 5);
    expect(() => responses.upcall()).to.throw(PeerFault, 'req_prod');
    expect(calls).to.equal(0);
  });
});
