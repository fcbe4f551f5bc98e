import { expect } from 'chai';
import fc from 'fast-check';
import { type GrantRef, PeerFault } from '../../../core/index.js';
import type { Requests } from '../../../core/xenbus/requests.js';
import { ask, type paired, pumps, settled } from './pumps.js';

const nothing = (): void => {};

describe('submit', () => {
  it('says no when the ring is full, and yes again when a response was taken', () => {
    const { requests, responses } = pumps(0xfffffffe);
    responses.serve((request, response) => {
      response.status = request.length;
    });
    for (let i = 0; i < 4; i++) expect(requests.submit(ask(i), nothing)).to.equal(true);
    expect(requests.submit(ask(4), nothing)).to.equal(false);
    expect([requests.free, requests.outstanding, requests.entries]).to.deep.equal([0, 4, 4]);
    requests.push();
    responses.upcall();
    expect(requests.submit(ask(4), nothing), 'nothing was taken').to.equal(false);
    expect(requests.upcall()).to.equal(4);
    expect([requests.free, requests.outstanding]).to.deep.equal([4, 0]);
  });

  it('hands each response to its own request, in whatever order they come', () => {
    const { requests, responses } = pumps();
    const slots = responses.drain((slots) => {
      while (slots.take() !== undefined) tickets.push(slots.keep());
    });
    const tickets: number[] = [];
    const seen: [number, number][] = [];
    for (const length of [10, 11, 12]) {
      requests.submit(ask(length), (response) => {
        seen.push([length, response.status]);
      });
    }
    requests.push();
    responses.upcall();
    for (const i of [2, 0, 1]) slots.respond(tickets[i]).status = 10 + i;
    slots.push();
    requests.upcall();
    expect(seen).to.deep.equal([
      [12, 12],
      [10, 10],
      [11, 11],
    ]);
  });

  it('gives fill and done the same id, free for the frontend to index by', () => {
    const { requests, responses } = pumps();
    responses.serve(nothing);
    const ids: number[] = [];
    const fill = (slot: Parameters<ReturnType<typeof ask>>[0], id: number): void => {
      ids.push(id);
      ask(1)(slot);
    };
    const done: number[] = [];
    for (let i = 0; i < 4; i++) requests.submit(fill, (_, id) => done.push(id));
    requests.push();
    responses.upcall();
    requests.upcall();
    expect(done).to.deep.equal(ids);
    expect(new Set(ids).size).to.equal(4);
  });

  it('notifies once for a batch, and not while the backend has not asked', () => {
    const { requests, responses, notified } = pumps();
    responses.serve(nothing);
    requests.submit(ask(1), nothing);
    requests.submit(ask(2), nothing);
    expect(notified.back).to.equal(0);
    requests.push();
    expect(notified.back).to.equal(1);
    requests.submit(ask(3), nothing);
    requests.push();
    expect(notified.back, 'the backend has not looked').to.equal(1);
    responses.upcall();
    requests.upcall();
    requests.submit(ask(4), nothing);
    requests.push();
    expect(notified.back).to.equal(2);
  });

  it('takes no slot when fill throws, and passes the error on', () => {
    const { requests, responses } = pumps();
    const lengths: number[] = [];
    responses.serve((request) => {
      lengths.push(request.length);
    });
    const fails = (): void => {
      throw new RangeError('no');
    };
    expect(() => requests.submit(fails, nothing)).to.throw(RangeError, 'no');
    expect(requests.outstanding).to.equal(0);
    requests.submit(ask(5), nothing);
    requests.push();
    responses.upcall();
    expect(lengths).to.deep.equal([5]);
  });

  it('refuses a request from inside a fill', () => {
    const { requests } = pumps();
    expect(() =>
      requests.submit((slot) => {
        requests.submit(ask(1), nothing);
        ask(2)(slot);
      }, nothing),
    ).to.throw(TypeError, 'while another is being written');
  });

  it('lets a done send the next request, published when the batch is over', () => {
    const { requests, responses, notified } = pumps();
    responses.serve(nothing);
    let done = 0;
    const again = (): void => {
      if (++done < 3) requests.submit(ask(1), again);
    };
    requests.submit(ask(1), again);
    for (let i = 0; i < 3; i++) {
      requests.push();
      responses.upcall();
      requests.upcall();
    }
    expect(done).to.equal(3);
    expect(notified.back).to.equal(3);
  });

  it('is not disturbed by what one done throws, which is reported after', () => {
    const { requests, responses, errors } = pumps();
    responses.serve(nothing);
    const done: number[] = [];
    for (const i of [0, 1, 2, 3]) {
      requests.submit(ask(i), () => {
        if (i % 2 === 1) throw new Error(`done ${i}`);
        done.push(i);
      });
    }
    requests.push();
    responses.upcall();
    expect(requests.upcall()).to.equal(4);
    expect(done).to.deep.equal([0, 2]);
    expect(errors.map(String)).to.deep.equal(['Error: done 1', 'Error: done 3']);
    expect(requests.outstanding).to.equal(0);
  });
});

