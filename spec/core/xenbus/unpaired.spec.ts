import { expect } from 'chai';
import { BackRing } from '../../../core/abi/back-ring.js';
import { FrontRing } from '../../../core/abi/front-ring.js';
import { sring } from '../../../core/abi/ring.js';
import { asGrantRef } from '../../../core/abi/units.js';
import { PeerFault, XenError } from '../../../core/errors.js';
import { Requests } from '../../../core/xenbus/requests.js';
import { Responses } from '../../../core/xenbus/responses.js';
import { settled, unpaired } from './pumps.js';

const nothing = (): void => undefined;

describe('a ring whose responses have no id', () => {
  /** A backend of such a ring, with `count` requests on it of 0, 1, 2 … bytes, and what a frontend gets back, by length. */
  const unpairedPumps = (count: number) => {
    const words = new Int32Array(new SharedArrayBuffer(4 * sring.entries + 4 * 8));
    const answers: number[] = [];
    const errors: unknown[] = [];
    const onError = (error: unknown): void => void errors.push(error);
    const requests = new Requests(new FrontRing(words, unpaired, { first: 0xfffffffe }), { notify: nothing, onError });
    const responses = new Responses(new BackRing(words, unpaired), {
      notify: nothing,
      onError,
      refuse: (response, errno) => {
        response.status = -errno;
      },
    });
    let sent = 0;
    const send = (): void => {
      const length = sent++;
      expect(
        requests.submit(
          (slot) => slot.set({ id: 0, length, gref: asGrantRef(0) }),
          ({ status }) => {
            answers[length] = status;
          },
        ),
      ).to.equal(true);
    };
    for (let i = 0; i < count; i++) send();
    requests.push();
    return { requests, responses, answers, errors, send };
  };

  it('is answered in the order of the requests, whichever is ready first (netif.h: rx responses)', async () => {
    const { requests, responses, answers, errors, send } = unpairedPumps(4);
    const open: (() => void)[] = [];
    responses.serve((request, response) => {
      const { length } = request;
      response.status = 100 + length;
      if (length === 2) return undefined as never; // ready at once, but not the first
      if (length === 3) throw new XenError('ENOSPC', 'a test');
      return new Promise<void>((resolve) => {
        open[length] = resolve;
      });
    });
    expect(responses.upcall()).to.equal(4);
    expect(responses.pending).to.equal(4);
    requests.upcall();
    expect(answers).to.eql([]);
    open[1]?.();
    await settled();
    expect([requests.upcall(), responses.pending]).to.eql([0, 4]);
    open[0]?.();
    await settled();
    expect([requests.upcall(), responses.pending]).to.eql([4, 0]);
    expect(answers).to.eql([100, 101, 102, -28]);

    for (let i = 0; i < 4; i++) send();
    requests.push();
    responses.upcall();
    open[4]?.();
    await settled();
    requests.upcall();
    expect(answers.slice(4)).to.eql([104]);
    for (const i of [7, 6, 5]) open[i]?.();
    await settled();
    requests.upcall();
    expect([answers.slice(4), responses.pending, errors]).to.eql([[104, 105, 106, 107], 0, []]);
  });

  it('ends with a PeerFault that is found while an answer is waited for', async () => {
    const { responses, errors } = unpairedPumps(2);
    responses.serve((request) => {
      if (request.length === 1) throw new PeerFault('length', 1);
      return new Promise<void>(nothing);
    });
    expect(() => responses.upcall()).to.throw(PeerFault, 'length cannot be 1');
    expect(errors).to.eql([]);
  });

  it('drops what is ready behind an answer that never comes, once it is closed', async () => {
    const { requests, responses, answers } = unpairedPumps(3);
    const open: (() => void)[] = [];
    responses.serve(
      (request) =>
        new Promise<void>((resolve) => {
          open[request.length] = resolve;
        }),
    );
    responses.upcall();
    open[1]?.();
    open[2]?.();
    await settled();
    expect(responses.pending).to.equal(3);
    responses.close();
    open[0]?.();
    await settled();
    await responses.idle();
    expect([requests.upcall(), answers, responses.pending]).to.eql([0, [], 0]);
  });

  it('hands the responses out in the order of the requests, across the wrap', () => {
    const words = new Int32Array(64 / 4 + 8);
    const options = { notify: nothing, onError: nothing };
    const requests = new Requests(new FrontRing(words, unpaired, { first: 0xfffffffd }), options);
    const back = new BackRing(words, unpaired);
    const seen: number[] = [];
    let sent = 0;
    for (let round = 0; round < 5; round++) {
      while (
        requests.submit(
          (slot) => slot.set({ id: 0, length: sent, gref: asGrantRef(0) }),
          ({ status }) => seen.push(status),
        )
      )
        sent++;
      requests.push();
      for (let i = back.unconsumed() - (round % 2); i > 0; i--) {
        const exchange = back.take();
        exchange.response.status = exchange.request.length;
        back.put(exchange);
      }
      back.push();
      requests.upcall();
    }
    expect(seen).to.deep.equal(Array.from({ length: seen.length }, (_, i) => i));
    expect(seen.length).to.be.greaterThan(10);
  });
});
