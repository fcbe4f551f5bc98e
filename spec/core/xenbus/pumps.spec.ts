import { expect } from 'chai';
import fc from 'fast-check';
import { Subject } from 'rxjs';
import { BackRing } from '../../../core/abi/back-ring.js';
import { FrontRing } from '../../../core/abi/front-ring.js';
import { sring } from '../../../core/abi/ring.js';
import { draft, layoutOf } from '../../../core/abi/struct.js';
import { asGrantRef, asSector, PAGE_SIZE } from '../../../core/abi/units.js';
import { Disconnected, PeerFault, XenError } from '../../../core/errors.js';
import { Requests } from '../../../core/xenbus/requests.js';
import { Responses } from '../../../core/xenbus/responses.js';
import { blkifRequest, blkifResponse } from '../../../drivers/blk/wire.js';
import { hookAtomics } from '../../support/atomics.js';
import { ask, paired, pumps, settled, unpaired } from './pumps.js';

const nothing = (): void => undefined;

/** Runs what publishes on `words`, and counts how often a producer index is written there. */
const publications = (words: Int32Array, index: number, run: () => unknown): number => {
  let count = 0;
  hookAtomics(
    { after: (of, word, _, kind) => void (of === words && word === index && kind === 'store' && count++) },
    run,
  );
  return count;
};

for (const abi of ['x86_64-abi', 'x86_32-abi'] as const) {
  describe(`a backend of blkif whose frontend is foreign, of ${abi}`, () => {
    const blkif = { request: blkifRequest, response: blkifResponse, id: 'id' } as const;
    const slotBytes = layoutOf(blkifRequest, abi).size;
    const at = (index: number) => ({ word: sring.entries + ((index & 31) * slotBytes) / 4, abi });
    /** Ids of 64 bits, as Windows makes them. */
    const idOf = (n: number): bigint => 0xffff_8000_0000_0000n + BigInt(n) * 0x1_0000_0001n;

    const backend = () => {
      const words = new Int32Array(new SharedArrayBuffer(PAGE_SIZE));
      new FrontRing(words, blkif, { abi });
      const errors: unknown[] = [];
      const responses = new Responses(new BackRing(words, blkif, { abi }), {
        notify: nothing,
        refuse: (response, errno) => {
          response.status = -errno;
        },
        onError: (error) => errors.push(error),
      });
      let sent = 0;
      let heard = 0;
      const send = (): void => {
        const { rw } = draft(blkifRequest, words, at(sent));
        const id = BigInt.asUintN(64, idOf(sent));
        rw.set({
          operation: 1,
          nr_segments: 11,
          handle: 51712,
          id: { lo: Number(id & 0xffffffffn), hi: Number(id >> 32n) },
          sector_number: asSector(sent),
        });
        for (let i = 0; i < 11; i++) rw.seg.at(i).set({ gref: asGrantRef(sent * 11 + i), first_sect: 0, last_sect: 7 });
        words[sring.reqProd] = ++sent;
      };
      /** The responses since the last time: each id and status. */
      const hear = (): (readonly [bigint, number])[] => {
        const heardNow: (readonly [bigint, number])[] = [];
        for (; heard < (words[sring.rspProd] as number); heard++) {
          const { id, status } = draft(blkifResponse, words, at(heard));
          heardNow.push([(BigInt(id.hi) << 32n) | BigInt(id.lo), status]);
        }
        return heardNow;
      };
      return { words, responses, errors, send, hear };
    };

    it('gives each id back with all its 64 bits, whenever and in whatever order it answers', async () => {
      const { responses, send, hear } = backend();
      const open: (() => void)[] = [];
      responses.serve((request, response) => {
        response.status = ~request.rw.sector_number;
        return new Promise<void>((resolve) => open.push(resolve));
      });
      for (let i = 0; i < 32; i++) send();
      expect(responses.upcall()).to.equal(32);
      for (let i = 31; i >= 0; i--) {
        open[(i * 7) % 32]?.();
        await Promise.resolve();
      }
      await settled();
      const expected = Array.from({ length: 32 }, (_, k) => ((31 - k) * 7) % 32);
      expect(hear()).to.eql(expected.map((n) => [idOf(n), ~n]));
    });

    it('keeps a request as it was, though 31 others are answered meanwhile and its own slot is written again', async () => {
      const { responses, send, hear } = backend();
      let finish: () => void = nothing;
      const seen: number[] = [];
      responses.serve((request, response) => {
        if (request.rw.sector_number !== 5) return undefined as never;
        return new Promise<void>((resolve) => {
          finish = resolve;
        }).then(() => {
          const { rw } = request;
          for (let i = 0; i < rw.seg.length; i++) seen.push(rw.seg.at(i).gref);
          response.status = rw.handle === 51712 ? -rw.sector_number : 0;
        });
      });
      for (let i = 0; i < 32; i++) send();
      expect(responses.upcall()).to.equal(32);
      expect(hear()).to.have.length(31);
      for (let round = 0; round < 4; round++) {
        for (let i = 0; i < 31; i++) send();
        expect(responses.upcall()).to.equal(31);
        expect(hear()).to.have.length(31);
      }
      finish();
      await settled();
      expect(hear()).to.eql([[idOf(5), -5]]);
      expect(seen).to.eql(Array.from({ length: 11 }, (_, i) => 55 + i));
    });

    it('is as full with requests kept as with requests on the ring: a 33rd ends the link', () => {
      const { words, responses, send } = backend();
      responses.drain((slots) => {
        while (slots.take() !== undefined) slots.keep();
      });
      for (let i = 0; i < 32; i++) send();
      expect([responses.upcall(), responses.pending]).to.eql([32, 32]);
      words[sring.reqProd] = 33;
      expect(() => responses.upcall()).to.throw(PeerFault, 'req_prod, with at most 0 to come after 32, cannot be 33');
    });

    it('gives the id back in a refusal too', () => {
      const { responses, send, hear, errors } = backend();
      responses.serve(() => {
        throw new XenError('EOPNOTSUPP', 'a test');
      });
      send();
      responses.upcall();
      expect([hear(), errors]).to.eql([[[idOf(0), -95]], []]);
    });
  });
}

