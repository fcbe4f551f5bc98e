import { expect } from 'chai';
import fc from 'fast-check';
import { sring } from '../../../core/abi/ring.js';
import { Disconnected } from '../../../core/errors.js';
import { ask, publications, pumps } from './pumps.js';

const nothing = (): void => undefined;

describe('close() of requests', () => {
  it('tells all that is outstanding and all that waits, and refuses what comes after', async () => {
    const { requests } = pumps();
    const lost: [string, number][] = [];
    const ids: number[] = [];
    requests.submit(
      (slot, id) => {
        ids.push(id);
        ask(1)(slot);
      },
      nothing,
      (error, id) => lost.push([error.message, id]),
    );
    requests.submit(ask(2), nothing);
    const all = Array.from({ length: 6 }, () => requests.request(nothing, () => 'answered').catch((error) => error));
    let room = 0;
    requests.space(() => room++);
    const end = new Disconnected('the backend closed');
    requests.close(end);
    requests.close(new Error('a second time'));
    expect(lost).to.deep.equal([['the backend closed', ids[0]]]);
    expect(await Promise.all(all)).to.deep.equal([end, end, end, end, end, end]);
    expect(() => requests.submit(ask(3), nothing)).to.throw(Disconnected, 'the backend closed');
    expect(await requests.request(nothing, nothing).catch(String)).to.match(/the backend closed/);
    requests.space(() => room++);
    expect([room, requests.free]).to.deep.equal([0, 0]);
    await requests.idle();
  });

  it('from within a done drops the rest of the batch silently', () => {
    const { requests, responses, errors } = pumps();
    responses.serve(nothing);
    const done: number[] = [];
    const lost: number[] = [];
    for (const i of [0, 1, 2]) {
      requests.submit(
        ask(i),
        () => {
          done.push(i);
          requests.close();
        },
        () => lost.push(i),
      );
    }
    requests.push();
    responses.upcall();
    requests.upcall();
    expect([done, lost, errors]).to.deep.equal([[0], [1, 2], []]);
  });

  it('reports what a lost callback throws and tells the others', () => {
    const { requests, errors } = pumps();
    const lost: number[] = [];
    const fails = (): void => {
      throw new Error('lost');
    };
    requests.submit(ask(1), nothing, fails);
    requests.submit(ask(2), nothing, () => lost.push(2));
    requests.close();
    expect([lost, errors.map(String)]).to.deep.equal([[2], ['Error: lost']]);
  });
});

describe('a link that ends', () => {
  it('publishes nothing more, nor notifies', () => {
    const { words, requests, responses, notified } = pumps();
    requests.submit(ask(1), nothing);
    requests.close();
    expect(publications(words, sring.reqProd, () => requests.push())).to.equal(0);
    responses.close();
    expect(publications(words, sring.rspProd, () => responses.push())).to.equal(0);
    expect(notified).to.eql({ front: 0, back: 0 });
  });

  it('in a callback that waited for space notifies nobody either', () => {
    const { words, requests, responses, notified } = pumps();
    responses.serve(nothing);
    for (let i = 0; i < 4; i++) requests.submit(ask(i), nothing);
    requests.push();
    requests.space(() => {
      requests.submit(ask(9), nothing);
      requests.close();
    });
    responses.upcall();
    expect(publications(words, sring.reqProd, () => requests.upcall())).to.equal(0);
    expect(notified.back).to.equal(1);
  });

  it('at whatever moment tells each sender once: answered or lost', async () => {
    const step = fc.constantFrom('submit', 'request', 'space', 'push', 'back', 'front');
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { requests, responses, errors } = pumps(0xfffffffe);
        responses.serve((request, response) => {
          response.status = request.length;
        });
        const told: number[] = [];
        const end = new Disconnected('the end');
        const count = (n: number): void => {
          told[n] = (told[n] ?? 0) + 1;
        };
        const senders: Promise<void>[] = [];
        const submit = (): boolean => {
          const n = told.length;
          const lost = (error: Error): void => {
            expect(error).to.equal(end);
            count(n);
          };
          const taken = requests.submit(ask(n), ({ status }) => count(status), lost);
          if (taken) told[n] = 0;
          return taken;
        };
        const does: Readonly<Record<string, () => void>> = {
          submit,
          request: () => {
            const n = told.length;
            told[n] = 0;
            const sending = requests.request(
              (request) => {
                request.length = n;
              },
              ({ status }) => status,
            );
            senders.push(
              sending.then(count, (error) => {
                expect(error).to.equal(end);
                count(n);
              }),
            );
          },
          space: () =>
            requests.space(() => {
              submit();
              submit();
            }),
          push: () => requests.push(),
          back: () => responses.upcall(),
          front: () => requests.upcall(),
        };
        for (const name of steps) does[name]?.();
        requests.close(end);
        expect(() => submit()).to.throw(Disconnected, 'the end');
        responses.upcall();
        expect(requests.upcall()).to.equal(0);
        await Promise.all(senders);
        await requests.idle();
        expect(told.every((times) => times === 1)).to.equal(true);
        expect(errors).to.eql([]);
      }),
    );
  });
});
