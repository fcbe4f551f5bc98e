import { expect } from 'chai';
import { Subject } from 'rxjs';
import { BackRing } from '../../../core/abi/back-ring.js';
import { FrontRing } from '../../../core/abi/front-ring.js';
import { sring } from '../../../core/abi/ring.js';
import { draft, layoutOf } from '../../../core/abi/struct.js';
import { asGrantRef, asSector, PAGE_SIZE } from '../../../core/abi/units.js';
import { PeerFault, XenError } from '../../../core/errors.js';
import { Requests } from '../../../core/xenbus/requests.js';
import { Responses } from '../../../core/xenbus/responses.js';
import { blkifRequest, blkifResponse } from '../../../drivers/blk/wire.js';
import { ask, paired, publications, pumps, settled } from './pumps.js';

const nothing = (): void => undefined;

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

describe('an upcall', () => {
  const far = 5000;

  it('ends after some 256 requests when the frontend always has more, and asks to be called again', () => {
    const { requests, responses, again } = pumps();
    let sent = 0;
    const send = (): void => {
      if (sent++ < far) requests.submit(ask(1), () => {});
      requests.push();
    };
    responses.serve((_request, response) => {
      response.status = 1;
      requests.upcall();
      send();
    });
    send();
    const served = responses.upcall();
    expect(served).to.be.within(256, 260);
    expect(again).to.deep.equal({ front: 0, back: 1 });
    expect(responses.upcall()).to.be.within(256, 260);
  });

  it('ends after some 256 responses when the backend always has more, and asks to be called again', () => {
    const { requests, responses, again } = pumps();
    responses.serve((_request, response) => {
      response.status = 1;
    });
    let sent = 0;
    const send = (): void => {
      if (sent++ < far) requests.submit(ask(1), send);
      requests.push();
      responses.upcall();
    };
    send();
    expect(requests.upcall()).to.be.within(256, 260);
    expect(again).to.deep.equal({ front: 1, back: 0 });
    expect(requests.upcall()).to.be.within(256, 260);
  });

  it('asks for no other when it has done all there was', () => {
    const { requests, responses, again } = pumps();
    responses.serve((_request, response) => {
      response.status = 1;
    });
    requests.submit(ask(1), () => {});
    requests.push();
    expect(responses.upcall()).to.equal(1);
    expect(requests.upcall()).to.equal(1);
    expect(again).to.deep.equal({ front: 0, back: 0 });
  });
});

describe('an end that can look out for more', () => {
  const answer = (_request: unknown, response: { status: number }): void => {
    response.status = 1;
  };

  it('takes what comes meanwhile, without having asked for an event', () => {
    let looks = 0;
    const both = pumps(0, {
      back: (isThere) => {
        looks++;
        expect(isThere()).to.equal(false);
        if (looks > 1) return false;
        both.requests.submit(ask(2), () => {});
        both.requests.push();
        expect(isThere()).to.equal(true);
        return true;
      },
    });
    const { requests, responses, notified } = both;
    responses.serve(answer);
    requests.submit(ask(1), () => {});
    requests.push();
    expect(responses.upcall()).to.equal(2);
    expect(looks).to.equal(2);
    expect(notified.back).to.equal(1);
    // Now it has asked.
    requests.submit(ask(3), () => {});
    requests.push();
    expect(notified.back).to.equal(2);
  });

  it('does so in a frontend, while a request is outstanding', () => {
    let looks = 0;
    const both = pumps(0, {
      front: (isThere) => {
        looks++;
        both.responses.upcall();
        return isThere();
      },
    });
    const { requests, responses, notified } = both;
    responses.serve(answer);
    for (const length of [1, 2]) {
      requests.submit(ask(length), () => {});
      requests.push();
      if (length === 1) responses.upcall();
    }
    expect(requests.upcall()).to.equal(2);
    expect(looks).to.equal(1);
    expect(notified.front).to.equal(1);
  });

  it('does not when nothing is outstanding, nor after a spurious event', () => {
    const never = (): boolean => {
      throw new Error('nobody is to look');
    };
    const { requests, responses } = pumps(0, { front: never, back: never });
    expect(requests.upcall()).to.equal(0);
    expect(responses.upcall()).to.equal(0);
  });

  it('is not kept for ever by one that announces and takes back', () => {
    let looks = 0;
    const tease = (): boolean => {
      if (looks++ > 10_000) throw new Error('it looks for ever');
      return true;
    };
    const { requests, responses, again } = pumps(0, { front: tease, back: tease });
    responses.serve(answer);
    requests.submit(ask(1), () => {});
    requests.submit(ask(1), () => {});
    requests.push();
    responses.upcall();
    expect(again.back).to.equal(1);
    expect(looks).to.be.within(200, 300);
    looks = 0;
    requests.submit(ask(1), () => {});
    requests.push();
    requests.upcall();
    expect(again.front).to.equal(1);
    expect(looks).to.be.within(200, 300);
  });
});