describe('request', () => {
  it('resolves to what done makes of the response', async () => {
    const { requests, responses } = pumps();
    responses.serve((request, response) => {
      response.status = request.length / 2;
    });
    const answer = requests.request(
      (request) => {
        request.length = 84;
        request.gref = 9 as GrantRef;
      },
      ({ status }) => status,
    );
    responses.upcall();
    requests.upcall();
    expect(await answer).to.equal(42);
  });

  it('waits for a free slot, first come first served', async () => {
    const { requests, responses } = pumps();
    const order: number[] = [];
    responses.serve((request, response) => {
      order.push(request.length);
      response.status = request.length;
    });
    const answers = Array.from({ length: 10 }, (_, i) =>
      requests.request(
        (request) => {
          request.length = i;
        },
        ({ status }) => status,
      ),
    );
    expect(requests.outstanding).to.equal(4);
    expect(requests.submit(ask(99), nothing), 'others wait').to.equal(false);
    for (let i = 0; i < 3; i++) {
      responses.upcall();
      requests.upcall();
    }
    expect(await Promise.all(answers)).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(order).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('is not overtaken by a done that submits', async () => {
    const { requests, responses } = pumps();
    const order: number[] = [];
    responses.serve((request) => {
      order.push(request.length);
    });
    let refused = 0;
    for (let i = 0; i < 4; i++) {
      requests.submit(ask(i), () => {
        if (!requests.submit(ask(50), nothing)) refused++;
      });
    }
    const waiting = requests.request(
      (request) => {
        request.length = 4;
      },
      () => 'done',
    );
    responses.upcall();
    requests.upcall();
    responses.upcall();
    requests.upcall();
    expect(await waiting).to.equal('done');
    expect(refused).to.equal(4);
    expect(order).to.deep.equal([0, 1, 2, 3, 4]);
  });

  it('rejects with what fill or done throws, and goes on', async () => {
    const { requests, responses } = pumps();
    responses.serve(nothing);
    const fill = requests.request(
      () => {
        throw new RangeError('fill');
      },
      () => 0,
    );
    const done = requests.request(nothing, () => {
      throw new RangeError('done');
    });
    responses.upcall();
    requests.upcall();
    const results = await Promise.allSettled([fill, done]);
    expect(results.map((result) => (result.status === 'rejected' ? String(result.reason) : 'kept'))).to.deep.equal([
      'RangeError: fill',
      'RangeError: done',
    ]);
    expect(requests.outstanding).to.equal(0);
  });

  it('rejects with a PeerFault that done finds, and ends the upcall with it', async () => {
    const { requests, responses } = pumps();
    responses.serve(nothing);
    const answer = requests.request(nothing, () => {
      throw new PeerFault('vrng status', 3);
    });
    responses.upcall();
    expect(() => requests.upcall()).to.throw(PeerFault, 'vrng status');
    expect(await answer.catch(String)).to.match(/vrng status/);
  });
});

describe('space', () => {
  it('calls back once there is room, in the order of asking', () => {
    const { requests, responses } = pumps();
    responses.serve(nothing);
    const calls: string[] = [];
    requests.space(() => calls.push('at once'));
    for (let i = 0; i < 4; i++) requests.submit(ask(i), nothing);
    requests.space(() => {
      calls.push('first');
      while (requests.submit(ask(1), nothing));
    });
    requests.space(() => {
      calls.push('second');
    });
    expect(calls).to.deep.equal(['at once']);
    requests.push();
    responses.upcall();
    requests.upcall();
    expect(calls).to.deep.equal(['at once', 'first']);
    responses.upcall();
    requests.upcall();
    expect(calls).to.deep.equal(['at once', 'first', 'second']);
  });
});

describe('a peer that lies', () => {
  /** A ring with one request outstanding and one response, whose id is `id`. */
  const answeredWith = (id: number): Requests<typeof paired.request, typeof paired.response, 'id'> => {
    const { requests, words } = pumps();
    requests.submit(ask(1), nothing);
    requests.push();
    words[16] = id;
    Atomics.store(words, 2, 1);
    return requests;
  };

  it('is at fault for an id that no request has', () => {
    for (const id of [1, 3, 4, 5, 0xffff]) {
      expect(() => answeredWith(id).upcall(), `${id}`).to.throw(PeerFault, `the id of a response cannot be ${id}`);
    }
    expect(answeredWith(0).upcall()).to.equal(1);
  });

  it('is at fault for answering twice', () => {
    const { requests, words } = pumps();
    requests.submit(ask(1), nothing);
    requests.submit(ask(2), nothing);
    requests.push();
    words[16] = 0;
    words[18] = 0;
    Atomics.store(words, 2, 2);
    expect(() => requests.upcall()).to.throw(PeerFault, 'the id of a response cannot be 0');
  });

  it('is at fault for answering what was not asked', () => {
    const { requests, words } = pumps();
    requests.submit(ask(1), nothing);
    Atomics.store(words, 2, 1);
    expect(() => requests.upcall()).to.throw(PeerFault, 'rsp_prod');
  });
});

describe('idle', () => {
  it('resolves when nothing is outstanding and nobody waits', async () => {
    const { requests, responses } = pumps();
    responses.serve(nothing);
    let idle = false;
    await requests.idle();
    for (let i = 0; i < 5; i++) void requests.request(nothing, nothing);
    void requests.idle().then(() => {
      idle = true;
    });
    responses.upcall();
    requests.upcall();
    await settled();
    expect(idle).to.equal(false);
    responses.upcall();
    requests.upcall();
    await settled();
    expect(idle).to.equal(true);
  });
});

describe('requests and responses together', () => {
  it('answer every request exactly once with its own answer, whenever either end looks (property)', async () => {
    const step = fc.constantFrom('submit', 'request', 'push', 'back', 'front', 'late');
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(0, 0xfffffff0), fc.array(step, { maxLength: 80 }), async (first, steps) => {
        const { requests, responses, errors } = pumps(first);
        const open: (() => void)[] = [];
        responses.serve((request, response) => {
          const answer = (): void => {
            response.status = request.length + 1;
          };
          if (request.length % 3 !== 0) {
            answer();
            return undefined as never;
          }
          return new Promise<void>((resolve) => {
            open.push(() => {
              answer();
              resolve();
            });
          });
        });
        let sent = 0;
        const answered = new Map<number, number>();
        const note = (length: number, status: number): void => {
          expect(answered.has(length)).to.equal(false);
          answered.set(length, status);
        };
        const run = async (name: string): Promise<void> => {
          const length = sent;
          if (name === 'submit' && requests.submit(ask(length), ({ status }) => note(length, status))) sent++;
          if (name === 'request') {
            sent++;
            void requests.request(
              (request) => {
                request.length = length;
              },
              ({ status }) => note(length, status),
            );
          }
          if (name === 'push') requests.push();
          if (name === 'back') responses.upcall();
          if (name === 'front') requests.upcall();
          if (name === 'late') {
            open.pop()?.();
            await settled();
          }
        };
        for (const name of steps) await run(name);
        while (answered.size < sent)
          for (const name of ['push', 'back', 'late', 'late', 'late', 'late', 'front']) await run(name);
        for (const [length, status] of answered) expect(status).to.equal(length + 1);
        expect([requests.outstanding, responses.pending, errors]).to.deep.equal([0, 0, []]);
      }),
      { numRuns: 50 },
    );
  });
});