describe('a frontend whose backend is foreign', () => {
  it('is not taken in by the id of a request in the low half of 64 bits', () => {
    const words = new Int32Array(new SharedArrayBuffer(PAGE_SIZE));
    const blkif = { request: blkifRequest, response: blkifResponse, id: 'id' } as const;
    const requests = new Requests(new FrontRing(words, blkif), { notify: nothing, onError: nothing });
    const fill = (slot: Parameters<Parameters<typeof requests.submit>[0]>[0]): void =>
      slot.rw.set({ operation: 0, nr_segments: 0, handle: 0, sector_number: asSector(0) });
    let answered = 0;
    requests.submit(fill, () => answered++);
    requests.push();
    draft(blkifResponse, words, { word: sring.entries }).id.set({ lo: 0, hi: 1 });
    words[sring.rspProd] = 1;
    expect(() => requests.upcall()).to.throw(PeerFault, 'the id of a response cannot be above 2^32');
    expect(answered).to.equal(0);
  });
});

describe('a batch', () => {
  it('of requests is published once, and so are the responses, however they came about', async () => {
    const { words, requests, responses, notified } = pumps();
    const later = new Subject<void>();
    responses.serve((request) => {
      if (request.length === 1) throw new XenError('EIO', 'a test');
      if (request.length === 2) return Promise.resolve();
      return request.length === 3 ? later : (undefined as never);
    });
    for (let i = 0; i < 4; i++) requests.submit(ask(i), nothing);
    expect(publications(words, sring.reqProd, () => requests.push())).to.equal(1);
    expect(publications(words, sring.rspProd, () => responses.upcall())).to.equal(1);
    expect([words[sring.rspProd], notified.front]).to.eql([2, 1]);
    later.complete();
    await settled();
    expect([words[sring.rspProd], notified.front, responses.pending]).to.eql([4, 1, 0]);
  });

  it('of answers that come at the same time is published once', async () => {
    const { words, requests, responses } = pumps();
    const open: (() => void)[] = [];
    responses.serve(() => new Promise<void>((resolve) => open.push(resolve)));
    for (let i = 0; i < 3; i++) requests.submit(ask(i), nothing);
    requests.push();
    responses.upcall();
    const seen: unknown[] = [];
    for (const resolve of open) {
      resolve();
      void Promise.resolve().then(() => seen.push(words[sring.rspProd]));
    }
    await settled();
    expect([...seen, words[sring.rspProd]]).to.eql([0, 0, 0, 3]);
  });

  it('that nothing came of publishes nothing', () => {
    const { words, requests, responses, notified } = pumps();
    responses.drain(nothing);
    requests.submit(ask(0), nothing);
    requests.push();
    expect(publications(words, sring.rspProd, () => responses.upcall())).to.equal(0);
    expect(publications(words, sring.reqProd, () => requests.push())).to.equal(0);
    expect([notified.front, notified.back]).to.eql([0, 1]);
  });
});

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

describe('a callback that throws', () => {
  it('for space is reported, and those after it have their turn', () => {
    const { requests, responses, errors } = pumps();
    responses.serve(nothing);
    for (let i = 0; i < 4; i++) requests.submit(ask(i), nothing);
    const turns: string[] = [];
    requests.space(() => {
      turns.push('first');
      throw new Error('no room wanted');
    });
    requests.space(() => turns.push('second'));
    requests.push();
    responses.upcall();
    requests.upcall();
    expect(turns).to.eql(['first', 'second']);
    expect(errors.map(String)).to.eql(['Error: no room wanted']);
    expect(requests.submit(ask(5), nothing)).to.equal(true);
  });

  it('to refuse is reported, and the request is answered all the same', () => {
    const words = new Int32Array(new SharedArrayBuffer(4 * sring.entries + 4 * 8));
    const errors: unknown[] = [];
    const onError = (error: unknown): void => void errors.push(error);
    const requests = new Requests(new FrontRing(words, paired), { notify: nothing, onError });
    const seen: number[] = [];
    const responses = new Responses(new BackRing(words, paired), {
      notify: nothing,
      onError,
      refuse: (response) => {
        seen.push(response.status);
        throw new Error('cannot refuse');
      },
    });
    responses.serve((_, response) => {
      response.status = 77;
      throw new XenError('EIO', 'a test');
    });
    const statuses: number[] = [];
    requests.submit(ask(1), ({ status }) => statuses.push(status));
    requests.push();
    responses.upcall();
    requests.upcall();
    expect([seen, statuses, errors.map(String)]).to.eql([[0], [0], ['Error: cannot refuse']]);
  });
});

describe('a handler', () => {
  it('may return anything that is no promise and no Observable, which means nothing', () => {
    const { requests, responses } = pumps();
    const results: readonly unknown[] = [0, 'text', { subscribe: 1 }, false];
    responses.serve((request, response) => {
      response.status = request.length;
      return results[request.length] as never;
    });
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) requests.submit(ask(i), ({ status }) => statuses.push(status));
    requests.push();
    expect([responses.upcall(), responses.pending]).to.eql([4, 0]);
    requests.upcall();
    expect(statuses).to.eql([0, 1, 2, 3]);
  });
});
